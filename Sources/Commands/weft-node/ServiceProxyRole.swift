import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor
import ServiceProxy
import Telemetry

/// kube-proxy's part: the rules by which this node's packets find Services.
struct ServiceProxyRole: Sendable {
    let options: NodeOptions
    let client: KubeClient
    let metrics: MetricsRegistry
    let log: Log

    /// Keeps the rules until cancelled; they stay as they are then.
    func run() async throws {
        let configuration = try await configuration()
        try await ServiceProxyRunner(configuration, client: client, registry: metrics, log: log).run()
    }

    private func configuration() async throws -> ServiceProxyConfiguration {
        let name = options.kubeProxy?.nodeName ?? options.nodeName
        let node = NodeIdentity(name: name)
        if let file = options.kubeProxy {
            return file.configuration(
                node, nodePrefixes: try await podPrefixes(of: name), primary: [options.nodeAddress])
        }
        var configuration = ServiceProxyConfiguration(node: node)
        // All pods of the cluster: what one sends keeps its source, on whichever node it is.
        configuration.localDetector = options.clusterCIDRs.isEmpty ? .none : .prefixes(options.clusterCIDRs)
        return configuration
    }

    /// The pod prefixes of our Node object, once it has some.
    private func podPrefixes(of name: String) async throws -> [CIDR] {
        guard let object = try await client.find(.nodes, ObjectKey(name: name)) else { return [] }
        return (object.spec["podCIDRs"]?.array ?? []).compactMap { $0.string.flatMap { CIDR($0) } }
    }
}
