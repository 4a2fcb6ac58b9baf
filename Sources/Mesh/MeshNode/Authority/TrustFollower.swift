import ClusterClient
import GRPC
import MeshIdentity
import Reactor
import TLS
import Telemetry

/// Keeps an ear at the control plane for which roots are trusted.
struct TrustFollower {
    /// Silence after which the stream is opened anew: a peer that died without a word is found out then.
    static let silence: Duration = .seconds(120)

    private let authority: AuthorityClient
    private let trustDomain: String
    private let log: Log

    init(_ authority: AuthorityClient, _ trustDomain: String, _ log: Log) {
        (self.authority, self.trustDomain, self.log) = (authority, trustDomain, log)
    }

    /// Until cancelled; `take` is told each time, also what it knows.
    func run(_ take: ([Certificate]) -> Void) async {
        var backoff = Backoff(initial: .milliseconds(100), limit: .seconds(10))
        var isSilent = false
        while !Task.isCancelled {
            do {
                let stream = try await authority.bundles()
                var messages = GRPCMessages(limit: AuthorityClient.messageLimit)
                while let bytes = try await stream.next(timeout: Self.silence) {
                    messages.append(bytes)
                    while let message = try messages.next() {
                        backoff.reset()
                        if isSilent { log.info("the mesh's authority is back") }
                        isSilent = false
                        if let roots = try TrustBundles(message).roots[trustDomain], !roots.isEmpty { take(roots) }
                    }
                }
                try AuthorityClient.check(stream.status, stream.headers, await stream.trailers())
            } catch is CancellationError {
                return
            } catch {
                if !isSilent, backoff.failures > 0 {
                    isSilent = true
                    log.warning(
                        "the mesh's authority cannot be reached; certificates in hand stay valid", ["error": "\(error)"]
                    )
                }
            }
            try? await EventLoop.sleep(for: backoff.next())
        }
    }
}
