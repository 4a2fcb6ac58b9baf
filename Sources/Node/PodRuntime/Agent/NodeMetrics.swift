import Telemetry

/// What a node counts of its pods; the names are the kubelet's where it has one.
public struct NodeMetrics: Sendable {
    /// Seconds to make a pod's namespaces and attach its network.
    let sandboxStart: Histogram
    /// Seconds from the decision to start a container to its process running.
    let containerStart: Histogram
    let containerExits: Counter
    /// By kind and `successful` or `failed`.
    let probes: MetricFamily<Counter>
    let runningPods: Gauge

    /// - Parameter registry: where the metrics are scraped.
    public init(_ registry: MetricsRegistry) {
        sandboxStart = registry.histogram(
            "kubelet_run_podsandbox_duration_seconds", "Time to make a pod's sandbox, its network included.")
        containerStart = registry.histogram("weft_container_start_duration_seconds", "Time to start a container.")
        containerExits = registry.counter("weft_container_exits_total", "Containers that ended.")
        probes = registry.counter("prober_probe_total", "Probes by their outcome.", labels: ["probe_type", "result"])
        runningPods = registry.gauge("kubelet_running_pods", "Pods that this node cares for.")
    }
}
