import Bytes
import ClusterClient
import Reactor
import ServiceProxy
import Telemetry

/// kube-proxy's part: the rules by which this node's packets find Services.
struct ServiceProxyRole: Sendable {
    let options: NodeOptions
    let client: KubeClient
    let loop: EventLoop
    let metrics: MetricsRegistry
    let log: Log

    /// Keeps the rules until cancelled; they stay as they are then.
    func run() async throws {
        let wish = options.serviceProxy.configuration
        for remark in options.serviceProxy.remarks { log.warning(remark) }
        ServiceProxyErrands.setUpKernel(wish, log)
        // With other roles beside, pods would inherit it.
        if options.roles == [.serviceProxy] { adjustScore(wish.oomScoreAdj) }
        ProcessMetrics.register(in: metrics)

        var configuration = wish.proxyConfiguration(
            NodeIdentity(name: options.nodeName), address: options.nodeAddress)
        configuration.removesKubeProxyTables = options.serviceProxy.removesKubeProxyTables
        let paced = PacedTransport(
            client.transport, on: loop, qps: wish.clientConnection.qps, burst: wish.clientConnection.burst,
            host: options.kubeConfig.server.replacing("https://", with: ""), registry: metrics)
        try await ServiceProxyRunner(configuration, client: KubeClient(paced), registry: metrics, log: log).run()
    }

    private func adjustScore(_ score: Int) {
        do {
            try Files.writeInPlace("/proc/self/oom_score_adj", String(score))
        } catch {
            log.info("oomScoreAdj is not set", ["error": "\(error)"])
        }
    }
}
