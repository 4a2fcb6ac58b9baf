import Glibc
import JSON
import Testing

@testable import Proxy

@Suite("Who asked whom, as metrics")
struct MeshStatsTests {
    private static let own: WorkloadLabels = WorkloadLabels(node: [
        "id": "sidecar~cart-7f-1.shop", "cluster": "cart.shop",
        "metadata": [
            "NAMESPACE": "shop", "WORKLOAD_NAME": "cart", "SERVICE_ACCOUNT": "cart",
            "LABELS": ["app": "cart", "version": "v2"],
        ],
    ])

    private func key(_ stats: MeshStats, status: UInt16 = 200, other: UInt32 = 0, service: UInt32 = 0) -> MeshStats.Key
    {
        MeshStats.Key(
            ends: MeshStats.Ends(side: .inbound, isMutual: other != 0, other: other, service: service), isGRPC: false,
            grpcStatus: -1, status: status)
    }

    @Test("a workload is known by its node's metadata, by its certificate, by its endpoint's metadata, or not at all")
    func workloads() {
        #expect(Self.own.workload == "cart" && Self.own.version == "v2")
        #expect(Self.own.principal == "spiffe://cluster.local/ns/shop/sa/cart")
        let bare = WorkloadLabels(node: ["id": "sidecar~web-1.shop", "cluster": "web.shop"])
        #expect(bare.namespace == "shop" && bare.workload == "web" && bare.app == "web" && bare.principal == "unknown")
        let peer = WorkloadLabels(principal: "spiffe://cluster.local/ns/shop/sa/web")
        #expect(peer.namespace == "shop" && peer.workload == "web")
        let nobody = WorkloadLabels(principal: "spiffe://cluster.local/ns/shop/sa/default")
        #expect(nobody.namespace == "shop" && nobody.workload == "unknown")
        #expect(WorkloadLabels(principal: "x").namespace == "unknown")
        let host = WorkloadLabels(endpoint: "cart-v2;shop;cart;v2;")
        #expect(host.workload == "cart-v2" && host.app == "cart" && host.version == "v2")
        #expect(WorkloadLabels(endpoint: "").workload == "unknown")
    }

    @Test("a Service is known by its cluster's metadata or name")
    func services() {
        let named = ServiceLabels(name: "outbound|80|v2|cart.shop.svc.cluster.local", metadata: nil)
        #expect(named.host == "cart.shop.svc.cluster.local" && named.name == "cart" && named.namespace == "shop")
        let told = ServiceLabels(
            name: "x", metadata: ["services": [["host": "a.b", "name": "a", "namespace": "b"]]])
        #expect(told.host == "a.b" && told.name == "a" && told.namespace == "b")
        #expect(ServiceLabels(name: "PassthroughCluster", metadata: nil) == ServiceLabels())
        #expect(ServiceLabels(name: "inbound|8080||", metadata: nil) == ServiceLabels())
    }

