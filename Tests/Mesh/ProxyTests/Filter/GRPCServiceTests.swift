import JSON
import TestSupport
import Testing

@testable import Proxy

/// ext_authz and ratelimit with a server that is nobody's relative: Python's gRPC, and Google's library for the messages.
@Suite(
    "filters that ask a gRPC server",
    .enabled(if: PythonServices.library != nil, "PyPI's grpcio and xds-protos cannot be installed"))
struct GRPCServiceTests {
    private static let authz = "envoy.extensions.filters.http.ext_authz.v3"
    private static let limit = "envoy.extensions.filters.http.ratelimit.v3"

    private static func run(
        filters: String, routes: String = ProxyBench.plainRoute,
        _ body: (ProxyBench, PythonServices) async throws -> Void
    ) async throws {
        try await PythonServices.run { services in
            let configuration = ProxyBench.http(routes: routes, filters: filters) + "\n" + services.cluster("grpc")
            try await ProxyBench.run(configuration, upstreams: [ScriptedUpstream.echo]) { bench in
                try await body(bench, services)
            }
        }
    }

    private static func authz(_ more: String) -> String {
        """
        - name: envoy.filters.http.header_to_metadata
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config
            request_rules: [{ header: x-mark, on_header_present: { metadata_namespace: marks, key: mark, type: STRING } }]
        - name: envoy.filters.http.ext_authz
          typed_config: { "@type": type.googleapis.com/\(authz).ExtAuthz, grpc_service: { envoy_grpc: { cluster_name: grpc }, timeout: 60s }, \(more) }
        """
    }

    private static func get(_ path: String, _ headers: String...) -> String {
        "GET \(path) HTTP/1.1\r\nhost: a\r\n" + headers.map { $0 + "\r\n" }.joined() + "\r\n"
    }

    @Test("an authorization server sees the request as it is, and what it changes is changed")
    func allowed() async throws {
        let routes = """
            - match: { prefix: / }
              route: { cluster: c0 }
              request_headers_to_add: [{ header: { key: x-said, value: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:who:is)%" } }]
              typed_per_filter_config:
                envoy.filters.http.ext_authz: { "@type": type.googleapis.com/\(Self.authz).ExtAuthzPerRoute, check_settings: { context_extensions: { k: v } } }
            """
        try await Self.run(filters: Self.authz("metadata_context_namespaces: [marks]"), routes: routes) {
            bench, services in
            let answer = """
                {"status": {"code": 0}, "dynamic_metadata": {"who": {"is": "joe"}}, "ok_response": {\
                "headers": [{"header": {"key": "x-user", "value": "joe"}}], "headers_to_remove": ["x-answer"], \
                "response_headers_to_add": [{"header": {"key": "x-out", "value": "1"}}], \
                "query_parameters_to_set": [{"key": "b", "value": "2"}]}}
                """
            let got = try await bench.exchange(
                Self.get("/p?a=1", "x-user: forged", "x-mark: m", "x-answer: \(answer)"))
            #expect(got.status == 200)
            #expect(got["x-out"] == "1")
            #expect(got.body.hasPrefix("GET /p?a=1&b=2 HTTP/1.1\r\n"))
            #expect(got.body.contains("x-user: joe\r\n"))
            #expect(got.body.contains("x-said: joe\r\n"))
            #expect(!got.body.contains("forged") && !got.body.contains("x-answer"))
            let asked = try #require(try services.requests().first)["attributes"]
            let http = asked?["request"]?["http"]
            #expect(http?["method"]?.string == "GET")
            #expect(http?["path"]?.string == "/p?a=1")
            #expect(http?["host"]?.string == "a")
            #expect(http?["scheme"]?.string == "http")
            #expect(http?["protocol"]?.string == "HTTP/1.1")
            #expect(http?["headers"]?["x-user"]?.string == "forged")
            #expect(http?["headers"]?[":path"]?.string == "/p?a=1")
            #expect(asked?["context_extensions"]?["k"]?.string == "v")
            #expect(asked?["metadata_context"]?["filter_metadata"]?["marks"]?["mark"]?.string == "m")
            #expect(asked?["source"]?["address"]?["socket_address"]?["address"]?.string == "127.0.0.1")
            let port = try await bench.address().port.map { Int64($0.rawValue) }
            #expect(asked?["destination"]?["address"]?["socket_address"]?["port_value"]?.int == port)
            #expect(asked?["request"]?["time"]?.string?.hasSuffix("Z") == true)
        }
    }

    @Test("what an authorization server denies is answered as it says; one that fails denies with 403")
    func denied() async throws {
        try await Self.run(filters: Self.authz("failure_mode_allow: false")) { bench, _ in
            let denial = """
                {"status": {"code": 7}, "denied_response": {"status": {"code": "Unauthorized"}, "body": "go away", \
                "headers": [{"header": {"key": "www-authenticate", "value": "Basic"}}]}}
                """
            let said = try await bench.exchange(Self.get("/", "x-answer: \(denial)"))
            #expect(said.status == 401)
            #expect(said.body == "go away")
            #expect(said["www-authenticate"] == "Basic")
            let failed = try await bench.exchange(Self.get("/", "x-answer: 14"))
            #expect(failed.status == 403)
            #expect(bench.upstreams[0].requests.isEmpty)
            let errors = await bench.counter("http.test.ext_authz.error")
            #expect(errors == 1)
        }
    }

