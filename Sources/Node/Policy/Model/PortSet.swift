import Bytes

/// On which ports a peer may be spoken with: the union of what rules say.
struct PortSet: Hashable, Sendable {
    /// Protocols without ports, too.
    var isEverything = false
    var transports: Set<Transport> = []
    var ports: Set<TransportPort> = []
    var ranges: Set<PortRange> = []

    struct TransportPort: Hashable, Sendable {
        var transport: Transport
        var port: Port
    }

    /// More than one port.
    struct PortRange: Hashable, Sendable {
        var transport: Transport
        var first: Port
        var last: Port
    }

    var isEmpty: Bool { !isEverything && transports.isEmpty && ports.isEmpty && ranges.isEmpty }

    static let everything = {
        var all = PortSet()
        all.isEverything = true
        return all
    }()

    /// - Parameter named: of the destination.
    mutating func insert(_ ports: [NetworkPolicySpec.Port]?, named: [PolicyPod.NamedPort]) {
        guard !isEverything else { return }
        guard let ports else {
            self = .everything
            return
        }
        for port in ports {
            switch port.target {
            case .all: transports.insert(port.transport)
            case .range(let first, let last) where first == last:
                self.ports.insert(.init(transport: port.transport, port: first))
            case .range(let first, let last):
                ranges.insert(.init(transport: port.transport, first: first, last: last))
            case .named(let name):
                for one in named where one.name == name && one.transport == port.transport {
                    self.ports.insert(.init(transport: one.transport, port: one.port))
                }
            }
        }
    }

    mutating func formUnion(_ other: PortSet) {
        guard !isEverything else { return }
        if other.isEverything {
            self = .everything
            return
        }
        transports.formUnion(other.transports)
        ports.formUnion(other.ports)
        ranges.formUnion(other.ranges)
    }
}
