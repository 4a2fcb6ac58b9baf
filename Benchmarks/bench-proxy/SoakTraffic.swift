import Bytes
import HTTP
import Reactor
import Synchronization
import TLS

/// What became of the requests of one kind.
struct SoakTally: Sendable {
    var answered = 0
    /// No answer, or one of 500 and above: a retry policy covers these.
    var failed = 0
    /// The answer had begun when its backend was killed: nothing covers these.
    var cut = 0
    /// Failed on a kept connection that the proxy closed at that moment, and well on a new one (RFC 9112 §9.3.1).
    var raced = 0
    var lastFailure = ""
}

/// Clients of one kind, each one request after another until the end.
final class SoakTraffic: Sendable {
    let name: String
    private let method: String
    private let path: String
    private let body: [UInt8]
    private let endpoint: HTTPEndpoint
    private let tls: TLSContext?
    /// A new connection for each request.
    private let isOnce: Bool
    private let tally = Mutex(SoakTally())

    init(
        _ name: String, method: String = "GET", path: String, body: [UInt8] = [], port: UInt16, tls: TLSContext? = nil,
        isOnce: Bool = false
    ) {
        self.name = name
        self.method = method
        self.path = path
        self.body = body
        self.tls = tls
        self.isOnce = isOnce
        endpoint = HTTPEndpoint(host: "127.0.0.1", port: port, isSecure: tls != nil)
    }

    var result: SoakTally { tally.withLock { $0 } }

    /// One client until `end`.
    func run(until end: MonotonicTime, on loop: EventLoop) async {
        var client = HTTPClient(on: loop, endpoint: endpoint, tls: tls)
        while MonotonicTime.now() < end {
            if isOnce {
                client.close()
                client = HTTPClient(on: loop, endpoint: endpoint, tls: tls)
            }
            await request(&client, isKept: !isOnce, on: loop)
            // Many clients at a steady pace, so that the machine has time for all of them.
            try? await loop.sleep(for: .milliseconds(2))
        }
        client.close()
    }

    private func request(_ client: inout HTTPClient, isKept: Bool, on loop: EventLoop) async {
        let stream: HTTPResponseStream
        do { stream = try await client.stream(method, path, body: body) } catch {
            client.close()
            client = HTTPClient(on: loop, endpoint: endpoint, tls: tls)
            if isKept {
                await request(&client, isKept: false, on: loop)
                tally.withLock { $0.raced += 1 }
            } else {
                note("\(error)")
            }
            return
        }
        do { _ = try await stream.collect(limit: 4 << 20) } catch {
            client.close()
            client = HTTPClient(on: loop, endpoint: endpoint, tls: tls)
            return tally.withLock { $0.cut += 1 }
        }
        if stream.status >= 500 { note("status \(stream.status)") } else { tally.withLock { $0.answered += 1 } }
    }

    private func note(_ reason: String) {
        tally.withLock {
            $0.failed += 1
            $0.lastFailure = reason
        }
    }
}
