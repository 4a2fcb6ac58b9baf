import Bytes
import Glibc
import JSON
import Reactor
import TLS
import TestSupport
import Testing
import XDS

@testable import Proxy

@Suite("What control planes say of clusters", .timeLimit(.minutes(2)))
struct ClusterOptionTests {
    private static let types = "type.googleapis.com/envoy.extensions"
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    /// One cluster `c` of fields `more` with a host for each upstream; `host` are more fields of its endpoint.
    private func run(
        _ more: String, host: String = "", upstreams: [ScriptedUpstream.Script] = [ScriptedUpstream.says("a")],
        port: String = "$0", _ body: (ProxyBench) async throws -> Void
    ) async throws {
        let cluster = """

              - name: c
                connect_timeout: 5s
                \(more)
                load_assignment:
                  cluster_name: c
                  endpoints:
                  - lb_endpoints:
                    - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } }\(host) }
            """
        let head = ProxyBench.http(routes: "- match: { prefix: / }\n  route: { cluster: c }", clusters: 0)
        try await ProxyBench.run(head + cluster, upstreams: upstreams, body)
    }

    private func page(_ bench: ProxyBench, _ target: String) async -> String {
        await AdminServer(bench.server) {}.answer(AdminRequest(method: "GET", target: target)).body
    }

