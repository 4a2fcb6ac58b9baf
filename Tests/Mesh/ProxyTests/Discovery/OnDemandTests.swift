import JSON
import Reactor
import TestSupport
import Testing

@testable import Proxy

/// Clusters that a control plane is asked for when somebody first wants to go there.
@Suite("Clusters on demand", .enabled(if: ControlPlane.library != nil, "PyPI's grpcio cannot be installed"))
struct OnDemandTests {
    /// Requests name their cluster in a header; connections of `tcp` all want `later`. Nothing is asked for beforehand.
    private static func bootstrap(_ api: String, _ port: Int, timeout: String) -> String {
        let source = """
            { api_config_source: { api_type: \(api), transport_api_version: V3, grpc_services: [{ envoy_grpc: { cluster_name: xds } }] },
              resource_api_version: V3 }
            """
        let filters = "type.googleapis.com/envoy.extensions.filters"
        return """
            node: { id: test-proxy, cluster: test }
            static_resources:
              listeners:
              - name: web
                address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
                filter_chains:
                - filters:
                  - name: http
                    typed_config:
                      "@type": \(filters).network.http_connection_manager.v3.HttpConnectionManager
                      stat_prefix: web
                      route_config: { virtual_hosts: [{ name: all, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster_header: x-to } }] }] }
                      http_filters:
                      - name: demand
                        typed_config: { "@type": \(filters).http.on_demand.v3.OnDemand, odcds: { source: \(source), timeout: \(timeout) } }
                      - name: router
                        typed_config: { "@type": \(filters).http.router.v3.Router }
              - name: tcp
                address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
                filter_chains:
                - filters:
                  - name: tcp
                    typed_config:
                      "@type": \(filters).network.tcp_proxy.v3.TcpProxy
                      stat_prefix: tcp
                      cluster: later
                      on_demand: { odcds_config: \(source), timeout: \(timeout) }
              clusters:
              - name: xds
                typed_extension_protocol_options:
                  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                    explicit_http_config: { http2_protocol_options: {} }
                load_assignment:
                  cluster_name: xds
                  endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) }}}}]}]
            """
    }

    private static func get(_ cluster: String) -> String { "GET / HTTP/1.1\r\nHost: h\r\nx-to: \(cluster)\r\n\r\n" }

    private func names(_ bench: ProxyBench) async -> [String] {
        await bench.server.clusterFacts().map(\.settings.name).sorted()
    }

    /// Whether the statistics have this line.
    private func counts(_ bench: ProxyBench, _ line: String) async -> Bool {
        let page = await AdminServer(bench.server) {}.answer(AdminRequest(method: "GET", target: "/stats"))
        return page.body.contains(line + "\n")
    }

    @Test(
        "the first requests wait for their cluster, which is followed from then on; those beside it are not asked for")
    func found() async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("first"))
            let other = try await plane.upstream(ScriptedUpstream.says("second"))
            try await plane.set(
                ControlPlane.cluster, "c1", [ControlPlane.fixed("app", port), ControlPlane.fixed("unasked", port)])
            try await ProxyBench.run(Self.bootstrap("DELTA_GRPC", plane.port, timeout: "60s")) { bench in
                #expect(await names(bench) == ["xds"])
                try await withThrowingTaskGroup(of: String.self) { tasks in
                    for _ in 0..<8 { tasks.addTask { try await bench.exchange(Self.get("app"), "web").body } }
                    for try await body in tasks { #expect(body == "first") }
                }
                #expect(await names(bench) == ["app", "xds"])
                let asked = try await plane.request(ControlPlane.cluster)
                #expect(asked["names"] == ["app"])
                try await plane.set(ControlPlane.cluster, "c2", [ControlPlane.fixed("app", other)])
                try await bench.until { try await bench.exchange(Self.get("app"), "web").body == "second" }
            }
        }
    }

    @Test("a cluster that is not there is said to be missing, and is found once it is there")
    func missing() async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await plane.set(ControlPlane.cluster, "c1", [ControlPlane.fixed("other", port)])
            try await ProxyBench.run(Self.bootstrap("DELTA_GRPC", plane.port, timeout: "60s")) { bench in
                let answer = try await bench.exchange(Self.get("app"), "web")
                #expect(answer.status == 503)
                try await plane.set(ControlPlane.cluster, "c2", [ControlPlane.fixed("app", port)])
                try await bench.until { try await bench.exchange(Self.get("app"), "web").body == "up" }
            }
        }
    }

    @Test("a control plane that says nothing is waited for no longer than configured; a client that goes is not kept")
    func silent() async throws {
        try await ControlPlane.run { plane in
            try await plane.tell("auto", ["on": false])
            try await ProxyBench.run(Self.bootstrap("DELTA_GRPC", plane.port, timeout: "0.3s")) { bench in
                let client = try await bench.client("web")
                try await client.send(Self.get("app"))
                client.connection.close()
                #expect(try await bench.exchange(Self.get("app"), "web").status == 503)
                let tcp = try await bench.client("tcp")
                #expect(try await tcp.everything() == "")
                try await bench.until { await counts(bench, "tcp.tcp.on_demand_cluster_missing: 1") }
            }
        }
    }

    @Test("a TCP connection waits for its cluster with what the client has said")
    func connections() async throws {
        try await ControlPlane.run { plane in
            let port = try await plane.upstream(ScriptedUpstream.says("up"))
            try await plane.set(ControlPlane.cluster, "c1", [ControlPlane.fixed("later", port)])
            try await ProxyBench.run(Self.bootstrap("DELTA_GRPC", plane.port, timeout: "60s")) { bench in
                #expect(try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "tcp").body == "up")
                try await bench.until { await counts(bench, "tcp.tcp.on_demand_cluster_success: 1") }
            }
        }
    }
}
