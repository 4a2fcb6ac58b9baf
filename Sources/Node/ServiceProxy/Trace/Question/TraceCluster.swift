public import Bytes
public import ClusterAPI

/// The objects that questions about packets are answered from, as the API has them.
public struct TraceCluster: Sendable {
    /// In the order in which they claim what two of them want: oldest first.
    let services: [KubeObject]
    let endpointSlices: [KubeObject]
    let nodes: [KubeObject]
    let pods: [KubeObject]
    private let serviceCIDRs: [CIDR]
    private let podByAddress: [IPAddress: Int]

    public init(
        services: [KubeObject], endpointSlices: [KubeObject], nodes: [KubeObject], pods: [KubeObject],
        serviceCIDRs: [KubeObject] = []
    ) {
        self.services = services.sorted {
            ($0.creationTimestamp ?? "", $0.key) < ($1.creationTimestamp ?? "", $1.key)
        }
        self.endpointSlices = endpointSlices
        self.nodes = nodes
        self.pods = pods
        self.serviceCIDRs = serviceCIDRs.filter { !$0.isTerminating }
            .flatMap { $0.spec["cidrs"]?.array ?? [] }.compactMap { $0.string.flatMap { CIDR($0) } }
        var byAddress: [IPAddress: Int] = [:]
        for (index, pod) in pods.enumerated() where !pod.isFinished && !pod.isOnHostNetwork {
            for address in pod.podAddresses { byAddress[address] = index }
        }
        podByAddress = byAddress
    }

    func service(_ key: ObjectKey) -> KubeObject? { services.first { $0.key == key } }
    func pod(_ key: ObjectKey) -> KubeObject? { pods.first { $0.key == key } }
    func pod(at address: IPAddress) -> KubeObject? { podByAddress[address].map { pods[$0] } }
    func node(_ name: String) -> KubeObject? { nodes.first { $0.name == name } }
    func node(at address: IPAddress) -> KubeObject? { nodes.first { $0.nodeAddresses.contains(address) } }

    var nodeNames: String { nodes.map(\.name).sorted().joined(separator: ", ") }

    /// Who is behind an address: `pod shop/cart-1 on node-2`, `node node-1`.
    public func name(of address: IPAddress) -> String? {
        if let pod = pod(at: address) {
            let node = pod.spec["nodeName"]?.string.map { " on \($0)" } ?? ""
            return "pod \(pod.key)\(node)"
        }
        return node(at: address).map { "node \($0.name)" }
    }

    /// A tracer of packets that meet this node.
    ///
    /// - Parameter addresses: what the node has beside what its object tells.
    public func tracer(
        _ configuration: ServiceProxyConfiguration, addresses: Set<IPAddress>
    ) -> ServiceTracer {
        ServiceTracer(
            configuration, addresses: addresses, services: services.compactMap { ServiceSpec($0) },
            slices: endpointSlices.compactMap { EndpointSliceSpec($0, on: configuration.node) },
            serviceCIDRs: serviceCIDRs)
    }

    /// Who the node is to the proxy; nil for a name that no Node has.
    public func identity(of name: String) -> NodeIdentity? {
        node(name).map { NodeIdentity(name: name, zone: $0.label("topology.kubernetes.io/zone")) }
    }

    /// Of the Node object: what `nodePortAddresses: primary` takes.
    public func addresses(of name: String) -> [IPAddress] { node(name)?.nodeAddresses ?? [] }

    /// `spec.podCIDRs`.
    public func podPrefixes(of name: String) -> [CIDR] {
        (node(name)?.spec["podCIDRs"]?.array ?? []).compactMap { $0.string.flatMap { CIDR($0) } }
    }
}

extension KubeObject {
    /// A Pod's, of both families.
    var podAddresses: [IPAddress] {
        var texts = (status["podIPs"]?.array ?? []).compactMap { $0["ip"]?.string }
        if texts.isEmpty, let one = status["podIP"]?.string { texts = [one] }
        return texts.compactMap { IPAddress($0) }
    }

    var isOnHostNetwork: Bool { spec["hostNetwork"]?.bool ?? false }

    /// A Pod whose address may be another's by now.
    var isFinished: Bool { ["Succeeded", "Failed"].contains(status["phase"]?.string ?? "") }

    /// A Node's own.
    var nodeAddresses: [IPAddress] {
        (status["addresses"]?.array ?? []).filter { $0["type"]?.string == "InternalIP" }
            .compactMap { $0["address"]?.string.flatMap { IPAddress($0) } }
    }
}
