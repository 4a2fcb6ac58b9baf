import Bytes
import ClusterAPI
import Reactor
import Telemetry
import Testing

@testable import ServiceProxy

@Suite("Health and metrics")
struct HealthTests {
    private static let start = MonotonicTime(nanoseconds: 1_000_000_000_000)
    private static func after(_ seconds: Int) -> MonotonicTime { start.adding(.seconds(seconds)) }
    private static let time = Timestamp(seconds: 1_800_000_000)

    @Test("a change that is not written in time makes its family unhealthy, and only it")
    func lateness() {
        var health = ProxyHealth(patience: .seconds(60))
        #expect(health.isHealthy(at: Self.start))
        health.updated(.v4, at: Self.time)
        health.updated(.v6, at: Self.time)
        health.queued(.v4, at: Self.start)
        // Later changes do not make the first one younger.
        health.queued(.v4, at: Self.after(50))
        #expect(health.isHealthy(at: Self.after(59)))
        #expect(!health.isHealthy(.v4, at: Self.after(60)) && health.isHealthy(.v6, at: Self.after(60)))
        let answer = health.answer(withNode: true, at: Self.after(60), Self.time)
        #expect(answer.status == 503 && answer.body["healthy"] == false)
        #expect(answer.body["status"]?["IPv4"]?["healthy"] == false)
        #expect(answer.body["status"]?["IPv6"]?["healthy"] == true)
        health.updated(.v4, at: Self.time)
        #expect(health.answer(withNode: true, at: Self.after(100), Self.time).status == 200)
    }

    @Test("a node that is not eligible fails /healthz, not /livez")
    func eligibility() {
        var health = ProxyHealth(patience: .seconds(60))
        health.isNodeEligible = false
        let (healthz, livez) = (
            health.answer(withNode: true, at: Self.start, Self.time),
            health.answer(withNode: false, at: Self.start, Self.time)
        )
        #expect(healthz.status == 503 && healthz.body["nodeEligible"] == false)
        #expect(healthz.body["lastUpdated"] == "0001-01-01T00:00:00.000000000Z")
        #expect(livez.status == 200 && livez.body["nodeEligible"] == nil)
        #expect(livez.body["lastUpdated"] == livez.body["currentTime"])
    }

    @Test(
        "what a load balancer is told",
        arguments: [
            (LocalEndpoints(v4: 2, v6: 0), IPAddress.Family.v4, true, 200, "2"),
            (LocalEndpoints(v4: 2, v6: 1), .v6, true, 200, "1"), (LocalEndpoints(v4: 2, v6: 0), .v6, true, 200, "2"),
            (LocalEndpoints(), .v4, true, 503, "0"), (LocalEndpoints(v4: 2, v6: 0), .v4, false, 503, "2"),
        ])
    func loadBalancers(row: (LocalEndpoints, IPAddress.Family, Bool, Int, String)) {
        let answer = row.0.answer(
            for: ObjectKey(namespace: "shop", name: "cart"), over: row.1, isProxyHealthy: row.2)
        #expect(answer.status == row.3)
        #expect(answer.headers["x-load-balancing-endpoint-weight"] == row.4)
        #expect(answer.body["service"] == ["namespace": "shop", "name": "cart"])
        #expect(answer.body["serviceProxyHealthy"] == .bool(row.2))
    }

    @Test("endpoints here are counted by address, ready ones only")
    func readyHere() throws {
        let proxy = try ServiceProxy(
            {
                var none = ServiceProxyConfiguration.testing
                none.families = []
                return none
            }())
        let (here, ready): (EndpointSliceSpec.Flags, EndpointSliceSpec.Flags) = ([.ready, .serving, .local], [.ready])
        func slice(_ name: String, _ family: IPAddress.Family, _ endpoints: [(String, EndpointSliceSpec.Flags)]) {
            proxy.set(
                EndpointSliceSpec(
                    ObjectKey(namespace: "test", name: name), of: ObjectKey(namespace: "test", name: "cart"), family,
                    ports: [.init("a", .tcp, 1), .init("b", .tcp, 2)],
                    endpoints: endpoints.map { .init(address($0.0), $0.1) }))
        }
        proxy.set(ServiceSpec.test("cart", "10.96.0.1", .init("a", .tcp, 1)))
        slice("one", .v4, [("10.1.0.1", here), ("10.1.0.2", ready), ("10.1.0.3", [.serving, .terminating, .local])])
        slice("two", .v4, [("10.1.0.1", here), ("10.1.0.4", here)])
        slice("three", .v6, [("fd00::1", here)])
        #expect(proxy.readyHere(ObjectKey(namespace: "test", name: "cart")) == LocalEndpoints(v4: 2, v6: 1))
    }

    @Test("the page of metrics is valid, and has every name of kube-proxy's nftables mode")
    func metrics() throws {
        let registry = MetricsRegistry()
        let metrics = ServiceProxyMetrics(registry)
        metrics[.v4].observe(SyncReport(isFull: true), took: .milliseconds(3), drops: LocalDrops(byInternalPolicy: 2))
        metrics[.v6].programming.observe(.seconds(3))
        let page = try PrometheusPage(String(decoding: registry.render(), as: UTF8.self))
        let prefix = "kubeproxy_sync_proxy_rules_"
        for (name, kind) in [
            (prefix + "duration_seconds", "histogram"),
            ("kubeproxy_sync_full_proxy_rules_duration_seconds", "histogram"),
            ("kubeproxy_sync_partial_proxy_rules_duration_seconds", "histogram"),
            (prefix + "last_timestamp_seconds", "gauge"), (prefix + "last_queued_timestamp_seconds", "gauge"),
            (prefix + "endpoint_changes_pending", "gauge"), (prefix + "endpoint_changes_total", "counter"),
            (prefix + "service_changes_pending", "gauge"), (prefix + "service_changes_total", "counter"),
            ("kubeproxy_network_programming_duration_seconds", "histogram"),
            (prefix + "no_local_endpoints_total", "gauge"), (prefix + "nftables_sync_failures_total", "counter"),
            (prefix + "nftables_cleanup_failures_total", "counter"), ("kubeproxy_proxy_healthz_total", "counter"),
            ("kubeproxy_proxy_livez_total", "counter"),
            ("kubeproxy_conntrack_reconciler_sync_duration_seconds", "histogram"),
            ("kubeproxy_conntrack_reconciler_deleted_entries_total", "counter"),
        ] {
            #expect(page.kinds[name] == kind, "\(name)")
        }
        #expect(page.value(prefix + "duration_seconds_count", ["ip_family": "IPv4"]) == 1)
        #expect(
            page.value("kubeproxy_sync_full_proxy_rules_duration_seconds_bucket", ["ip_family": "IPv4", "le": "0.004"])
                == 1)
        #expect(
            page.value(prefix + "no_local_endpoints_total", ["traffic_policy": "internal", "ip_family": "IPv4"]) == 2)
        let bounds = page.samples.filter {
            $0.name == "kubeproxy_network_programming_duration_seconds_bucket" && $0.labels["ip_family"] == "IPv6"
        }
        #expect(bounds.count == 2 + 59 + 12 + 7 + 1)
    }

    @Test(
        "what is no page of metrics is found out",
        arguments: [
            "a 1\n", "# TYPE a counter\na{b=\"c} 1\n", "# TYPE a counter\na x\n", "# TYPE a thing\na 1\n",
            "# TYPE a counter\na 1\na 2\n", "# TYPE a counter\na 1",
            "# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
            "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
        ])
    func invalidPages(text: String) { #expect(throws: PrometheusPage.Invalid.self) { try PrometheusPage(text) } }
}
