import Bytes
import ClusterAPI
import ClusterClient
import JSON
import PodNetwork
import Reactor
import Telemetry

/// Tells the pod network of the cluster's nodes, and the cluster of this node's end of the tunnel.
struct PodNetworkRole: Sendable {
    let daemon: PodNetworkDaemon
    let client: KubeClient
    let nodeName: String
    /// Overrides spec.podCIDR of this node.
    let podCIDR: CIDR?
    let log: Log

    /// Follows nodes until cancelled.
    func run() async {
        let informer = Informer<NodeEntry>(client, .nodes, log: log)
        let (events, sink) = AsyncStream.makeStream(of: InformerEvent<NodeEntry>.self)
        informer.onEvent { sink.yield($0) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await informer.run() }
            group.addTask {
                for await event in events { await take(event, all: informer) }
            }
            await withTaskCancellationHandler {
                await group.waitForAll()
            } onCancel: {
                sink.finish()
            }
        }
    }

    private func take(_ event: InformerEvent<NodeEntry>, all informer: Informer<NodeEntry>) async {
        do {
            switch event {
            case .synced:
                try await daemon.update(nodes: informer.list().compactMap(network))
            case .added(_, let node):
                // Before the first complete picture, paths of a daemon before this one must not be taken for stale.
                guard informer.hasSynced else { break }
                if let network = network(node) { try await daemon.update(node: network) }
            case .updated(_, let old, let node):
                guard informer.hasSynced, old != node else { break }
                if let network = network(node) { try await daemon.update(node: network) }
            case .deleted(let key, _):
                guard informer.hasSynced else { break }
                try await daemon.remove(node: key.name)
            }
        } catch {
            log.error("pod network did not take a node's change", ["error": "\(error)"])
        }
        switch event {
        case .added(let key, let node) where key.name == nodeName: await publish(node)
        case .updated(let key, _, let node) where key.name == nodeName: await publish(node)
        default: break
        }
    }

    private func network(_ entry: NodeEntry) -> NodeNetwork? {
        guard var network = entry.network else { return nil }
        if network.name == nodeName, let podCIDR { network.podCIDRs = [podCIDR] }
        return network
    }

    /// Writes this node's annotations where they are missing or wrong.
    private func publish(_ node: NodeEntry) async {
        do {
            let wanted = try await daemon.annotations()
            let missing = wanted.filter { node.annotations[$0.key] != $0.value }
            guard !missing.isEmpty else { return }
            let values = JSONObject(missing.map { (key: $0.key, value: JSONValue.string($0.value)) })
            try await client.patch(
                .nodes, ObjectKey(name: nodeName), .merge, ["metadata": ["annotations": .object(values)]])
        } catch {
            log.warning("tunnel annotations not written", ["node": nodeName, "error": "\(error)"])
        }
    }
}

/// What the pod network needs to know of a Node object.
struct NodeEntry: APIDecodable, Equatable {
    /// nil while the node has no address.
    var network: NodeNetwork?
    var annotations: [String: String]

    init(_ object: KubeObject) {
        annotations = object.annotations.filter { $0.key.hasPrefix("flannel.alpha.coreos.com/") }
        let spec = object.json["spec"]
        var prefixes = (spec?["podCIDRs"]?.array ?? []).compactMap { $0.string.flatMap { CIDR($0) } }
        if prefixes.isEmpty, let only = spec?["podCIDR"]?.string.flatMap({ CIDR($0) }) { prefixes = [only] }
        let internalAddress = object.json["status"]?["addresses"]?.array?.first { $0["type"]?.string == "InternalIP" }
        let tunnel = FlannelAnnotations.tunnel { [annotations] in annotations[$0] }
        guard let address = internalAddress?["address"]?.string.flatMap({ IPAddress($0) }) ?? tunnel?.publicAddress
        else { return }
        network = NodeNetwork(name: object.name, podCIDRs: prefixes, address: address, tunnel: tunnel)
    }
}
