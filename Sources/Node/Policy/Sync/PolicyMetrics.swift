public import Telemetry

/// What the policies of a node count. Bounded: no pod, policy or address is a label.
public struct PolicyMetrics: Sendable {
    let policies: Gauge
    let isolated: Gauge
    let profiles: Gauge
    let identities: Gauge
    let elements: Gauge
    let elementWrites: Counter
    let failures: Counter
    let repairs: Counter
    let duration: Histogram
    let refusedPods: Counter
    private let registry: MetricsRegistry

    public init(_ registry: MetricsRegistry) {
        self.registry = registry
        policies = registry.gauge("weft_policy_policies", "NetworkPolicies of the cluster")
        isolated = registry.gauge("weft_policy_isolated_pods", "Pods of this node that some policy isolates")
        profiles = registry.gauge(
            "weft_policy_profiles", "Different sets of policies, by direction, that isolate pods of this node")
        identities = registry.gauge(
            "weft_policy_identities", "Different kinds of pods in the cluster, as policies can tell them")
        elements = registry.gauge("weft_policy_elements", "Elements in the kernel's table")
        elementWrites = registry.counter(
            "weft_policy_element_writes_total", "Element operations in the kernel's table")
        failures = registry.counter("weft_policy_sync_failures_total", "Writes of policies that the kernel refused")
        repairs = registry.counter(
            "weft_policy_table_reads_total", "Times that the table was read because others may have changed it")
        duration = registry.histogram("weft_policy_sync_duration_seconds", "Time that writing policies took")
        refusedPods = registry.counter(
            "weft_policy_unready_pods_total", "Pods that were not attached because policies were not known yet")
    }

    /// Reads the kernel's counters at each scrape.
    func readVerdicts(_ read: @escaping @Sendable () -> [PolicyVerdictCount]) {
        registry.collect(
            "weft_policy_packets_total",
            "Packets from and to isolated pods of this node that were judged, by what became of them",
            kind: "counter", labels: ["direction", "ip_family", "verdict"]
        ) {
            read().flatMap { count in
                [
                    MetricsRegistry.Sample(
                        [count.direction.rawValue, count.family, "allowed"], Double(count.allowed)),
                    MetricsRegistry.Sample([count.direction.rawValue, count.family, "denied"], Double(count.denied)),
                ]
            }
        }
    }
}

/// How many packets of one direction and family were judged, and how.
public struct PolicyVerdictCount: Hashable, Sendable {
    public var direction: NetworkPolicySpec.Direction
    /// IPv4 or IPv6, as Kubernetes writes it.
    public var family: String
    public var allowed: UInt64
    public var denied: UInt64
}
