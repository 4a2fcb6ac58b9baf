import ClusterAPI

/// Two Services claim one address, protocol and port; only one can have it.
struct FrontendConflict: Hashable, Sendable {
    var element: ServiceElementKey
    var owner: ObjectKey
    var loser: ObjectKey
}

extension FrontendConflict {
    /// As people know it: `192.0.2.1 tcp 443`, `node port tcp 30080`.
    var frontend: String {
        switch element {
        case .service(let address, let transport, let port), .externalService(let address, let transport, let port):
            "\(address) \(transport) \(port)"
        case .nodePort(let transport, let port), .externalNodePort(let transport, let port):
            "node port \(transport) \(port)"
        default: "\(element)"
        }
    }
}
