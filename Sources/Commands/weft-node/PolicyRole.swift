import ClusterAPI
import ClusterClient
import PodNetwork
import Policy
import Reactor
import Telemetry

/// NetworkPolicies for this node's pods, from before their first packet.
struct PolicyRole: Sendable {
    let gate: PolicyGate
    private let runner: PolicyRunner

    /// nil where it is no role of this node.
    init?(_ options: NodeOptions, client: KubeClient, metrics: MetricsRegistry, log: Log) throws {
        guard options.roles.contains(.policy) else { return nil }
        // Writing a whole cluster must not keep pods' probes waiting.
        let loop = try EventLoopGroup(count: 1, name: "policies").next
        let keeper = try PolicyKeeper(
            node: options.nodeName, rejects: options.rejectsDenied, on: loop, metrics: PolicyMetrics(metrics), log: log)
        gate = PolicyGate(keeper: keeper)
        runner = PolicyRunner(keeper, client: client, on: loop, log: log)
    }

    /// Pods that stand already are this node's, too, whatever the API server says of them yet.
    func adopt(_ daemon: PodNetworkDaemon?) async throws {
        let attachments = try await daemon?.attachments() ?? []
        gate.keeper.adopt(
            attachments.compactMap { attachment in
                attachment.podKey.map { ($0, attachment.addresses) }
            })
    }

    /// Keeps the table until cancelled; it stays as it is then.
    func run() async { await runner.run() }
}

/// Has a pod's policies in force before its link is handed over.
struct PolicyGate: PodGate {
    let keeper: PolicyKeeper

    func admit(_ attachment: PodAttachment) throws {
        guard let pod = attachment.podKey else { return }
        try keeper.admit(pod, attachment.addresses)
    }

    func release(_ attachment: PodAttachment) {
        guard let pod = attachment.podKey else { return }
        keeper.release(pod, attachment.addresses)
    }

    var unreadiness: String? { keeper.unreadiness }
}
