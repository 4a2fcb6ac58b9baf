import Bytes
import NodeTables

/// Where an element lives and what finds it there.
enum ServiceElementKey: Hashable, Sendable {
    case service(IPAddress, Transport, Port)
    case nodePort(Transport, Port)
    /// For packets from outside of the node only.
    case externalService(IPAddress, Transport, Port)
    /// For packets from outside of the node only.
    case externalNodePort(Transport, Port)
    case endpoint(list: UInt32, slot: UInt32)
    /// A slot of a list that clients stick to.
    case stickySlot(list: UInt32, slot: UInt32)
    /// An endpoint of such a list: what clients are remembered by. With it goes what they stick to.
    case stickyMember(list: UInt32, number: UInt32)
    /// Not an element alone: a chain, and the class that leads there.
    case stickyClass(SlotClass)
    case clusterIP(IPAddress)
    case hairpin(IPAddress)
    case nodeAddress(IPAddress)
    /// Indirect, because there are few and they are long.
    indirect case allowedSource(AllowedSource)
    /// Addresses that Services may get. Two elements: the first of them, and the first behind them.
    indirect case serviceRange(AddressRange)

    init(_ frontend: Frontend, external: Bool) {
        switch (frontend.address, external) {
        case (let address?, false): self = .service(address, frontend.transport, frontend.port)
        case (let address?, true): self = .externalService(address, frontend.transport, frontend.port)
        case (nil, false): self = .nodePort(frontend.transport, frontend.port)
        case (nil, true): self = .externalNodePort(frontend.transport, frontend.port)
        }
    }

    /// Of what packets meet, whether from outside or from within.
    var frontend: Frontend? {
        switch self {
        case .service(let address, let transport, let port), .externalService(let address, let transport, let port):
            Frontend(address: address, transport: transport, port: port)
        case .nodePort(let transport, let port), .externalNodePort(let transport, let port):
            Frontend(address: nil, transport: transport, port: port)
        default: nil
        }
    }
}

/// Sources that may use a frontend which not everybody may.
struct AllowedSource: Hashable, Sendable {
    var address: IPAddress
    var transport: Transport
    var port: Port
    var sources: AddressRange

    func isOf(_ frontend: Frontend) -> Bool {
        frontend == Frontend(address: address, transport: transport, port: port)
    }
}

/// What an element maps to; sets map to nothing.
enum ServiceElementValue: Hashable, Sendable {
    case present
    case dispatch(Dispatch)
    case endpoint(IPAddress, Port)
    /// Of the slot's list.
    case member(UInt32)
    case sticky(StickyClass)
}
