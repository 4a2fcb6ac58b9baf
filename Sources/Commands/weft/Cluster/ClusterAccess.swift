import ClusterAPI
import ClusterClient
import JSON
import Reactor
import YAML

/// A cluster's API server, as its administrator reaches it.
struct ClusterAccess: Sendable {
    let client: KubeClient

    /// Nil while the control plane has not written its kubeconfig.
    init?(_ record: ClusterRecord, on loop: EventLoop) throws {
        guard Files.exists(record.kubeconfig) else { return nil }
        let document = try YAML.parse(Files.readText(record.kubeconfig, limit: 1 << 20))
        let config = try KubeConfig(document: document, directory: record.directory)
        client = KubeClient(try HTTPTransport(config, on: loop, userAgent: "weft"))
    }

    struct NodeCondition: Sendable {
        var name: String
        var isReady: Bool
        /// Why not, in the node's own words.
        var message: String
        var address: String
        var podCIDR: String
    }

    func nodes() async throws -> [NodeCondition] {
        try await client.list(.nodes).items.map { node in
            let ready = node.status["conditions"]?.array?.first { $0["type"]?.string == "Ready" }
            let address = node.status["addresses"]?.array?.first { $0["type"]?.string == "InternalIP" }
            return NodeCondition(
                name: node.name, isReady: ready?["status"]?.string == "True", message: ready?["message"]?.string ?? "",
                address: address?["address"]?.string ?? "", podCIDR: node.spec["podCIDR"]?.string ?? "")
        }
    }
}
