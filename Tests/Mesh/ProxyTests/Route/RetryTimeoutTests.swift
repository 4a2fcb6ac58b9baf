import Testing

@testable import Proxy

@Suite("Tries that take too long")
struct RetryTimeoutTests {
    private static func routes(_ conditions: String) -> String {
        """
        - match: { prefix: / }
          route:
            cluster: c0
            timeout: 0s
            retry_policy:
              retry_on: \(conditions)
              retriable_status_codes: [504]
              num_retries: 2
              per_try_timeout: 0.05s
              retry_back_off: { base_interval: 0.001s }
        """
    }

    /// Answers the third request, and no other.
    private static let slow: ScriptedUpstream.Script = { _, number in
        number < 2 ? .silence : .answer("HTTP/1.1 200 X\r\ncontent-length: 5\r\n\r\nthird")
    }

    @Test(
        "they are cut, and repeated where what is cut is repeated",
        arguments: ["reset", "5xx", "gateway-error", "retriable-status-codes"])
    func repeated(conditions: String) async throws {
        try await ProxyBench.run(ProxyBench.http(routes: Self.routes(conditions)), upstreams: [Self.slow]) { bench in
            let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer.body == "third")
            #expect(await bench.stat("c0", "upstream_rq_per_try_timeout") == 2)
        }
    }

    @Test("else they are answered for", arguments: ["connect-failure", "retriable-4xx"])
    func answered(conditions: String) async throws {
        try await ProxyBench.run(ProxyBench.http(routes: Self.routes(conditions)), upstreams: [Self.slow]) { bench in
            let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer.status == 504)
            #expect(await bench.stat("c0", "upstream_rq_per_try_timeout") == 1)
        }
    }
}
