import Bytes

/// Where an element lives and what finds it there.
enum ServiceElementKey: Hashable, Sendable {
    case service(IPAddress, Transport, Port)
    case nodePort(Transport, Port)
    /// For packets from outside of the node only.
    case externalService(IPAddress, Transport, Port)
    /// For packets from outside of the node only.
    case externalNodePort(Transport, Port)
    case endpoint(list: UInt32, slot: UInt32)
    case clusterIP(IPAddress)
    case hairpin(IPAddress)
    case nodeAddress(IPAddress)

    init(_ frontend: Frontend, external: Bool) {
        switch (frontend.address, external) {
        case (let address?, false): self = .service(address, frontend.transport, frontend.port)
        case (let address?, true): self = .externalService(address, frontend.transport, frontend.port)
        case (nil, false): self = .nodePort(frontend.transport, frontend.port)
        case (nil, true): self = .externalNodePort(frontend.transport, frontend.port)
        }
    }
}

/// What an element maps to; sets map to nothing.
enum ServiceElementValue: Hashable, Sendable {
    case present
    case dispatch(Dispatch)
    case endpoint(IPAddress, Port)
}
