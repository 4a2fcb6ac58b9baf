import Testing

@testable import Proxy

@Suite("Hedged requests")
struct HedgeTests {
    private static let routes = """
        - match: { prefix: / }
          route:
            cluster: c0
            timeout: 0s
            hedge_policy: { hedge_on_per_try_timeout: true }
            retry_policy: { retry_on: 5xx, num_retries: 1, per_try_timeout: 0.05s, retry_back_off: { base_interval: 0.001s } }
        """
    private static let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    private static func says(_ status: Int, _ body: String) -> String {
        "HTTP/1.1 \(status) X\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    @Test("a try that takes too long goes on beside the next, whose answer comes first")
    func second() async throws {
        let script: ScriptedUpstream.Script = { _, number in
            number == 0 ? .silence : .answer(Self.says(200, "second"))
        }
        try await ProxyBench.run(ProxyBench.http(routes: Self.routes), upstreams: [script]) { bench in
            let answer = try await bench.exchange(Self.get)
            #expect(answer.body == "second")
            // Nothing was cut: the first could have answered still.
            #expect(await bench.stat("c0", "upstream_rq_per_try_timeout") == 0)
            #expect(await bench.stat("c0", "upstream_rq_retry_success") == 1)
            // The other is dropped.
            try await bench.until("c0", "upstream_rq_active", is: 0)
        }
    }

    @Test("the first try may still answer, also when the second fails", arguments: [true, false])
    func first(secondFails: Bool) async throws {
        let script: ScriptedUpstream.Script = { _, number in
            if number == 0 { return .silence }
            return number == 1 ? .answerOthers(Self.says(200, "first")) : .silence
        }
        let failing: ScriptedUpstream.Script = { _, number in
            switch number {
            case 0: .silence
            case 1: .answer(Self.says(503, ""))
            default: .answerOthers(Self.says(200, "first"))
            }
        }
        try await ProxyBench.run(
            ProxyBench.http(routes: Self.routes), upstreams: [secondFails ? failing : script]
        ) { bench in
            let client = try await bench.client()
            try await client.send(Self.get)
            if secondFails {
                // The client is told nothing while the first runs.
                try await bench.until("c0", "upstream_rq_retry_limit_exceeded", is: 1)
                let other = try await bench.client()
                try await other.send(Self.get)
            }
            let answer = try await client.response()
            #expect(answer.status == 200)
            #expect(answer.body == "first")
        }
    }

    @Test("both are under way at once")
    func together() async throws {
        let script: ScriptedUpstream.Script = { _, _ in .silence }
        try await ProxyBench.run(ProxyBench.http(routes: Self.routes), upstreams: [script]) { bench in
            let client = try await bench.client()
            try await client.send(Self.get)
            try await bench.until("c0", "upstream_rq_active", is: 2)
        }
    }
}
