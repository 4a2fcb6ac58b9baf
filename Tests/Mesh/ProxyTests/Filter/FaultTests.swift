import Testing

@testable import Proxy

@Suite("Fault filter")
struct FaultTests {
    private static func config(_ fields: String, routes: String = ProxyBench.plainRoute) -> String {
        ProxyBench.http(routes: routes, filters: ProxyBench.filter("fault", "fault.v3.HTTPFault", fields))
    }

    @Test("requests that match are answered by the fault, all others by the upstream")
    func abort() async throws {
        let fields =
            "abort: { http_status: 418, percentage: { numerator: 100 } }, headers: [{ name: x-fault, present_match: true }]"
        try await ProxyBench.run(Self.config(fields), upstreams: [ScriptedUpstream.says("ok")]) { bench in
            let hit = try await bench.exchange(FilterRow("GET /", "x-fault: 1\r\n", 418).text)
            #expect(hit.status == 418 && hit.body == "fault filter abort")
            #expect(hit.text.hasPrefix("HTTP/1.1 418 Unknown\r\n"))
            let miss = try await bench.exchange(FilterRow("GET /", 200).text)
            #expect(miss.status == 200)
            #expect(await bench.counter("http.test.fault.aborts_injected") == 1)
        }
    }

    @Test("what the request asks for is done within bounds, and nothing without a request for it")
    func headers() async throws {
        let fields = """
            abort: { header_abort: {}, percentage: { numerator: 100 } }, delay: { header_delay: {}, percentage: { numerator: 100 } }
            """
        let rows = [
            FilterRow("GET /", "x-envoy-fault-abort-request: 429\r\n", 429), FilterRow("GET /", 200),
            FilterRow("GET /", "x-envoy-fault-abort-request: 42\r\n", 200),
            FilterRow("GET /", "x-envoy-fault-delay-request: 1\r\n", 200),
            FilterRow("GET /", "x-envoy-fault-delay-request: 1\r\nx-envoy-fault-abort-request: 503\r\n", 503),
            FilterRow(
                "GET /", "x-envoy-fault-abort-request: 503\r\nx-envoy-fault-abort-request-percentage: 0\r\n", 200),
        ]
        try await ProxyBench.run(Self.config(fields), upstreams: [ScriptedUpstream.says("ok")]) { bench in
            for row in rows {
                let answer = try await bench.exchange(row.text)
                #expect(answer.status == row.status, "\(row)")
            }
            #expect(await bench.counter("http.test.fault.delays_injected") == 2)
        }
    }

    @Test("beyond the limit of faults at a time requests go on undisturbed")
    func limit() async throws {
        let fields = """
            max_active_faults: 1, delay: { fixed_delay: 600s, percentage: { numerator: 100 } }
            """
        try await ProxyBench.run(Self.config(fields), upstreams: [ScriptedUpstream.says("ok")]) { bench in
            let delayed = try await bench.client()
            try await delayed.send(FilterRow("GET /", 200).text)
            try await bench.until { await bench.counter("http.test.fault.delays_injected") == 1 }
            let answer = try await bench.exchange(FilterRow("GET /", 200).text)
            #expect(answer.body == "ok")
            #expect(await bench.counter("http.test.fault.faults_overflow") == 1)
        }
    }

    @Test("a response that is slowed down arrives whole")
    func slow() async throws {
        let fields = """
            response_rate_limit: { fixed_limit: { limit_kbps: 400 }, percentage: { numerator: 100 } }
            """
        let body = String(repeating: "0123456789abcdef", count: 4096)
        try await ProxyBench.run(Self.config(fields), upstreams: [ScriptedUpstream.says(body)]) { bench in
            let answer = try await bench.exchange(FilterRow("GET /", 200).text)
            #expect(answer.body == body)
            #expect(await bench.counter("http.test.fault.response_rl_injected") == 1)
        }
    }

    @Test("a route has a fault of its own")
    func route() async throws {
        let routes =
            ProxyBench.route(
                "path: /fault", "fault", "envoy.extensions.filters.http.fault.v3.HTTPFault",
                "abort: { http_status: 503, percentage: { numerator: 100 } }") + "\n" + ProxyBench.plainRoute
        try await ProxyBench.run(Self.config("", routes: routes), upstreams: [ScriptedUpstream.says("ok")]) { bench in
            let hit = try await bench.exchange(FilterRow("GET /fault", 503).text)
            #expect(hit.status == 503)
            let miss = try await bench.exchange(FilterRow("GET /", 200).text)
            #expect(miss.status == 200)
        }
    }
}
