import Bytes

/// How packets for the pods of a node travel to it.
public enum Backend: String, Hashable, Sendable {
    /// In UDP, by a `flannel.<VNI>` device: works over any network that carries UDP between nodes.
    case vxlan
    /// By plain routes: for nodes on one link, or on a network that knows the pod prefixes.
    case hostGateway = "host-gw"
}

/// A node's end of the VXLAN.
public struct TunnelEndpoint: Hashable, Sendable {
    public var vni: UInt32
    /// Address of the node's tunnel device.
    public var hardwareAddress: MACAddress
    /// Where the outer packets go.
    public var publicAddress: IPAddress

    public init(vni: UInt32, hardwareAddress: MACAddress, publicAddress: IPAddress) {
        self.vni = vni
        self.hardwareAddress = hardwareAddress
        self.publicAddress = publicAddress
    }
}

/// What this room needs to know of a node, this one or another.
public struct NodeNetwork: Hashable, Sendable {
    public var name: String
    /// The node's pod prefixes, at most one of each family; empty until a controller assigned them.
    public var podCIDRs: [CIDR]
    /// The node's own address (`InternalIP`).
    public var address: IPAddress
    /// Nil until the node published it, and for nodes without a tunnel.
    public var tunnel: TunnelEndpoint?

    public init(name: String, podCIDRs: [CIDR], address: IPAddress, tunnel: TunnelEndpoint? = nil) {
        self.name = name
        self.podCIDRs = podCIDRs
        self.address = address
        self.tunnel = tunnel
    }

    public func podCIDR(_ family: IPAddress.Family) -> CIDR? { podCIDRs.first { $0.address.family == family } }
}
