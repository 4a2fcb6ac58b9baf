import Testing

@testable import Proxy

@Suite("Redirects that the proxy follows")
struct InternalRedirectTests {
    /// Sends on to `/next` of host `b`, but for that itself, where it says what it was asked.
    private static func upstream(_ status: Int, _ location: String) -> ScriptedUpstream.Script {
        { request, _ in
            if request.contains(" /next") {
                return .answer("HTTP/1.1 200 OK\r\ncontent-length: \(request.utf8.count)\r\n\r\n\(request)")
            }
            return .answer(
                "HTTP/1.1 \(status) Moved\r\nlocation: \(location)\r\nx-copy: yes\r\ncontent-length: 0\r\n\r\n")
        }
    }

    private static func routes(_ policy: String, next: String = "cluster: c0") -> String {
        """
        - match: { path: /next }
          name: next
          route: { \(next) }
        - match: { prefix: / }
          name: first
          route: { cluster: c0, internal_redirect_policy: { \(policy) } }
        """
    }

    private func exchange(
        _ policy: String, _ status: Int = 302, _ location: String = "http://b/next?q#f",
        request: String = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", next: String = "cluster: c0", stat: String? = nil
    ) async throws -> RawResponse {
        var found: RawResponse?
        try await ProxyBench.run(
            ProxyBench.http(routes: Self.routes(policy, next: next)), upstreams: [Self.upstream(status, location)]
        ) { bench in
            found = try await bench.exchange(request)
            if let stat {
                let value = await bench.server.stats().samples.first { $0.name == stat }?.value
                #expect(value == 1, "\(stat)")
            }
        }
        return try #require(found)
    }

    @Test("the client gets what is at the other place, which hears of the first and of what is copied")
    func followed() async throws {
        let answer = try await exchange(
            "response_headers_to_copy: [x-copy]", stat: "cluster.c0.upstream_internal_redirect_succeeded_total")
        #expect(answer.status == 200)
        #expect(answer.body.hasPrefix("GET /next?q HTTP/1.1\r\n"))
        #expect(answer.body.contains("host: b\r\n"))
        #expect(answer.body.contains("x-envoy-original-url: http://h/a\r\n"))
        #expect(answer.body.contains("x-copy: yes\r\n"))
    }

    @Test("a body goes there too, unless the answer says to get something else")
    func body() async throws {
        let request = "POST /a HTTP/1.1\r\nHost: h\r\ncontent-length: 4\r\n\r\nbody"
        let again = try await exchange("redirect_response_codes: [307]", 307, request: request)
        #expect(again.body.hasPrefix("POST /next?q HTTP/1.1\r\n"))
        #expect(again.body.hasSuffix("\r\n\r\nbody"))
        let other = try await exchange("redirect_response_codes: [303]", 303, request: request)
        #expect(other.body.hasPrefix("GET /next?q HTTP/1.1\r\n"))
        #expect(!other.body.contains("content-length") && other.body.hasSuffix("\r\n\r\n"))
    }

    static let passed: [(String, Int, String, String)] = [
        ("", 301, "http://b/next", ""), ("", 302, "/next", "bad_location"), ("", 302, "ftp://b/next", "bad_location"),
        ("", 302, "http://:80/next", "bad_location"), ("", 302, "https://b/next", "unsafe_scheme"),
        ("max_internal_redirects: 0", 302, "http://b/next", "too_many_redirects"),
        ("", 302, "http://b/again", "too_many_redirects"),
        (
            """
            predicates: [{ name: p, typed_config: { "@type":
            type.googleapis.com/envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig,
            allowed_route_names: [other] } }]
            """, 302, "http://b/next", "predicate"
        ),
        (
            """
            max_internal_redirects: 5, predicates: [{ name: p, typed_config: { "@type":
            type.googleapis.com/envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig } }]
            """, 302, "http://b/again", "predicate"
        ),
        (
            """
            allow_cross_scheme_redirect: true, predicates: [{ name: p, typed_config: { "@type":
            type.googleapis.com/envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig } }]
            """, 302, "https://b/next", "predicate"
        ),
    ]

    @Test("what is not allowed goes to the client, and is counted", arguments: passed)
    func passedOn(row: (String, Int, String, String)) async throws {
        let stat = row.3.isEmpty ? nil : "http.test.passthrough_internal_redirect_\(row.3)"
        let answer = try await exchange(row.0, row.1, row.2, stat: stat)
        #expect(answer.status == row.1)
        let location = answer.headers.first { $0.name == "location" }?.value
        #expect(location == row.2)
    }

    @Test("virtual clusters count what is theirs, and the rest")
    func virtualClusters() async throws {
        var text = ProxyBench.http()
        text = text.split(separator: "domains: [\"*\"]", maxSplits: 1).joined(
            separator:
                "domains: [\"*\"]\n              virtual_clusters: [ { name: a, headers: [ { name: \":path\", string_match: { prefix: /a } } ] } ]"
        )
        try await ProxyBench.run(text, upstreams: [ScriptedUpstream.says("x")]) { bench in
            for path in ["/a", "/a/b", "/c"] { _ = try await bench.exchange("GET \(path) HTTP/1.1\r\nHost: h\r\n\r\n") }
            let samples = await bench.server.stats().samples
            func value(_ name: String) -> Int64? { samples.first { $0.name == name }?.value }
            #expect(value("vhost.all.vcluster.a.upstream_rq_total") == 2)
            #expect(value("vhost.all.vcluster.a.upstream_rq_2xx") == 2)
            #expect(value("vhost.all.vcluster.other.upstream_rq_completed") == 1)
        }
    }
}
