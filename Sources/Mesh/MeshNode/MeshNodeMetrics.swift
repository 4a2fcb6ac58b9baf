import Telemetry

/// What the mesh's part of a node counts.
struct MeshNodeMetrics: Sendable {
    let pods: Gauge
    let issued: Counter
    let failures: Counter
    let streams: Gauge
    let issuance: Histogram

    init(_ registry: MetricsRegistry) {
        pods = registry.gauge("weft_mesh_pods", "Pods of this node that are in the mesh.")
        issued = registry.counter("weft_mesh_certificates_total", "Certificates that pods of this node were given.")
        failures = registry.counter(
            "weft_mesh_certificate_failures_total", "Requests for a pod's certificate that failed; each is repeated.")
        streams = registry.gauge("weft_mesh_control_streams", "Connections of proxies to the control plane.")
        issuance = registry.histogram(
            "weft_mesh_certificate_seconds", "From a pod's key to its certificate, failed tries left out.")
    }
}