    @Test("an authorization server is asked only about requests that are marked")
    func marked() async throws {
        let only =
            "filter_enabled_metadata: { filter: marks, path: [{ key: mark }], value: { string_match: { exact: ask } } }"
        try await Self.run(filters: Self.authz(only)) { bench, services in
            let unmarked = try await bench.exchange(Self.get("/", "x-answer: 7"))
            #expect(unmarked.status == 200)
            #expect(try services.requests().isEmpty)
            let marked = try await bench.exchange(Self.get("/", "x-answer: 7", "x-mark: ask"))
            #expect(marked.status == 403)
        }
    }

    @Test("an authorization server sees as much of a body as is configured, and the upstream all of it")
    func body() async throws {
        let buffer = "with_request_body: { max_request_bytes: 5, allow_partial_message: true }"
        try await Self.run(filters: Self.authz(buffer)) { bench, services in
            let client = try await bench.client()
            try await client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nabc")
            try await client.send("defgh")
            let got = try await client.response()
            #expect(got.body.hasSuffix("\r\n\r\nabcdefgh"))
            let http = try #require(try services.requests().first)["attributes"]?["request"]?["http"]
            #expect(http?["body"]?.string == "abcde")
            #expect(http?["headers"]?["x-envoy-auth-partial-body"]?.string == "true")
        }
    }

    @Test("a rate limit server sees the descriptors of a route, and what it says is done")
    func rateLimits() async throws {
        let filter = """
            - name: envoy.filters.http.ratelimit
              typed_config: { "@type": type.googleapis.com/\(Self.limit).RateLimit, domain: shop, timeout: 60s, failure_mode_deny: true, enable_x_ratelimit_headers: DRAFT_VERSION_03, rate_limit_service: { transport_api_version: V3, grpc_service: { envoy_grpc: { cluster_name: grpc } } } }
            """
        let routes = """
            - match: { prefix: / }
              route:
                cluster: c0
                rate_limits:
                - actions: [{ request_headers: { header_name: x-user, descriptor_key: user } }, { generic_key: { descriptor_value: all } }]
                - actions: [{ request_headers: { header_name: x-answer, descriptor_key: answer } }]
            """
        try await Self.run(filters: filter, routes: routes) { bench, services in
            let ok = """
                {"overall_code": "OK", "request_headers_to_add": [{"key": "x-up", "value": "1"}], "statuses": [\
                {"code": "OK", "limit_remaining": 4, "current_limit": {"requests_per_unit": 5, "unit": "MINUTE"}, \
                "duration_until_reset": "12s"}]}
                """
            let passed = try await bench.exchange(Self.get("/", "x-user: joe", "x-answer: \(ok)"))
            #expect(passed.status == 200)
            #expect(passed.body.contains("x-up: 1\r\n"))
            #expect(passed["x-ratelimit-limit"] == "5, 5;w=60")
            #expect(passed["x-ratelimit-remaining"] == "4")
            #expect(passed["x-ratelimit-reset"] == "12")
            let asked = try #require(try services.requests().first)
            #expect(asked["domain"]?.string == "shop")
            let entries = asked["descriptors"]?.array?.first?["entries"]?.array ?? []
            #expect(entries.map { $0["key"]?.string } == ["user", "generic_key"])
            #expect(entries.map { $0["value"]?.string } == ["joe", "all"])

            let over = """
                {"overall_code": "OVER_LIMIT", "raw_body": "c2xvdw==", "response_headers_to_add": [{"key": "x-why", \
                "value": "many"}]}
                """
            let limited = try await bench.exchange(Self.get("/", "x-answer: \(over)"))
            #expect(limited.status == 429)
            #expect(limited.body == "slow")
            #expect(limited["x-why"] == "many")
            #expect(limited["x-envoy-ratelimited"] == "true")
            let failed = try await bench.exchange(Self.get("/", "x-answer: 13"))
            #expect(failed.status == 500)
            #expect(bench.upstreams[0].requests.count == 1)
            for leaf in ["ok", "over_limit", "error"] {
                let count = await bench.stat("c0", "ratelimit.\(leaf)")
                #expect(count == 1, "\(leaf)")
            }
        }
    }

    @Test("an unknown cluster of a service is refused by name")
    func unknownCluster() async throws {
        let configuration = ProxyBench.http(filters: Self.authz("failure_mode_allow: true"))
        var words = ""
        do {
            try await ProxyBench.run(configuration, upstreams: [ScriptedUpstream.echo]) { _ in }
        } catch { words = "\(error)" }
        #expect(words.contains("unknown cluster 'grpc'"))
    }
}
