import Bytes
import HTTP
import Reactor
import TLS

/// Requests at a steady rate, whatever becomes of the ones before: latency counts from when a request was due, so that a
/// proxy that stalls is charged for all that waited.
struct PacedLoad {
    let scenario: Scenario
    let port: UInt16
    let loop: EventLoop

    /// Microseconds of each request.
    func run(seconds: Int) async throws -> [Double] {
        let once = if case .wrk(_, true) = scenario.load { true } else { false }
        let tls =
            try scenario.face == .tls || scenario.face == .tlsWithoutResumption
            ? TLSContext(client: TLSClientConfiguration(verification: nil)) : nil
        let shared = client(tls)
        defer { shared.close() }
        let start = MonotonicTime.now().adding(.milliseconds(50))
        return try await loop.perform {
            try await withThrowingTaskGroup(of: Double.self) { tasks in
                for index in 0..<scenario.rate * seconds {
                    let due = start.adding(.nanoseconds(Int64(index) * 1_000_000_000 / Int64(scenario.rate)))
                    let wait = due.duration(since: .now())
                    if wait > .zero { try await loop.sleep(for: wait) }
                    tasks.addTask {
                        let client = once ? self.client(tls) : shared
                        defer { if once { client.close() } }
                        let response = try await client.request("GET", scenario.path)
                        guard response.status == 200 else { throw OptionError("answered with \(response.status)") }
                        let took = MonotonicTime.now().duration(since: due)
                        return Double(took.components.seconds) * 1e6 + Double(took.components.attoseconds) / 1e12
                    }
                }
                var all: [Double] = []
                for try await value in tasks { all.append(value) }
                return all
            }
        }
    }

    private func client(_ tls: TLSContext?) -> HTTPClient {
        HTTPClient(
            on: loop, endpoint: HTTPEndpoint(host: "127.0.0.1", port: port, isSecure: tls != nil), tls: tls)
    }
}
