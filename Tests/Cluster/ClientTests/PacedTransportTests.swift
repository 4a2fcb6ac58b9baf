import ClusterAPI
import JSON
import Reactor
import Telemetry
import Testing

@testable import ClusterClient

@Suite("A transport with a rate")
struct PacedTransportTests {
    private static let start = MonotonicTime(nanoseconds: 1_000_000_000)
    private static func after(_ milliseconds: Int) -> MonotonicTime { start.adding(.milliseconds(milliseconds)) }

    @Test("so many come at once, the others one after the other, and a quiet time fills up what it may")
    func bucket() {
        var bucket = TokenBucket(rate: 10, capacity: 2, at: Self.start)
        #expect(bucket.take(at: Self.start) == .zero)
        #expect(bucket.take(at: Self.start) == .zero)
        #expect(bucket.take(at: Self.start) == .milliseconds(100))
        #expect(bucket.take(at: Self.start) == .milliseconds(200))
        // One has come since; two wait.
        #expect(bucket.take(at: Self.after(100)) == .milliseconds(200))
        // Time that runs backwards gives nothing.
        #expect(bucket.take(at: Self.after(50)) == .milliseconds(300))
        #expect(bucket.take(at: Self.after(60_000)) == .zero)
        #expect(bucket.take(at: Self.after(60_000)) == .zero)
        #expect(bucket.take(at: Self.after(60_000)) > .zero)
    }

    private struct Answering: APITransport {
        func send(_ request: APIRequest) async throws -> JSONValue {
            if request.name == "gone" { throw StatusError.notFound(request.resource, "gone") }
            return [:]
        }
        func document(_ path: String) async throws -> JSONValue { [:] }
        func watch(_ request: APIRequest) async throws -> any WatchStream { throw CancellationError() }
    }

    @Test("requests are counted by what became of them")
    func counting() async throws {
        let group = try EventLoopGroup(count: 1, name: "paced")
        let registry = MetricsRegistry()
        let client = KubeClient(
            PacedTransport(Answering(), on: group.next, qps: -1, burst: 1, host: "10.0.0.1:6443", registry: registry))
        _ = try await client.get(.nodes, ObjectKey(name: "a"))
        _ = try await client.find(.nodes, ObjectKey(name: "gone"))
        _ = try? await client.transport.watch(APIRequest(.list, .nodes))
        let page = String(decoding: registry.render(), as: UTF8.self)
        for (code, count) in [("200", 1), ("404", 1), ("<error>", 1)] {
            let line = "rest_client_requests_total{code=\"\(code)\",method=\"GET\",host=\"10.0.0.1:6443\"} \(count)\n"
            #expect(page.contains(line), "\(page)")
        }
        await group.shutdown()
    }

    @Test("what comes too soon is held back, and cancelling ends that")
    func waiting() async throws {
        let group = try EventLoopGroup(count: 1, name: "paced")
        let registry = MetricsRegistry()
        let client = KubeClient(
            PacedTransport(
                Answering(), on: group.next, qps: 0.001, burst: 1, host: "h", registry: registry))
        _ = try await client.get(.nodes, ObjectKey(name: "a"))
        let second = Task { try await client.get(.nodes, ObjectKey(name: "b")) }
        second.cancel()
        await #expect(throws: CancellationError.self) { try await second.value }
        let page = String(decoding: registry.render(), as: UTF8.self)
        #expect(page.contains("rest_client_requests_total{code=\"200\",method=\"GET\",host=\"h\"} 1\n"))
        await group.shutdown()
    }
}
