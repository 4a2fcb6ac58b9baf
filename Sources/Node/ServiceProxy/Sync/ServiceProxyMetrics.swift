import Bytes
import Telemetry

/// What the proxy counts, under kube-proxy's names, so that dashboards and alerts keep working.
struct ServiceProxyMetrics: Sendable {
    /// 1 ms, doubled fifteen times: kube-proxy's buckets.
    private static let syncSeconds = (0..<15).map { 0.001 * Double(1 << $0) }
    /// From the cause in the cluster to the kernel: kube-proxy's buckets.
    private static let programmingSeconds =
        [0.25, 0.5] + (1...59).map(Double.init) + stride(from: 60.0, through: 115, by: 5)
        + stride(from: 120.0, through: 300, by: 30)

    /// Those of one address family.
    struct Family: Sendable {
        let duration: Histogram
        let fullDuration: Histogram
        let partialDuration: Histogram
        let lastSync: Gauge
        let lastQueued: Gauge
        let failures: Counter
        let cleanupFailures: Counter
        let programming: Histogram
        let noLocalInternal: Gauge
        let noLocalExternal: Gauge
        let conntrackDuration: Histogram
        let deletedFlows: Counter
    }

    let registry: MetricsRegistry
    let v4: Family
    let v6: Family
    let serviceChanges: Counter
    let servicesPending: Gauge
    let endpointChanges: Counter
    let endpointsPending: Gauge
    let elementWrites: Counter
    let repairs: Counter
    let contested: Gauge
    let healthz: MetricFamily<Counter>
    let livez: MetricFamily<Counter>

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        let families = [IPAddress.Family.v4, .v6].map { $0.kubernetesName }
        func seconds(_ name: String, _ help: String, _ bounds: [Double] = Self.syncSeconds) -> [Histogram] {
            let all = registry.histogram(name, help, labels: ["ip_family"], bounds: bounds)
            return families.map { all[$0] }
        }
        func gauge(_ name: String, _ help: String) -> [Gauge] {
            let all = registry.gauge(name, help, labels: ["ip_family"])
            return families.map { all[$0] }
        }
        func counter(_ name: String, _ help: String) -> [Counter] {
            let all = registry.counter(name, help, labels: ["ip_family"])
            return families.map { all[$0] }
        }
        let prefix = "kubeproxy_sync_proxy_rules_"
        let duration = seconds(prefix + "duration_seconds", "Time that writing rules took")
        let full = seconds(
            "kubeproxy_sync_full_proxy_rules_duration_seconds", "Of those, where whole tables were compared")
        let partial = seconds(
            "kubeproxy_sync_partial_proxy_rules_duration_seconds", "Of those, where only changes were looked at")
        let lastSync = gauge(prefix + "last_timestamp_seconds", "When rules were last written without an error")
        let lastQueued = gauge(prefix + "last_queued_timestamp_seconds", "When writing rules was last asked for")
        let failures = counter(prefix + "nftables_sync_failures_total", "Writes of rules that the kernel refused")
        let cleanupFailures = counter(
            prefix + "nftables_cleanup_failures_total", "Removals of what is stale that the kernel refused")
        let programming = seconds(
            "kubeproxy_network_programming_duration_seconds",
            "From the change of a pod or Service to the kernel, by the clocks of two machines", Self.programmingSeconds)
        let noLocal = registry.gauge(
            prefix + "no_local_endpoints_total",
            "Service ports with a Local policy that have endpoints, but none here",
            labels: ["traffic_policy", "ip_family"])
        let conntrack = seconds(
            "kubeproxy_conntrack_reconciler_sync_duration_seconds", "Time that looking for stale flows took")
        let flows = counter(
            "kubeproxy_conntrack_reconciler_deleted_entries_total", "Tracked flows to endpoints that were gone")
        let all = families.indices.map { index in
            Family(
                duration: duration[index], fullDuration: full[index], partialDuration: partial[index],
                lastSync: lastSync[index], lastQueued: lastQueued[index], failures: failures[index],
                cleanupFailures: cleanupFailures[index], programming: programming[index],
                noLocalInternal: noLocal["internal", families[index]],
                noLocalExternal: noLocal["external", families[index]], conntrackDuration: conntrack[index],
                deletedFlows: flows[index])
        }
        (v4, v6) = (all[0], all[1])
        serviceChanges = registry.counter(prefix + "service_changes_total", "Changes of Services that were seen")
        servicesPending = registry.gauge(prefix + "service_changes_pending", "Of those, the ones not written yet")
        endpointChanges = registry.counter(
            prefix + "endpoint_changes_total", "Changes of EndpointSlices that were seen")
        endpointsPending = registry.gauge(prefix + "endpoint_changes_pending", "Of those, the ones not written yet")
        elementWrites = registry.counter(
            "weft_service_proxy_element_writes_total", "Element operations in the kernel's tables")
        repairs = registry.counter(
            "weft_service_proxy_table_reads_total",
            "Times that the tables were read because others may have changed them")
        contested = registry.gauge(
            "weft_service_proxy_contested_frontends", "Addresses and ports that more than one Service claims")
        healthz = registry.counter("kubeproxy_proxy_healthz_total", "Answers of /healthz", labels: ["code"])
        livez = registry.counter("kubeproxy_proxy_livez_total", "Answers of /livez", labels: ["code"])
        for code in ["200", "503"] { _ = (healthz[code], livez[code]) }
    }

    subscript(family: IPAddress.Family) -> Family { family == .v4 ? v4 : v6 }
}

extension ServiceProxyMetrics.Family {
    func observe(_ report: SyncReport, took: Duration, drops: LocalDrops) {
        duration.observe(took)
        (report.isFull ? fullDuration : partialDuration).observe(took)
        lastSync.set(Timestamp.now().secondsSinceEpoch)
        noLocalInternal.set(Double(drops.byInternalPolicy))
        noLocalExternal.set(Double(drops.byExternalPolicy))
        if report.conntrack > .zero { conntrackDuration.observe(report.conntrack) }
        deletedFlows.increment(by: UInt64(report.deletedFlows))
    }
}

extension Timestamp {
    var secondsSinceEpoch: Double { Double(seconds) + Double(nanoseconds) / 1e9 }
}
