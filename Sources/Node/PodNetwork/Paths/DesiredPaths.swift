import Bytes
import Netlink

/// Where this node stands: what the paths to other nodes depend on.
struct Vantage: Hashable, Sendable {
    /// This node's name: it needs no path to itself.
    var node: String
    var backend: Backend
    /// The link that carries the node's own address.
    var underlay: InterfaceIndex
    /// The tunnel device; nil with plain routes.
    var tunnel: InterfaceIndex?
    var vni: UInt32
}

/// The kernel objects that lead from here to the pods of `node`; none while it has no prefix, or has not said where its tunnel
/// ends. For this node itself: what its own prefix needs.
func paths(to node: NodeNetwork, from here: Vantage) -> [PathKey: Path] {
    var found: [PathKey: Path] = [:]
    guard node.name != here.node else {
        for prefix in node.podCIDRs.map(\.network) {
            found[.route(prefix)] = .unreachable
            if let tunnel = here.tunnel { found[.address(prefix.address)] = .address(device: tunnel) }
        }
        return found
    }
    for prefix in node.podCIDRs.map(\.network) {
        switch here.backend {
        case .hostGateway where prefix.address.family == node.address.family:
            found[.route(prefix)] = .remote(via: node.address, device: here.underlay, onlink: false)
        case .hostGateway: continue
        case .vxlan:
            guard let device = here.tunnel, let end = node.tunnel, end.vni == here.vni else { continue }
            // flannel's convention: the tunnel device has the first address of its node's prefix, and is the gateway to it.
            let gateway = prefix.address
            found[.neighbour(gateway)] = .neighbour(end.hardwareAddress, device: device)
            found[.forwarding(end.hardwareAddress)] = .forwarding(to: end.publicAddress, device: device)
            found[.route(prefix)] = .remote(via: gateway, device: device, onlink: true)
        }
    }
    return found
}

/// How large a pod's packets may be.
enum PacketSize {
    /// Outer Ethernet 14, UDP 8 and VXLAN 8 bytes, and the outer IP header.
    static func overhead(_ backend: Backend, underlay family: IPAddress.Family) -> UInt32 {
        switch backend {
        case .hostGateway: 0
        case .vxlan: family == .v4 ? 50 : 70
        }
    }

    /// The smallest that IPv6 allows on a link; below it nothing works as people expect.
    static let minimum: UInt32 = 1280

    static func ofPods(underlayMTU: UInt32, backend: Backend, underlay family: IPAddress.Family) -> UInt32 {
        let overhead = overhead(backend, underlay: family)
        return max(minimum, underlayMTU > overhead ? underlayMTU - overhead : 0)
    }
}
