import Bytes
import HTTP
import JSON
import Reactor
import Telemetry

/// What :10256 serves: whether load balancers may send to this node (`/healthz`), and whether this program should be
/// restarted (`/livez`).
struct HealthPages: HTTPHandler {
    let state: ProxyState
    let metrics: ServiceProxyMetrics

    func handle(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        switch request.path {
        case "/healthz": await answer(response, withNode: true, metrics.healthz)
        case "/livez": await answer(response, withNode: false, metrics.livez)
        default: await response.send(status: 404, text: "404 page not found\n")
        }
    }

    private func answer(_ response: HTTPResponseWriter, withNode: Bool, _ count: MetricFamily<Counter>) async {
        let answer = state.health.withLock { $0.answer(withNode: withNode, at: .now(), .now()) }
        count["\(answer.status)"].increment()
        await response.send(
            status: answer.status, headers: ["content-type": "application/json", "x-content-type-options": "nosniff"],
            body: answer.body.encoded())
    }
}

/// What :10249 serves: metrics, and what is in effect.
struct MetricsPages: HTTPHandler {
    let configuration: JSONValue
    let registry: MetricsRegistry
    /// Health checks as metrics.
    let slis: MetricsRegistry

    func handle(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        switch request.path {
        case "/metrics": await send(registry, response)
        case "/metrics/slis": await send(slis, response)
        case "/healthz", "/healthz/ping": await response.send(status: 200, text: "ok")
        case "/proxyMode":
            await response.send(
                status: 200,
                headers: ["content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"],
                body: Array("nftables".utf8))
        case "/configz":
            await response.send(
                status: 200, headers: ["content-type": "application/json", "x-content-type-options": "nosniff"],
                body: configuration.encoded())
        default:
            // Also /flagz, /statusz and /debug/pprof, as in a kube-proxy whose gates for them are closed.
            await response.send(status: 404, text: "404 page not found\n")
        }
    }

    private func send(_ registry: MetricsRegistry, _ response: HTTPResponseWriter) async {
        await response.send(
            status: 200, headers: ["content-type": MetricsRegistry.contentType], body: registry.render())
    }
}

/// Health checks as metrics (KEP-3466): what `/metrics/slis` shows.
enum HealthIndicators {
    static func registry() -> MetricsRegistry {
        let registry = MetricsRegistry()
        registry.gauge(
            "kubernetes_healthcheck", "Whether a health check succeeded when it was last made",
            labels: ["name", "type"])["ping", "healthz"].set(1)
        registry.counter(
            "kubernetes_healthchecks_total", "Health checks by their result", labels: ["name", "status", "type"]
        )["ping", "success", "healthz"].increment()
        return registry
    }
}
