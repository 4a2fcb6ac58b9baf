import Testing

@testable import Proxy

@Suite("CORS and CSRF filters")
struct BrowserFilterTests {
    private static let policy = """
        allow_origin_string_match: [{ exact: "https://a.test" }, { suffix: .b.test }], allow_methods: "GET, POST", allow_headers: "*", expose_headers: x-out, max_age: "600", allow_credentials: true
        """

    @Test("a preflight request is answered, and what is allowed stands on responses to others")
    func cors() async throws {
        let routes =
            ProxyBench.route("path: /cors", "cors", "envoy.extensions.filters.http.cors.v3.CorsPolicy", Self.policy)
            + "\n" + ProxyBench.plainRoute
        let config = ProxyBench.http(routes: routes, filters: ProxyBench.filter("cors", "cors.v3.Cors"))
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.says("ok")]) { bench in
            let preflight = try await bench.exchange(
                FilterRow(
                    "OPTIONS /cors",
                    "origin: https://a.test\r\naccess-control-request-method: POST\r\naccess-control-request-headers: x-one\r\n",
                    200
                ).text)
            #expect(preflight.status == 200 && preflight.body == "")
            #expect(preflight["access-control-allow-origin"] == "https://a.test")
            #expect(preflight["access-control-allow-methods"] == "GET, POST")
            #expect(preflight["access-control-allow-headers"] == "x-one")
            #expect(preflight["access-control-max-age"] == "600")
            #expect(bench.upstreams[0].requests.isEmpty)
            let friend = try await bench.exchange(FilterRow("GET /cors", "origin: https://x.b.test\r\n", 200).text)
            #expect(friend.body == "ok" && friend["access-control-allow-origin"] == "https://x.b.test")
            #expect(friend["access-control-allow-credentials"] == "true")
            let stranger = try await bench.exchange(FilterRow("GET /cors", "origin: https://evil.test\r\n", 200).text)
            #expect(stranger.body == "ok" && stranger["access-control-allow-origin"] == nil)
            let elsewhere = try await bench.exchange(FilterRow("GET /", "origin: https://a.test\r\n", 200).text)
            #expect(elsewhere["access-control-allow-origin"] == nil)
            #expect(await bench.counter("http.test.cors.origin_valid") == 2)
            #expect(await bench.counter("http.test.cors.origin_invalid") == 1)
        }
    }

    static let rows = [
        FilterRow("POST /", 403, "Invalid origin"), FilterRow("POST /", "origin: http://a\r\n", 200),
        FilterRow("POST /", "origin: https://evil.test\r\n", 403, "Invalid origin"),
        FilterRow("POST /", "origin: https://friend.test\r\n", 200),
        FilterRow("POST /", "referer: http://a/page\r\n", 200),
        FilterRow("POST /", "referer: http://evil.test/\r\n", 403, "Invalid origin"),
        FilterRow("GET /", "origin: https://evil.test\r\n", 200),
        FilterRow("PUT /", "origin: http://a:80\r\n", 403, "Invalid origin"),
        FilterRow("DELETE /", "origin: null\r\n", 403, "Invalid origin"),
    ]

    @Test("what changes something must come from the own site, or a friend's")
    func csrf() async throws {
        let fields =
            "filter_enabled: { default_value: { numerator: 100 } }, additional_origins: [{ exact: friend.test }]"
        let config = ProxyBench.http(filters: ProxyBench.filter("csrf", "csrf.v3.CsrfPolicy", fields))
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.says("ok")]) { bench in
            for row in Self.rows {
                let answer = try await bench.exchange(row.text)
                #expect(answer.status == row.status, "\(row)")
                #expect(answer.body == row.answer ?? "ok", "\(row)")
            }
            #expect(await bench.counter("http.test.csrf.missing_source_origin") == 2)
            #expect(await bench.counter("http.test.csrf.request_invalid") == 3)
            #expect(await bench.counter("http.test.csrf.request_valid") == 3)
        }
    }
}
