import Telemetry

/// What the proxy counts, under kube-proxy's names, so that dashboards and alerts keep working.
struct ServiceProxyMetrics: Sendable {
    /// 1 ms, doubled fifteen times: kube-proxy's buckets.
    private static let syncSeconds = (0..<15).map { 0.001 * Double(1 << $0) }

    let registry: MetricsRegistry
    let syncDuration: Histogram
    let lastSync: Gauge
    let lastQueued: Gauge
    let serviceChanges: Counter
    let endpointChanges: Counter
    let failures: Counter
    let deletedFlows: Counter
    let elementWrites: Counter
    let repairs: Counter
    let healthz: MetricFamily<Counter>
    let livez: MetricFamily<Counter>

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        syncDuration = registry.histogram(
            "kubeproxy_sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds",
            bounds: Self.syncSeconds)
        lastSync = registry.gauge(
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "When rules were last written without an error")
        lastQueued = registry.gauge(
            "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "When writing rules was last asked for")
        serviceChanges = registry.counter(
            "kubeproxy_sync_proxy_rules_service_changes_total", "Changes of Services that were seen")
        endpointChanges = registry.counter(
            "kubeproxy_sync_proxy_rules_endpoint_changes_total", "Changes of EndpointSlices that were seen")
        failures = registry.counter(
            "kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "Writes of rules that the kernel refused")
        deletedFlows = registry.counter(
            "kubeproxy_conntrack_reconciler_deleted_entries_total", "Tracked flows to endpoints that were gone")
        elementWrites = registry.counter(
            "weft_service_proxy_element_writes_total", "Element operations in the kernel's tables")
        repairs = registry.counter(
            "weft_service_proxy_table_reads_total",
            "Times that the tables were read because others may have changed them")
        healthz = registry.counter("kubeproxy_proxy_healthz_total", "Answers of /healthz", labels: ["code"])
        livez = registry.counter("kubeproxy_proxy_livez_total", "Answers of /livez", labels: ["code"])
    }
}
