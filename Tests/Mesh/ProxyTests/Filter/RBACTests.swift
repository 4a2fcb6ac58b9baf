import Testing

@testable import Proxy

@Suite("RBAC filter")
struct RBACTests {
    private static let policies = """
        rules: { action: ALLOW, policies: {
          admin: { permissions: [{ url_path: { path: { prefix: /admin } } }], principals: [{ header: { name: x-role, string_match: { exact: admin } } }] },
          reader: { permissions: [{ and_rules: { rules: [{ header: { name: ":method", string_match: { exact: GET } } }, { not_rule: { url_path: { path: { prefix: /admin } } } }] } }], principals: [{ any: true }] },
          local: { permissions: [{ url_path: { path: { exact: /local } } }], principals: [{ and_ids: { ids: [{ direct_remote_ip: { address_prefix: 127.0.0.0, prefix_len: 8 } }, { not_id: { remote_ip: { address_prefix: 10.0.0.0, prefix_len: 8 } } }] } }] } } },
        shadow_rules: { action: DENY, policies: { shadow: { permissions: [{ url_path: { path: { prefix: /shadow } } }], principals: [{ any: true }] } } }
        """

    private static let denial = "RBAC: access denied"

    static let rows = [
        FilterRow("GET /", 200), FilterRow("DELETE /", 403, denial), FilterRow("GET /admin", 403, denial),
        FilterRow("GET /admin", "x-role: admin\r\n", 200), FilterRow("GET /admin?x", "x-role: admin\r\n", 200),
        FilterRow("PUT /local", 200), FilterRow("PUT /local?q", 200), FilterRow("PUT /local/", 403, denial),
        FilterRow("GET /shadow", 200), FilterRow("PUT /free", 200),
    ]

    @Test("who may do what: policies in order of name, conditions in trees, and a route without rules")
    func table() async throws {
        let filters = ProxyBench.filter("rbac", "rbac.v3.RBAC", Self.policies)
        let routes =
            ProxyBench.route("path: /free", "rbac", "envoy.extensions.filters.http.rbac.v3.RBACPerRoute") + "\n"
            + ProxyBench.plainRoute
        let config = ProxyBench.http(routes: routes, filters: filters)
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.says("ok")]) { bench in
            for row in Self.rows {
                let answer = try await bench.exchange(row.text)
                #expect(answer.status == row.status, "\(row)")
                #expect(answer.body == row.answer ?? "ok", "\(row)")
            }
            #expect(await bench.counter("http.test.rbac.allowed") == 6)
            #expect(await bench.counter("http.test.rbac.denied") == 3)
            #expect(await bench.counter("http.test.rbac.shadow_denied") == 1)
            #expect(await bench.counter("http.test.rbac.shadow_allowed") == 8)
        }
    }

    @Test("a matcher decides by the actions of its tree, and denies what it has none for")
    func matcher() async throws {
        let matcher = """
            matcher: { matcher_list: { matchers: [ {
              predicate: { single_predicate: { input: { name: path, typed_config: { "@type": type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: ":path" } }, value_match: { prefix: /open } } },
              on_match: { action: { name: action, typed_config: { "@type": type.googleapis.com/envoy.config.rbac.v3.Action, name: open, action: ALLOW } } } } ] } }
            """
        let config = ProxyBench.http(filters: ProxyBench.filter("rbac", "rbac.v3.RBAC", matcher))
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.says("ok")]) { bench in
            let open = try await bench.exchange(FilterRow("GET /open/a", 200).text)
            #expect(open.status == 200)
            let closed = try await bench.exchange(FilterRow("GET /a", 403).text)
            #expect(closed.status == 403)
        }
    }

    @Test("conditions in CEL are refused by name")
    func refused() async throws {
        let rules =
            "rules: { policies: { p: { permissions: [{ any: true }], principals: [{ any: true }], condition: {} } } }"
        let config = ProxyBench.http(filters: ProxyBench.filter("rbac", "rbac.v3.RBAC", rules))
        let failure = await failure(of: config)
        #expect(failure.contains("condition"), "\(failure)")
    }
}

/// What a configuration is refused with; "" when it is not.
func failure(of config: String) async -> String {
    do {
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.says("")]) { _ in }
        return ""
    } catch {
        return "\(error)"
    }
}