    @Test("labels and buckets are Istio's and Envoy's")
    func text() {
        let stats = MeshStats(own: Self.own)
        let web = stats.number(ofPeer: "spiffe://cluster.local/ns/shop/sa/web")
        stats.add(key(stats, other: web), milliseconds: 0.4, at: 1)
        stats.add(key(stats, other: web), milliseconds: 7, received: 20, sent: 3000, at: 1)
        stats.add(key(stats, other: web), milliseconds: 4e6, at: 1)
        let text = stats.tell(now: 2).text
        let labels =
            #"reporter="destination",source_workload="web",source_workload_namespace="shop","#
            + #"source_principal="spiffe://cluster.local/ns/shop/sa/web",source_app="web",source_version="unknown","#
            + #"source_canonical_service="web",source_canonical_revision="latest",destination_workload="cart","#
            + #"destination_workload_namespace="shop",destination_principal="spiffe://cluster.local/ns/shop/sa/cart","#
            + #"destination_app="cart",destination_version="v2",destination_canonical_service="cart","#
            + #"destination_canonical_revision="v2",destination_service="unknown",destination_service_name="unknown","#
            + #"destination_service_namespace="unknown",request_protocol="http",response_code="200","#
            + #"grpc_response_status="",response_flags="-",connection_security_policy="mutual_tls""#
        #expect(text.contains("# TYPE istio_requests_total counter\nistio_requests_total{\(labels)} 3\n"))
        let name = "istio_request_duration_milliseconds"
        #expect(text.contains("\(name)_bucket{\(labels),le=\"0.5\"} 1\n"))
        #expect(text.contains("\(name)_bucket{\(labels),le=\"10\"} 2\n"))
        #expect(text.contains("\(name)_bucket{\(labels),le=\"3600000\"} 2\n"))
        #expect(text.contains("\(name)_bucket{\(labels),le=\"+Inf\"} 3\n"))
        #expect(text.contains("\(name)_sum{\(labels)} 4000007.4\n\(name)_count{\(labels)} 3\n"))
        #expect(text.contains("istio_request_bytes_bucket{\(labels),le=\"10\"} 2\n"))
        #expect(text.contains("istio_request_bytes_sum{\(labels)} 20\n"))
        #expect(text.contains("istio_response_bytes_bucket{\(labels),le=\"2500\"} 2\n"))
        #expect(text.contains("istio_response_bytes_sum{\(labels)} 3000\n"))
    }

