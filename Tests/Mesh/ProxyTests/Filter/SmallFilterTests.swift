import Testing

@testable import Proxy

@Suite("Smaller HTTP filters")
struct SmallFilterTests {
    @Test("buffer: a request goes on whole and with its length, and none beyond the limit does")
    func buffer() async throws {
        let routes =
            ProxyBench.route(
                "path: /off", "buffer", "envoy.extensions.filters.http.buffer.v3.BufferPerRoute", "disabled: true")
            + "\n" + ProxyBench.plainRoute
        let config = ProxyBench.http(
            routes: routes, filters: ProxyBench.filter("buffer", "buffer.v3.Buffer", "max_request_bytes: 10"))
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.echo]) { bench in
            let rows = [
                FilterRow("POST /", body: "0123456789", 200), FilterRow("POST /", body: "0123456789a", 413),
                FilterRow("POST /off", body: "0123456789abc", 200),
            ]
            for row in rows {
                let answer = try await bench.exchange(row.text)
                #expect(answer.status == row.status, "\(row)")
                if row.status == 200 { #expect(answer.body.hasSuffix("\r\n\r\n\(row.body)"), "\(answer)") }
            }
            let client = try await bench.client()
            try await client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
            try await client.send("3\r\ndef\r\n0\r\n\r\n")
            let answer = try await client.response()
            #expect(answer.body.contains("content-length: 6\r\n") && answer.body.hasSuffix("abcdef"), "\(answer)")
            #expect(await bench.counter("http.test.downstream_rq_too_large") == 1)
        }
    }

    @Test("buffer: a body far beyond what is read ahead is gathered")
    func largeBuffer() async throws {
        let config = ProxyBench.http(
            filters: ProxyBench.filter("buffer", "buffer.v3.Buffer", "max_request_bytes: 4000000"))
        let body = String(repeating: "0123456789abcdef", count: 200_000)
        try await ProxyBench.run(
            config,
            upstreams: [
                { request, _ in
                    let text = "\(request.utf8.count > 3_200_000)"
                    return .answer("HTTP/1.1 200 OK\r\ncontent-length: \(text.utf8.count)\r\n\r\n\(text)")
                }
            ]
        ) { bench in
            let answer = try await bench.exchange(FilterRow("POST /", body: body, 200).text)
            #expect(answer.body == "true", "\(answer)")
        }
    }

    @Test("a filter that is disabled in its chain takes part where a route says so")
    func disabled() async throws {
        let routes =
            ProxyBench.route(
                "path: /on", "buffer", "envoy.config.route.v3.FilterConfig",
                "config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute, buffer: { max_request_bytes: 2 } }"
            ) + "\n" + ProxyBench.plainRoute
        let filter = ProxyBench.filter("buffer", "buffer.v3.Buffer", "max_request_bytes: 1", disabled: true)
        let config = ProxyBench.http(routes: routes, filters: filter)
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.says("ok")]) { bench in
            let off = try await bench.exchange(FilterRow("POST /", body: "abc", 200).text)
            #expect(off.status == 200)
            let on = try await bench.exchange(FilterRow("POST /on", body: "abc", 413).text)
            #expect(on.status == 413)
        }
    }

    @Test("header_mutation: the filter's changes, then those of the levels of routing")
    func headerMutation() async throws {
        let fields = """
            mutations: { request_mutations: [{ append: { header: { key: x-filter, value: "%REQ(:METHOD)%" }, append_action: APPEND_IF_EXISTS_OR_ADD } }, { remove: x-secret }], response_mutations: [{ append: { header: { key: x-code, value: "%RESPONSE_CODE%" } } }, { remove: server-secret }] }
            """
        let routes =
            ProxyBench.route(
                "path: /route", "header_mutation",
                "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
                "mutations: { request_mutations: [{ append: { header: { key: x-filter, value: route } } }] }") + "\n"
            + ProxyBench.plainRoute
        let config = ProxyBench.http(
            routes: routes, filters: ProxyBench.filter("header_mutation", "header_mutation.v3.HeaderMutation", fields))
        let script = ScriptedUpstream.says("ok", headers: "server-secret: s\r\n")
        try await ProxyBench.run(config, upstreams: [script]) { bench in
            let answer = try await bench.exchange(
                FilterRow("GET /route", "x-secret: s\r\nx-filter: client\r\n", 200).text)
            #expect(answer["x-code"] == "200" && answer["server-secret"] == nil)
            let seen = bench.upstreams[0].requests.first ?? ""
            let fields = seen.components("\r\n").filter { $0.hasPrefix("x-filter: ") }
            #expect(fields == ["x-filter: client", "x-filter: GET", "x-filter: route"], "\(seen)")
            #expect(!seen.contains("x-secret"))
        }
    }

    @Test("health_check: answered here, or by the upstream and then repeated")
    func healthCheck() async throws {
        let match = "headers: [{ name: \":path\", string_match: { exact: /healthz } }]"
        for (mode, upstreamRequests) in [
            ("pass_through_mode: false", 1), ("pass_through_mode: true", 3),
            ("pass_through_mode: true, cache_time: 3600s", 2),
        ] {
            let config = ProxyBench.http(
                filters: ProxyBench.filter("health_check", "health_check.v3.HealthCheck", "\(mode), \(match)"))
            try await ProxyBench.run(config, upstreams: [ScriptedUpstream.says("ok")]) { bench in
                for path in ["/healthz", "/healthz", "/"] {
                    let answer = try await bench.exchange(FilterRow("GET \(path)", 200).text)
                    #expect(answer.status == 200)
                    #expect((answer["x-envoy-upstream-healthchecked-cluster"] != nil) == (path != "/"))
                }
                #expect(bench.upstreams[0].requests.count == upstreamRequests, "\(mode)")
            }
        }
    }

    static let credentials = [
        FilterRow("GET /", 401, "User authentication failed. Missing username and password."),
        FilterRow("GET /", "authorization: Basic bWU6bWU=\r\n", 200),
        FilterRow(
            "GET /", "authorization: Basic bWU6eW91\r\n", 401,
            "User authentication failed. Invalid username/password combination."),
        FilterRow(
            "GET /", "authorization: Basic !!!\r\n", 401, "User authentication failed. Invalid basic credential format."
        ),
        FilterRow(
            "GET /", "authorization: Bearer x\r\n", 401,
            "User authentication failed. Expected 'Basic' authentication scheme."),
        FilterRow("GET /free", 200),
    ]

    @Test("basic_auth: who knows the word goes on under the name")
    func basicAuth() async throws {
        let routes =
            ProxyBench.route("path: /free", "basic_auth", "envoy.config.route.v3.FilterConfig", "disabled: true")
            + "\n" + ProxyBench.plainRoute
        let fields = """
            users: { inline_string: "me:{SHA}scHYc28g2z+2wcZrsUVe1DkJ8Ng=\\n" }, forward_username_header: x-user
            """
        let config = ProxyBench.http(
            routes: routes, filters: ProxyBench.filter("basic_auth", "basic_auth.v3.BasicAuth", fields))
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.says("ok")]) { bench in
            for row in Self.credentials {
                let answer = try await bench.exchange(row.text)
                #expect(answer.status == row.status, "\(row)")
                #expect(answer.body == row.answer ?? "ok", "\(row)")
                if row.status == 401 { #expect(answer["www-authenticate"] == "Basic realm=\"http://a/\"") }
            }
            let seen = bench.upstreams[0].requests
            #expect(seen.first?.contains("x-user: me\r\n") == true)
            #expect(await bench.counter("http.test.basic_auth.allowed") == 1)
            #expect(await bench.counter("http.test.basic_auth.denied") == 4)
        }
    }

    @Test("basic_auth: passwords in another form than SHA-1, and users twice, are refused")
    func badUsers() async throws {
        for users in ["me:plain", "me:{SHA}scHYc28g2z+2wcZrsUVe1DkJ8Ng=\\nme:{SHA}scHYc28g2z+2wcZrsUVe1DkJ8Ng="] {
            let fields = "users: { inline_string: \"\(users)\" }"
            let reason = await failure(
                of: ProxyBench.http(filters: ProxyBench.filter("basic_auth", "basic_auth.v3.BasicAuth", fields)))
            #expect(reason.contains("basic auth"), "\(users): \(reason)")
        }
    }

    @Test("set_metadata and header_to_metadata: later filters read what earlier ones say")
    func metadata() async throws {
        let filters = """
            \(ProxyBench.filter("set_metadata", "set_metadata.v3.Config", "metadata: [{ metadata_namespace: own, value: { key: value, list: [1, 2] } }]"))
            \(ProxyBench.filter("header_to_metadata", "header_to_metadata.v3.Config", "request_rules: [{ header: x-in, on_header_present: { metadata_namespace: from, key: header, type: STRING }, on_header_missing: { metadata_namespace: from, key: header, value: none }, remove: true }, { cookie: id, on_header_present: { key: id, type: NUMBER } }]"))
            \(ProxyBench.filter("header_mutation", "header_mutation.v3.HeaderMutation", "mutations: { request_mutations: [{ append: { header: { key: x-said, value: \"%DYNAMIC_METADATA(own:key)% %DYNAMIC_METADATA(from:header)% %DYNAMIC_METADATA(envoy.filters.http.header_to_metadata:id)%\" } } }] }"))
            """
        try await ProxyBench.run(ProxyBench.http(filters: filters), upstreams: [ScriptedUpstream.echo]) { bench in
            let first = try await bench.exchange(FilterRow("GET /", "x-in: here\r\ncookie: a=b; id=7\r\n", 200).text)
            #expect(first.body.contains("x-said: value here 7\r\n"), "\(first)")
            #expect(!first.body.contains("x-in:"))
            let second = try await bench.exchange(FilterRow("GET /", 200).text)
            #expect(second.body.contains("x-said: value none"), "\(second)")
        }
    }
}
