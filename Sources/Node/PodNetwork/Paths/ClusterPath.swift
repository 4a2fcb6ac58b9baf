import Bytes
import Netlink

/// One object in the kernel that leads to pods, by what makes it unique there.
enum PathKey: Hashable, Sendable {
    /// An address of this node's tunnel device.
    case address(IPAddress)
    /// A remote node's tunnel address, resolved.
    case neighbour(IPAddress)
    /// A remote node's tunnel device, located.
    case forwarding(MACAddress)
    case route(CIDR)

    /// What must stand before what: a route through the tunnel is of use only when the tunnel has a
    /// source address and the gateway is resolved and located.
    var rank: Int {
        switch self {
        case .address: 0
        case .neighbour: 1
        case .forwarding: 2
        case .route: 3
        }
    }
}

/// What such an object says.
enum Path: Hashable, Sendable {
    case address(device: InterfaceIndex)
    case neighbour(MACAddress, device: InterfaceIndex)
    case forwarding(to: IPAddress, device: InterfaceIndex)
    /// On a link: a pod of this node.
    case pod(device: InterfaceIndex)
    /// A remote node's prefix; `onlink` through the tunnel, plain over the underlay (then the kernel finds the device).
    case remote(via: IPAddress, device: InterfaceIndex, onlink: Bool)
    /// This node's own prefix: an address that no pod has is answered at once, and does not leave by the default route.
    case unreachable
    /// Something of a shape that we never write stands in the place: only ever actual, never desired.
    case foreign
}

extension Route {
    /// The kernel's object for a path; nil for what is not a route.
    init?(_ destination: CIDR, _ path: Path) {
        switch path {
        case .address, .neighbour, .forwarding: return nil
        case .pod(let device): self.init(destination: destination, device: device)
        case .remote(let gateway, let device, let onlink):
            self.init(destination: destination, device: device, gateway: gateway, flags: onlink ? .onlink : [])
        case .unreachable: self.init(destination: destination, type: .unreachable)
        // To the kernel "nowhere" and type 0 match any, which is what a deletion needs.
        case .foreign: self.init(destination: destination, scope: .nowhere, type: RouteType(rawValue: 0))
        }
    }
}

extension Path {
    /// What a route of ours says, as read back from the kernel.
    init(_ route: Route) {
        switch (route.type, route.device, route.gateway) {
        case (.unreachable, _, _): self = .unreachable
        case (.unicast, .some(let device), nil): self = .pod(device: device)
        case (.unicast, .some(let device), .some(let gateway)):
            self = .remote(via: gateway, device: device, onlink: route.flags.contains(.onlink))
        default: self = .foreign
        }
    }
}