    @Test("how names are looked up means nothing to a cluster of addresses, and is still read")
    func names() async throws {
        try await run("type: STATIC\n    dns_lookup_family: V4_PREFERRED\n    respect_dns_ttl: true") { bench in
            let answer = try await bench.exchange(get)
            #expect(answer.body == "a")
        }
        let named = """
            dns_lookup_family: V4_PREFERRED
                cluster_type: { name: d, typed_config: { "@type": \(Self.types).clusters.dns.v3.DnsCluster } }
            """
        try await run(named) { bench in
            let answer = try await bench.exchange(get)
            #expect(answer.body == "a")
        }
        await #expect(throws: ConfigError.self) {
            try await run("dns_lookup_family: V5_ONLY") { _ in }
        }
    }

    @Test("sizes and used time-outs are measured where that is asked for, and only there")
    func tracking() async throws {
        let asked = "track_cluster_stats: { request_response_sizes: true, timeout_budgets: true }"
        for (more, isTracked) in [(asked, true), ("track_cluster_stats: {}", false)] {
            try await run(more) { bench in
                _ = try await bench.exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
                let stats = await page(bench, "/stats?filter=upstream_r(q|s)_(headers|body|timeout)")
                for leaf in [
                    "rq_headers_size", "rq_body_size", "rs_headers_size", "rs_body_size",
                    "rq_timeout_budget_percent_used", "rq_timeout_budget_per_try_percent_used",
                ] { #expect(stats.contains("cluster.c.upstream_\(leaf): ") == isTracked) }
                if isTracked { #expect(stats.contains("cluster.c.upstream_rq_body_size: P0(nan,3.05)")) }
            }
        }
    }

    @Test("each host is told of by itself where that is asked for")
    func hosts() async throws {
        try await run("track_cluster_stats: { per_endpoint_stats: true }", host: ", hostname: h1") { bench in
            _ = try await bench.exchange(get)
            let address = "127.0.0.1:\(bench.upstreams[0].port)"
            let stats = await page(bench, "/stats?filter=endpoint")
            let prefix = "cluster.c.endpoint.\(address.replacing(":", with: "_"))"
            for line in ["rq_success: 1", "rq_total: 1", "cx_total: 1", "healthy: 1", "rq_active: 0"] {
                #expect(stats.contains("\(prefix).\(line)\n"))
            }
            let metrics = await page(bench, "/stats/prometheus?filter=endpoint")
            let labels = #"envoy_cluster_name="c",envoy_endpoint_address="\#(address)",envoy_endpoint_hostname="h1""#
            #expect(metrics.contains("envoy_cluster_endpoint_rq_success{\(labels)} 1\n"))
        }
        try await run("type: STATIC") { bench in
            let stats = await page(bench, "/stats?filter=endpoint")
            #expect(stats == "")
        }
    }

    @Test("connections are made before they are needed, as many as the ratio says")
    func preconnect() async throws {
        for (more, count) in [("", 1), ("preconnect_policy: { per_upstream_preconnect_ratio: 2 }", 2)] {
            try await run(more.isEmpty ? "type: STATIC" : more) { bench in
                _ = try await bench.exchange(get)
                try await bench.until("c", "upstream_cx_total", is: Int64(count))
                try await bench.until("c", "upstream_cx_active", is: Int64(count))
            }
        }
        await #expect(throws: ConfigError.self) {
            try await run("preconnect_policy: { predictive_preconnect_ratio: 2 }") { _ in }
        }
    }

    // MARK: Health

    private static let check = """
        common_lb_config: { healthy_panic_threshold: { value: 0 } }
            health_checks:
            - { timeout: 5s, interval: 0.02s, no_traffic_interval: 0.02s, healthy_threshold: 1, unhealthy_threshold: 1, \
        http_health_check: { path: /health, host: every }, always_log_health_check_success: true, event_logger: [ { name: f, \
        typed_config: { "@type": \(types).health_check.event_sinks.file.v3.HealthCheckEventFileSink, event_log_path: LOG } } ] }
        """

    @Test("a host may be probed elsewhere and under its own name, or not at all")
    func target() async throws {
        let folder = try ScratchFolder()
        let check = Self.check.replacing("LOG", with: folder.path + "/events")
        let probe: ScriptedUpstream.Script = { _, _ in .answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") }
        let elsewhere = ", health_check_config: { port_value: $1, hostname: own }"
        try await run(check, host: elsewhere, upstreams: [ScriptedUpstream.says("a"), probe]) { bench in
            let answer = try await bench.exchange(get)
            #expect(answer.body == "a")
            #expect(bench.upstreams[0].requests.allSatisfy { !$0.hasPrefix("GET /health") })
            let asked = bench.upstreams[1].requests.first ?? ""
            #expect(asked.hasPrefix("GET /health") && asked.lowercased().contains("host: own\r\n"))
        }
        let silent = ", health_check_config: { disable_active_health_check: true }"
        try await run(check, host: silent) { bench in
            let answer = try await bench.exchange(get)
            #expect(answer.body == "a")
            #expect(bench.upstreams[0].requests.allSatisfy { !$0.hasPrefix("GET /health") })
        }
        await #expect(throws: ConfigError.self) {
            let both = ", health_check_config: { port_value: 1, address: { pipe: { path: /x } } }"
            try await run(check, host: both) { _ in }
        }
    }

    @Test("what becomes of hosts is told to a file, a line each")
    func events() async throws {
        let folder = try ScratchFolder()
        let path = folder.path + "/events"
        let check = Self.check.replacing("LOG", with: path)
        func lines() -> [JSONValue] {
            let text = (try? Files.read(path)).map { String(decoding: $0, as: UTF8.self) } ?? ""
            return text.split(separator: "\n").compactMap { try? JSONValue.parse(String($0)) }
        }
        try await run(check) { bench in
            _ = try await bench.exchange(get)
            try await bench.until {
                bench.server.logs.flush()
                return lines().contains { $0["successful_health_check_event"] != nil }
            }
            let first = try #require(lines().first)
            #expect(first["health_checker_type"] == "HTTP" && first["cluster_name"] == "c")
            #expect(first["add_healthy_event"] == ["first_check": true])
            #expect(first["host"]?["socket_address"]?["address"] == "127.0.0.1")
            #expect(first["timestamp"]?.string?.hasSuffix("Z") == true)
        }
        try await run(check, port: "\(PlainUpstream.refusingPort)") { bench in
            try await bench.until {
                bench.server.logs.flush()
                return lines().contains { $0["health_check_failure_event"]?["failure_type"] == "NETWORK" }
            }
        }
    }

    // MARK: HTTP/2

    @Test("a host that answers no probe of HTTP/2 loses the connection with what it carries")
    func keepAlive() async throws {
        try await PlainUpstream.run { upstream in
            let more = """
                typed_extension_protocol_options:
                      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                        "@type": \(Self.types).upstreams.http.v3.HttpProtocolOptions
                        explicit_http_config: { http2_protocol_options: { connection_keepalive: { interval: 0.05s, timeout: 0.05s } } }
                """
            try await run(more, port: "\(upstream.port)") { bench in
                let answer = try await bench.exchange(get)
                #expect(answer.status == 503)
                try await bench.until("c", "http2.keepalive_timeout", is: 1)
                try await bench.until("c", "upstream_cx_total", is: 1)
            }
        }
    }

    @Test("one connection carries all requests to a host over HTTP/2")
    func oneConnection() async throws {
        let socket = "@weft-one-\(getpid())"
        let front = ProxyBench.http(clusters: 0)
        let more = """
              - name: up
                address: { pipe: { path: "\(socket)" } }
                filter_chains:
                - filters:
                  - name: hcm
                    typed_config:
                      "@type": \(Self.types).filters.network.http_connection_manager.v3.HttpConnectionManager
                      stat_prefix: up
                      route_config: { virtual_hosts: [ { name: v, domains: [ "*" ], routes: [ { match: { prefix: / }, direct_response: { status: 200 } } ] } ] }
                      http_filters: [ { name: r, typed_config: { "@type": \(Self.types).filters.http.router.v3.Router } } ]
              clusters:
              - name: c0
                typed_extension_protocol_options:
                  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                    "@type": \(Self.types).upstreams.http.v3.HttpProtocolOptions
                    explicit_http_config: { http2_protocol_options: {} }
                load_assignment: { cluster_name: c0, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "\(socket)" } } } } ] } ] }
            """
        try await ProxyBench.run(front.replacing("  clusters:\n", with: more + "\n")) { bench in
            for _ in 0..<20 {
                let answer = try await bench.exchange(get)
                #expect(answer.status == 200)
            }
            let connections = await bench.stat("c0", "upstream_cx_total")
            #expect(connections == 1)
        }
    }

    // MARK: TLS

    @Test("the name that TLS asks for, and that the certificate has to be for, is the request's")
    func requestedNames() async throws {
        let folder = try ScratchFolder()
        let authority = try CertificateAuthority.create(commonName: "ca")
        try Files.writeAtomically("\(folder.path)/ca.pem", authority.certificate.pem)
        for name in ["a.test", "b.test"] {
            let identity = try authority.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: name), names: AlternativeNames(dns: ["a.test"]),
                    purpose: .server))
            try Files.writeAtomically("\(folder.path)/\(name).pem", identity.chain[0].pem)
            try Files.writeAtomically("\(folder.path)/\(name).key", identity.key.pem)
        }
        let socket = "@weft-names-\(getpid())"
        func chain(_ name: String) -> String {
            """
                - filter_chain_match: { server_names: [ \(name) ] }
                  transport_socket:
                    name: t
                    typed_config:
                      "@type": \(Self.types).transport_sockets.tls.v3.DownstreamTlsContext
                      common_tls_context: { tls_certificates: [ { certificate_chain: { filename: \(folder.path)/\(name).pem }, private_key: { filename: \(folder.path)/\(name).key } } ] }
                  filters:
                  - name: hcm
                    typed_config:
                      "@type": \(Self.types).filters.network.http_connection_manager.v3.HttpConnectionManager
                      stat_prefix: tls
                      route_config: { virtual_hosts: [ { name: v, domains: [ "*" ], routes: [ { match: { prefix: / }, direct_response: { status: 200, body: { inline_string: \(name) } } } ] } ] }
                      http_filters: [ { name: r, typed_config: { "@type": \(Self.types).filters.http.router.v3.Router } } ]
            """
        }
        func configuration(_ names: String) -> String {
            let front = ProxyBench.http(clusters: 0)
            let tls = """
                  - name: tls
                    address: { pipe: { path: "\(socket)" } }
                    listener_filters: [ { name: i, typed_config: { "@type": \(Self.types).filters.listener.tls_inspector.v3.TlsInspector } } ]
                    filter_chains:
                \(chain("a.test"))
                \(chain("b.test"))
                  clusters:
                  - name: c0
                    typed_extension_protocol_options:
                      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                        "@type": \(Self.types).upstreams.http.v3.HttpProtocolOptions
                        explicit_http_config: { http_protocol_options: {} }
                        upstream_http_protocol_options: \(names)
                    transport_socket:
                      name: t
                      typed_config:
                        "@type": \(Self.types).transport_sockets.tls.v3.UpstreamTlsContext
                        common_tls_context: { validation_context: { trusted_ca: { filename: \(folder.path)/ca.pem } } }
                    load_assignment: { cluster_name: c0, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "\(socket)" } } } } ] } ] }
                """
            return front.replacing("  clusters:\n", with: tls + "\n")
        }
        func ask(_ bench: ProxyBench, _ host: String, _ more: String = "") async throws -> RawResponse {
            try await bench.exchange("GET / HTTP/1.1\r\nHost: \(host)\r\n\(more)\r\n")
        }
        try await ProxyBench.run(configuration("{ auto_sni: true }")) { bench in
            for host in ["a.test", "b.test:8443", "a.test"] {
                let answer = try await ask(bench, host)
                #expect(answer.status == 200 && host.hasPrefix(answer.body))
            }
            // A connection for each name, and the second request for one goes over the first's.
            let connections = await bench.stat("c0", "upstream_cx_total")
            #expect(connections == 2)
        }
        try await ProxyBench.run(configuration("{ auto_sni: true, auto_san_validation: true }")) { bench in
            let right = try await ask(bench, "a.test")
            #expect(right.body == "a.test")
            // Its certificate is for another name.
            let wrong = try await ask(bench, "b.test")
            #expect(wrong.status == 503)
            let refused = await bench.stat("c0", "ssl.fail_verify_san")
            #expect(refused == 1)
        }
        try await ProxyBench.run(configuration("{ auto_sni: true, override_auto_sni_header: x-name }")) { bench in
            let answer = try await ask(bench, "b.test", "x-name: a.test\r\n")
            #expect(answer.body == "a.test")
        }
    }

    @Test("who is said to speak HTTP/2 does so beneath TLS", arguments: ["AUTO", "HTTP2"])
    func http2BeneathTLS(codec: String) async throws {
        let folder = try ScratchFolder()
        let authority = try CertificateAuthority.create(commonName: "ca")
        let identity = try authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: "a"), names: AlternativeNames(dns: ["a.test"]), purpose: .server)
        )
        try Files.writeAtomically("\(folder.path)/chain.pem", identity.chain[0].pem)
        try Files.writeAtomically("\(folder.path)/key.pem", identity.key.pem)
        let socket = "@weft-h2-tls-\(codec)-\(getpid())"
        let more = """
              - name: tls
                address: { pipe: { path: "\(socket)" } }
                filter_chains:
                - transport_socket:
                    name: t
                    typed_config:
                      "@type": \(Self.types).transport_sockets.tls.v3.DownstreamTlsContext
                      common_tls_context:
                        alpn_protocols: [ h2 ]
                        tls_certificates: [ { certificate_chain: { filename: \(folder.path)/chain.pem }, private_key: { filename: \(folder.path)/key.pem } } ]
                  filters:
                  - name: hcm
                    typed_config:
                      "@type": \(Self.types).filters.network.http_connection_manager.v3.HttpConnectionManager
                      stat_prefix: tls
                      codec_type: \(codec)
                      route_config: { virtual_hosts: [ { name: v, domains: [ "*" ], routes: [ { match: { prefix: / }, direct_response: { status: 200 } } ] } ] }
                      http_filters: [ { name: r, typed_config: { "@type": \(Self.types).filters.http.router.v3.Router } } ]
              clusters:
              - name: c0
                typed_extension_protocol_options:
                  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                    "@type": \(Self.types).upstreams.http.v3.HttpProtocolOptions
                    explicit_http_config: { http2_protocol_options: {} }
                transport_socket:
                  name: t
                  typed_config:
                    "@type": \(Self.types).transport_sockets.tls.v3.UpstreamTlsContext
                    common_tls_context: { alpn_protocols: [ h2 ] }
                load_assignment: { cluster_name: c0, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "\(socket)" } } } } ] } ] }
            """
        try await ProxyBench.run(ProxyBench.http(clusters: 0).replacing("  clusters:\n", with: more + "\n")) { bench in
            for _ in 0..<3 {
                let answer = try await bench.exchange(get)
                #expect(answer.status == 200)
            }
            let connections = await bench.stat("c0", "upstream_cx_http2_total")
            #expect(connections == 1)
        }
    }

    @Test("a host's name is an authority without its port")
    func withoutPort() {
        for (text, name) in [
            ("a.b", "a.b"), ("a.b:80", "a.b"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("::1", "::1"), ("", ""),
        ] { #expect(RequestedNames.withoutPort(text) == name) }
    }
}