    @Test("beyond the limit requests are counted for others together, and nothing is lost")
    func overflow() {
        let stats = MeshStats(own: Self.own)
        var counted = 0
        for account in 0..<100 {
            let peer = stats.number(ofPeer: "spiffe://cluster.local/ns/shop/sa/a\(account)")
            for status in 200..<230 {
                stats.add(key(stats, status: UInt16(status), other: peer), milliseconds: 1, at: 1)
                counted += 1
            }
        }
        #expect(stats.requests.count <= MeshStats.seriesLimit + 10)
        #expect(stats.overflowed == UInt64(counted - MeshStats.seriesLimit))
        let told = stats.tell(now: 1).requests
        #expect(told.values.reduce(0) { $0 + $1.count } == UInt64(counted))
        let others = told.filter { $0.key.contains(#"source_workload="other""#) }
        #expect(others.count == 1 && others.first?.value.count == stats.overflowed)
    }

    @Test("names beyond their limit are other, and the same name keeps its number")
    func names() {
        let stats = MeshStats(own: Self.own)
        let first = stats.number(ofHost: "w0;shop;;;")
        for index in 0..<MeshStats.namesLimit { _ = stats.number(ofHost: "w\(index);shop;;;") }
        #expect(stats.number(ofHost: "w0;shop;;;") == first)
        #expect(stats.number(ofHost: "one-more;shop;;;") == 1)
        #expect(stats.number(ofHost: "") == 0 && stats.number(ofPeer: nil) == 0)
    }

    @Test("a series that nobody uses for long is told no more")
    func expiry() {
        let stats = MeshStats(own: Self.own)
        stats.add(key(stats, status: 200), milliseconds: 1, at: 1)
        stats.add(key(stats, status: 404), milliseconds: 1, at: MeshStats.life)
        #expect(stats.tell(now: MeshStats.life).requests.count == 2)
        let later = stats.tell(now: MeshStats.life + 2).requests
        #expect(later.count == 1 && later.keys.first?.contains(#"response_code="404""#) == true)
    }

    @Test("a sidecar tells them with its own statistics, and another proxy does not")
    func page() async throws {
        let upstream: ScriptedUpstream.Script = { _, _ in .answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") }
        let routes = """
            - match: { prefix: / }
              route: { cluster: c0 }
            """
        for (id, isMeshed) in [("sidecar~web-1.shop", true), ("edge", false)] {
            var options = ServerOptions()
            (options.serviceNode, options.serviceCluster) = (id, "web.shop")
            try await ProxyBench.run(
                ProxyBench.http(routes: routes, clusters: 1), upstreams: [upstream], options: options
            ) {
                bench in
                let answer = try await bench.exchange("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                #expect(answer.status == 200)
                let page = await AdminServer(bench.server) {}.answer(
                    AdminRequest(method: "GET", target: "/stats/prometheus")
                ).body
                let line = page.split(separator: "\n").first { $0.hasPrefix("istio_requests_total{") }
                #expect((line != nil) == isMeshed)
                if let line {
                    #expect(line.contains(#"reporter="source",source_workload="web""#) && line.hasSuffix("} 1"))
                }
            }
        }
    }

    @Test("who asks for the proxy's own pages is no caller of the workload", arguments: [15020, 15021, 15090])
    func ownPages(port: Int) async throws {
        // The ports are Istio's, so the address is this test's own.
        let process = getpid()
        let address = "127.\(64 + process >> 16 & 63).\(process >> 8 & 255).\(process & 255 | 1)"
        let routes = "- match: { prefix: / }\n  direct_response: { status: 503 }"
        let configuration = ProxyBench.http(routes: routes, clusters: 0).replacing(
            "address: 127.0.0.1, port_value: 0", with: "address: \(address), port_value: \(port)")
        var options = ServerOptions()
        options.serviceNode = "sidecar~web-1.shop"
        try await ProxyBench.run(configuration, options: options) { bench in
            let answer = try await bench.exchange("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            #expect(answer.status == 503)
            func page(_ target: String) async -> String {
                await AdminServer(bench.server) {}.answer(AdminRequest(method: "GET", target: target)).body
            }
            let isTraffic = port == 15020
            #expect(await page("/stats/prometheus").contains("istio_requests_total{") == isTraffic)
            #expect(await page("/explain?failed").contains("GET a/") == isTraffic)
        }
    }

    @Test("a connection that is relayed is counted with its bytes while it lasts, and when it ends")
    func connections() async throws {
        var options = ServerOptions()
        (options.serviceNode, options.serviceCluster) = ("sidecar~web-1.shop", "web.shop")
        try await PlainUpstream.run { upstream in
            let yaml = TCPProxyTests.configuration(upstream.port)
            try await ProxyBench.run(yaml, options: options) { bench in
                func counts() async -> [String: String] {
                    let page = await AdminServer(bench.server) {}.answer(
                        AdminRequest(method: "GET", target: "/stats/prometheus")
                    ).body
                    var counts: [String: String] = [:]
                    for line in page.split(separator: "\n") where line.hasPrefix("istio_tcp_") {
                        #expect(line.contains(#"request_protocol="tcp",response_flags="-","#))
                        #expect(!line.contains("response_code"))
                        counts[String(line.prefix { $0 != "{" })] = line.split(separator: " ").last.map(String.init)
                    }
                    return counts
                }
                let client = try await bench.client().connection
                let server = try await upstream.next()
                try await client.send("hello")
                #expect(try await server.text(5) == "hello")
                try await server.send("hello you")
                #expect(try await client.text(9) == "hello you")
                var expected = [
                    "istio_tcp_connections_opened_total": "1", "istio_tcp_connections_closed_total": "0",
                    "istio_tcp_received_bytes_total": "5", "istio_tcp_sent_bytes_total": "9",
                ]
                #expect(await counts() == expected)
                try await client.send("!")
                #expect(try await server.text(1) == "!")
                await client.shutdownWrite()
                #expect(try await server.rest() == "")
                await server.shutdownWrite()
                #expect(try await client.rest() == "")
                expected["istio_tcp_connections_closed_total"] = "1"
                expected["istio_tcp_received_bytes_total"] = "6"
                let deadline = ContinuousClock.now + .seconds(60)
                while await counts() != expected, .now < deadline { try await Task.sleep(for: .milliseconds(5)) }
                #expect(await counts() == expected)
            }
        }
    }
}
