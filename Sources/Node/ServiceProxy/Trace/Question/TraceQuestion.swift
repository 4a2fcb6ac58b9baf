public import Bytes
public import ClusterAPI

/// A packet as a person asks for it: by names.
public struct TraceQuestion: Sendable {
    public enum Source: Hashable, Sendable {
        case pod(ObjectKey)
        case address(IPAddress)
        /// A process of the node.
        case node
        /// Somebody outside of the cluster.
        case external
    }

    /// On which node it is answered; nil where the source or the destination tells.
    public var node: String?
    public var source: Source
    /// nil where the Service tells; TCP where nothing does.
    public var transport: Transport?
    /// `[namespace/]service[:port]`, `address[:port]`, or a node port.
    public var destination: String
    /// Of Services without one.
    public var namespace: String

    public init(
        _ source: Source, to destination: String, _ transport: Transport? = nil, on node: String? = nil,
        namespace: String = "default"
    ) {
        self.source = source
        self.destination = destination
        self.transport = transport
        self.node = node
        self.namespace = namespace
    }

    /// A question that cannot be answered as it is put, and how it could.
    public struct Unclear: Error, CustomStringConvertible {
        public var description: String
    }

    /// The question with every name resolved.
    public struct Resolved: Sendable {
        /// The node that the packet meets.
        public var node: String
        /// What it meets it through is told by the proxy's configuration: `packet(_:)`.
        var entry: Entry
        var source: IPAddress
        var destination: IPAddress
        var transport: Transport
        var port: Port
        /// `pod shop/web (10.244.1.5)`.
        var sourceText: String
        var destinationText: String

        enum Entry: Sendable { case node, pod, elsewhere }

        public var description: String {
            "\(transport) from \(sourceText) to \(destinationText), on node \(node)"
        }

        /// The packet, on a node that is configured so.
        public func packet(_ configuration: ServiceProxyConfiguration) -> TracedPacket {
            let interface =
                switch (entry, configuration.localDetector) {
                case (.pod, .bridgeInterface(let name)): name
                case (.pod, .interfaceNamePrefix(let prefix)): prefix + "0"
                // Neither a pod's interface nor the beginning of one.
                default: "-"
                }
            return TracedPacket(
                entry == .node ? .node : .interface(interface), from: source, to: destination, transport, port)
        }
    }

    /// Stands for somebody outside (RFC 5737, RFC 3849).
    static let outside: [IPAddress.Family: IPAddress] = [
        .v4: IPAddress(v4: 198, 51, 100, 1), .v6: IPAddress(v6: 0x2001_0DB8_0000_0000, 1),
    ]

    /// - Parameter local: the addresses of the node itself, where they were read from it.
    public func resolve(in cluster: TraceCluster, local: Set<IPAddress> = []) throws(Unclear) -> Resolved {
        let target = try TraceDestination(self, cluster)
        let node = try nodeName(cluster, target, local)
        let own = Set(cluster.addresses(of: node)).union(local)
        let destination = if let address = target.address { address } else { try nodePortAddress(cluster, node) }
        var resolved = Resolved(
            node: node, entry: .elsewhere, source: destination, destination: destination, transport: target.transport,
            port: target.port, sourceText: "",
            destinationText: target.text(at: destination))
        func set(_ entry: Resolved.Entry, _ source: IPAddress, _ text: String) {
            (resolved.entry, resolved.source, resolved.sourceText) = (entry, source, "\(text) (\(source))")
        }
        switch source {
        case .node: set(.node, try nodeSource(cluster, node, destination, own), "the node itself")
        case .external:
            set(.elsewhere, Self.outside[destination.family] ?? destination, "outside of the cluster")
        case .pod(let key):
            guard let pod = cluster.pod(key) else { throw Unclear(description: "there is no pod \(key)") }
            guard let address = pod.podAddresses.first(where: { $0.family == destination.family }) else {
                let family = destination.family == .v4 ? "IPv4" : "IPv6"
                throw Unclear(description: "pod \(key) has no \(family) address, and \(destination) is one")
            }
            let isHere = pod.spec["nodeName"]?.string == node
            set(isHere ? pod.isOnHostNetwork ? .node : .pod : .elsewhere, address, "pod \(key)")
        case .address(let address):
            guard address.family == destination.family else {
                throw Unclear(description: "\(address) and \(destination) are of different families")
            }
            if own.contains(address) {
                set(.node, address, "the node itself")
            } else if let pod = cluster.pod(at: address) {
                set(pod.spec["nodeName"]?.string == node ? .pod : .elsewhere, address, "pod \(pod.key)")
            } else {
                set(.elsewhere, address, "an address of nobody here")
            }
        }
        return resolved
    }

    // MARK: Which node

    private func nodeName(_ cluster: TraceCluster, _ target: TraceDestination, _ local: Set<IPAddress>)
        throws(Unclear) -> String
    {
        if let node {
            guard cluster.node(node) != nil else {
                throw Unclear(description: "there is no node \(node), only \(cluster.nodeNames)")
            }
            return node
        }
        if case .pod(let key) = source {
            guard let pod = cluster.pod(key) else { throw Unclear(description: "there is no pod \(key)") }
            if let name = pod.spec["nodeName"]?.string { return name }
        }
        if case .address(let address) = source {
            if let pod = cluster.pod(at: address), let name = pod.spec["nodeName"]?.string { return name }
            if let node = cluster.node(at: address) { return node.name }
        }
        if let node = cluster.nodes.first(where: { !local.isDisjoint(with: $0.nodeAddresses) }) { return node.name }
        if let address = target.address, let node = cluster.node(at: address) { return node.name }
        guard cluster.nodes.count == 1 else {
            throw Unclear(
                description: "which node does the packet meet? Say --node, one of: \(cluster.nodeNames)")
        }
        return cluster.nodes[0].name
    }

    private func nodePortAddress(_ cluster: TraceCluster, _ node: String) throws(Unclear) -> IPAddress {
        let addresses = cluster.addresses(of: node)
        var wanted: IPAddress.Family?
        switch source {
        case .address(let address): wanted = address.family
        case .pod(let key): wanted = cluster.pod(key)?.podAddresses.first?.family
        case .node, .external: break
        }
        guard let address = addresses.first(where: { wanted == nil || $0.family == wanted }) else {
            throw Unclear(description: "node \(node) has no InternalIP for a node port to be at")
        }
        return address
    }

    /// What routing would choose: an address of the node to itself, its first one to others.
    private func nodeSource(
        _ cluster: TraceCluster, _ node: String, _ destination: IPAddress, _ own: Set<IPAddress>
    ) throws(Unclear) -> IPAddress {
        if own.contains(destination) || destination.isLoopback { return destination }
        guard let address = cluster.addresses(of: node).first(where: { $0.family == destination.family }) else {
            throw Unclear(
                description: "node \(node) has no InternalIP of \(destination)'s family to send from")
        }
        return address
    }
}
