import Testing

@testable import Proxy

@Suite("ext_authz with an HTTP service")
struct ExtAuthzTests {
    private static func configuration(_ more: String = "", service: String = "") -> String {
        ProxyBench.http(
            routes: """
                - match: { prefix: /free }
                  route: { cluster: c0 }
                  typed_per_filter_config:
                    authz: { "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true }
                - match: { prefix: / }
                  route: { cluster: c0 }
                """,
            filters: """
                - name: authz
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
                    http_service:
                      server_uri: { uri: http://authz.test, cluster: c1, timeout: 60s }
                      path_prefix: /check
                      authorization_request: { allowed_headers: { patterns: [{ exact: x-ask }] } }
                      authorization_response: { allowed_upstream_headers: { patterns: [{ exact: x-user }] }, allowed_client_headers_on_success: { patterns: [{ exact: x-ok }] } }
                    \(more)
                """, clusters: 2)
    }

    @Test("what it allows goes on, with the fields that it adds, and the client sees those meant for it")
    func allowed() async throws {
        let says: ScriptedUpstream.Script = { _, _ in
            .answer("HTTP/1.1 200 OK\r\nx-user: me\r\nx-ok: 1\r\nx-other: 2\r\ncontent-length: 0\r\n\r\n")
        }
        try await ProxyBench.run(Self.configuration(), upstreams: [ScriptedUpstream.echo, says]) { bench in
            let answer = try await bench.exchange("GET /a?b HTTP/1.1\r\nHost: h\r\nx-ask: 1\r\nx-user: you\r\n\r\n")
            #expect(answer.status == 200)
            #expect(answer["x-ok"] == "1")
            #expect(answer["x-other"] == nil)
            #expect(answer.body.contains("x-user: me\r\n"))
            #expect(!answer.body.contains("x-user: you"))
            let asked = try #require(bench.upstreams[1].requests.first)
            #expect(asked.hasPrefix("GET /check/a?b HTTP/1.1\r\nhost: h\r\n"))
            #expect(asked.contains("x-ask: 1\r\n"))
            #expect(asked.contains("content-length: 0\r\n"))
            #expect(asked.contains("x-envoy-internal: true\r\n"))
            #expect(!asked.contains("x-user"))
        }
    }

    @Test("what it denies is answered as it says, and the upstream hears nothing of it")
    func denied() async throws {
        let says: ScriptedUpstream.Script = { _, _ in
            .answer("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\ncontent-length: 7\r\n\r\ngo away")
        }
        try await ProxyBench.run(Self.configuration(), upstreams: [ScriptedUpstream.echo, says]) { bench in
            let answer = try await bench.exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
            #expect(answer.status == 401)
            #expect(answer.body == "go away")
            #expect(answer["www-authenticate"] == "Basic")
            #expect(bench.upstreams[0].requests.isEmpty)
        }
    }

    @Test(
        "a service that fails denies, unless that is allowed",
        arguments: [
            ("", 403), ("status_on_error: { code: 429 }", 429), ("failure_mode_allow: true", 200),
        ])
    func failing(more: String, status: Int) async throws {
        for script: ScriptedUpstream.Script in [
            { _, _ in .close }, { _, _ in .answer("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n") },
        ] {
            try await ProxyBench.run(Self.configuration(more), upstreams: [ScriptedUpstream.echo, script]) { bench in
                let answered = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status
                #expect(answered == status)
            }
        }
    }

    @Test("a route does without it")
    func disabled() async throws {
        try await ProxyBench.run(
            Self.configuration(), upstreams: [ScriptedUpstream.says("fine"), { _, _ in .close }]
        ) { bench in
            let answered = try await bench.exchange("GET /free HTTP/1.1\r\nHost: h\r\n\r\n").body
            #expect(answered == "fine")
            #expect(bench.upstreams[1].requests.isEmpty)
        }
    }

    @Test("it sees as much of a body as is configured, and the upstream sees all of it")
    func partialBody() async throws {
        let configuration = Self.configuration(
            "with_request_body: { max_request_bytes: 5, allow_partial_message: true }")
        try await ProxyBench.run(
            configuration, upstreams: [ScriptedUpstream.echo, ScriptedUpstream.says("")]
        ) { bench in
            let client = try await bench.client()
            try await client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nabc")
            try await client.send("defgh")
            let body = try await client.response().body
            #expect(body.hasSuffix("\r\n\r\nabcdefgh"))
            let asked = try #require(bench.upstreams[1].requests.first)
            #expect(asked.hasSuffix("\r\n\r\nabcde"))
            #expect(asked.contains("x-envoy-auth-partial-body: true\r\n"))
        }
    }

    @Test("a body beyond the limit is refused where the service is to see all of it")
    func wholeBody() async throws {
        try await ProxyBench.run(
            Self.configuration("with_request_body: { max_request_bytes: 5 }"),
            upstreams: [ScriptedUpstream.echo, ScriptedUpstream.says("")]
        ) { bench in
            let answer = try await bench.exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabcdef")
            #expect(answer.status == 413)
            let small = try await bench.exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde")
            #expect(small.status == 200)
            #expect(bench.upstreams[1].requests.count == 1)
        }
    }

    @Test("a client that leaves while it is asked takes the question with it, and the next one is served")
    func abandoned() async throws {
        let says: ScriptedUpstream.Script = { request, _ in
            request.contains("/slow") ? .silence : .answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        }
        try await ProxyBench.run(Self.configuration(), upstreams: [ScriptedUpstream.says("fine"), says]) { bench in
            let client = try await bench.client()
            try await client.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            let deadline = ContinuousClock.now + .seconds(60)
            while bench.upstreams[1].requests.isEmpty, ContinuousClock.now < deadline { await Task.yield() }
            client.connection.close()
            let answered = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n").body
            #expect(answered == "fine")
        }
    }
}
