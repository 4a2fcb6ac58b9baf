import Bytes
import ClusterClient
import Discovery
import GRPC
import Glibc
import HTTP
import MeshIdentity
import Reactor
import TLS
import Telemetry

/// One pod: its sockets, its key, and the care that its certificate is there in time. Belongs to one loop.
final class Workload: @unchecked Sendable {
    // Proof for `@unchecked`: touched on `loop` only.

    let record: PodRecord
    private let authority: AuthorityClient
    private let trustDomain: String
    private let loop: EventLoop
    private let metrics: MeshNodeMetrics
    private let log: Log
    private let tell: MeshWorkloads.Listener
    private let secrets: DiscoveryServer
    private let scope: ServedScope
    private let forwarder: StreamForwarder
    private var server: HTTPServer?
    private var folder: SocketFolder?
    private var renewal: Task<Void, Never>?
    private var credential: WorkloadCredential?
    private var roots: [Certificate]
    private var failure: String?
    /// The certificate in hand was over when it was not renewed last.
    private var isExpired = false
    /// When people were told last.
    private var told = MonotonicTime(nanoseconds: 0)
    private var isClosed = false

    init(
        _ record: PodRecord, authority: AuthorityClient, configuration: MeshNodeConfiguration, roots: [Certificate],
        loop: EventLoop, metrics: MeshNodeMetrics, log: Log, tell: @escaping MeshWorkloads.Listener
    ) {
        self.record = record
        self.tell = tell
        self.authority = authority
        self.roots = roots
        self.loop = loop
        self.metrics = metrics
        self.log = log.with(["pod": record.name])
        trustDomain = configuration.trustDomain
        let scope = ServedScope(record.pod.uid)
        self.scope = scope
        // Who reaches the socket is the pod, whatever it calls itself.
        secrets = DiscoveryServer(loop: loop, identifier: "weft-node") { _, _ throws(GRPCEnding) in [scope] }
        forwarder = StreamForwarder(configuration, loop: loop, streams: metrics.streams, log: self.log)
    }

    var status: WorkloadStatus {
        WorkloadStatus(
            pod: record.pod, identity: "\(record.pod.identity(in: trustDomain))",
            serial: credential?.identity.leaf.serial, notAfter: credential?.identity.leaf.notAfter, failure: failure,
            streams: forwarder.count)
    }

    /// When this returns the sockets stand.
    func open(on group: EventLoopGroup) async throws {
        let folder = try SocketFolder(record.folder)
        self.folder = folder
        let server = HTTPServer(
            group: group, address: .unix(path: folder.address(MeshWorkloads.secretSocket)), unixMode: 0o666,
            limits: DiscoveryServer.limits
        ) { [self] _ in secrets }
        try forwarder.listen(folder.address(MeshWorkloads.configurationSocket))
        _ = try await server.start()
        // It may have been let go while the socket was made.
        guard !isClosed else { return await server.drain(deadline: .zero) }
        self.server = server
        renew(after: .zero)
    }

    func close() async {
        isClosed = true
        renewal?.cancel()
        renewal = nil
        forwarder.close()
        credential = nil
        await server?.drain(deadline: .zero)
        server = nil
        folder = nil
    }

    /// Other roots are trusted from now on. A certificate that leads to none of them is of no use any more, and is replaced.
    func trust(_ roots: [Certificate]) {
        self.roots = roots
        guard let credential else { return }
        publish(credential)
        guard !credential.isTrusted(by: roots) else { return }
        log.warning("the pod's certificate leads to no root that is trusted; it is renewed now")
        renew(after: .milliseconds(Int64.random(in: 0...500)))
    }

    // MARK: The certificate

    private func renew(after delay: Duration) {
        renewal?.cancel()
        renewal = loop.task { [weak self] in
            try? await EventLoop.sleep(for: delay)
            while let self, !Task.isCancelled, !isClosed {
                let delay = await self.next()
                guard (try? await EventLoop.sleep(for: delay)) != nil else { return }
            }
        }
    }

    private var backoff = Backoff(initial: .milliseconds(100), limit: .seconds(15))

    /// Asks for a certificate. - Returns: When to ask again.
    private func next() async -> Duration {
        do {
            let started = loop.now
            let credential = try await authority.credential(for: record.pod)
            guard !isClosed, !Task.isCancelled else { return .zero }
            let leaf = credential.identity.leaf
            var generator = SystemRandomNumberGenerator()
            guard let renewal = credential.renewal(now: .now(), using: &generator) else {
                throw WorkloadCredential.Unusable(
                    description:
                        "the authority's certificate is valid from \(leaf.notBefore.rfc3339) to \(leaf.notAfter.rfc3339), and it is"
                        + " \(Timestamp.now().rfc3339) here: this node's clock and the control plane's disagree")
            }
            metrics.issued.increment()
            metrics.issuance.observe(loop.now.duration(since: started))
            take(credential)
            return renewal
        } catch is CancellationError {
            return .zero
        } catch {
            guard !isClosed, !Task.isCancelled else { return .zero }
            return failed(error)
        }
    }

    private func take(_ new: WorkloadCredential) {
        let words: Log.Fields = [
            "identity": "\(record.pod.identity(in: trustDomain))", "serial": new.identity.leaf.serial,
            "until": new.identity.leaf.notAfter.rfc3339,
        ]
        if failure != nil || credential == nil {
            log.info("the pod has its certificate", words)
        } else {
            log.debug("the pod's certificate is renewed", words)
        }
        if failure != nil, credential == nil || isExpired { tell(record.pod, .served) }
        failure = nil
        isExpired = false
        backoff.reset()
        credential = new
        // The answer and the stream of bundles may overtake each other: what the stream said, where it has, is newer or the same.
        if roots.isEmpty { roots = new.roots }
        publish(new)
        do throws(TLSError) { try forwarder.use(new.identity) } catch {
            log.error("the pod's certificate cannot be shown to the control plane", ["error": "\(error)"])
        }
    }

    private func publish(_ credential: WorkloadCredential) {
        // A proxy must know whom to trust before others show it what they were given just now.
        secrets.publish(
            [
                ServedChange(.secret, SecretMessage.trust, SecretMessage.trust(roots, domain: trustDomain)),
                ServedChange(.secret, SecretMessage.certificate, SecretMessage.certificate(credential.identity)),
            ], in: scope)
    }

    /// A reason that changes is told again, but no more often than this: some have the time in them.
    private static let repetition: Duration = .seconds(60)

    /// - Returns: When to try again.
    private func failed(_ error: any Error) -> Duration {
        metrics.failures.increment()
        let delay = backoff.next()
        let why = "\(error)"
        let leaf = credential?.identity.leaf
        let isOver = leaf.map { $0.notAfter < .now() } ?? false
        // One line when it begins, one when it becomes worse, one each time that it has become otherwise.
        let isWorse = failure == nil || isOver != isExpired
        let isNews = isWorse || failure != why && loop.now.duration(since: told) > Self.repetition
        failure = why
        isExpired = isOver
        guard isNews else { return delay }
        told = loop.now
        let words: Log.Fields = ["error": why, "again": "\(delay)"]
        if leaf == nil {
            log.warning("the pod waits for its certificate, and its proxy with it", words)
            tell(record.pod, .waits(why: why))
        } else if isOver {
            log.error("the pod's certificate has expired, and there is no new one", words)
            tell(record.pod, .expired(why: why))
        } else {
            log.warning("the pod's certificate is not renewed yet; the one in hand stays valid", words)
        }
        return delay
    }
}

extension PodRecord {
    /// `namespace/name`
    var name: String { "\(pod.namespace)/\(pod.name)" }
}
