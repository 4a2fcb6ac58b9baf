// Chain: from what inspection found of a connection to the filter chain that serves it. Pure values; knows nothing of what a
// chain does, of sockets, or of where configuration comes from.

import Bytes

/// All filter chains of a listener, compiled for the choice that each connection makes once. Immutable: part of a
/// listener's snapshot and shared by all loops.
///
/// The criteria are asked in Envoy's order: destination port, destination address, server name, transport protocol,
/// application protocol, direct source address, source type, source address, source port. Each narrows the candidates to
/// those with the *most specific* value that fits, and there is no way back: when a later criterion then fits none, the
/// default chain serves the connection, not a chain with a less specific earlier value.
public struct FilterChainIndex: Sendable {
    /// A chain's place in the list that the index was made from.
    public typealias ChainNumber = Int

    /// Two chains that would serve the same connections, or a name that cannot be matched.
    public struct Conflict: Error, Hashable, Sendable, CustomStringConvertible {
        public var description: String
    }

    private var destinationPorts: [PortTable] = []
    private var destinations: [AddressTable] = []
    private var serverNames: [NameTable] = []
    private var transportProtocols: [TransportTable] = []
    private var applicationProtocols: [ProtocolTable] = []
    private var directSources: [AddressTable] = []
    private var sourceTypes: [SourceTypeTable] = []
    private var sources: [AddressTable] = []
    private var sourcePorts: [PortTable] = []
    private let root: Int32
    private let defaultChain: ChainNumber?

    /// - Parameters:
    ///   - chains: name and match of each, in the listener's order.
    ///   - defaultChain: serves what matches none.
    /// - Throws: `Conflict` naming both chains that match the same, or the name that is no server name.
    public init(_ chains: [(name: String, match: FilterChainMatch)], defaultChain: ChainNumber? = nil) throws(Conflict)
    {
        self.defaultChain = defaultChain
        var seen: [FilterChainMatch: Int] = [:]
        var rules: [Rule] = []
        for (number, chain) in chains.enumerated() {
            let match = try chain.match.normalized(in: chain.name)
            if let other = seen.updateValue(number, forKey: match) {
                throw Conflict(
                    description:
                        "filter chain '\(chain.name)' has the same matching rules defined as '\(chains[other].name)'")
            }
            rules.append(Rule(number: Int32(number), match: match))
        }
        guard !rules.isEmpty else {
            root = -1
            return
        }
        var builder = Builder(names: chains.map(\.name))
        root = try builder.destinationPorts(rules)
        destinationPorts = builder.tables.destinationPorts
        destinations = builder.tables.destinations
        serverNames = builder.tables.serverNames
        transportProtocols = builder.tables.transportProtocols
        applicationProtocols = builder.tables.applicationProtocols
        directSources = builder.tables.directSources
        sourceTypes = builder.tables.sourceTypes
        sources = builder.tables.sources
        sourcePorts = builder.tables.sourcePorts
    }

    /// The chain that serves such a connection; nil: none does, and the connection is closed
    /// (`no_filter_chain_match`).
    public func chain(for connection: ConnectionFacts) -> ChainNumber? {
        guard root >= 0, let byPort = destinationPorts[Int(root)].find(connection.destination?.port),
            let byAddress = destinations[Int(byPort)].find(connection.destination?.address),
            let byName = serverNames[Int(byAddress)].find(connection.serverName),
            let byTransport = transportProtocols[Int(byName)].find(connection.transportProtocol),
            let byProtocol = applicationProtocols[Int(byTransport)].find(connection.applicationProtocols),
            let byPeer = directSources[Int(byProtocol)].find(connection.directSource?.address),
            let byType = sourceTypes[Int(byPeer)].find(connection),
            let bySource = sources[Int(byType)].find(connection.source?.address),
            let chain = sourcePorts[Int(bySource)].find(connection.source?.port)
        else { return defaultChain }
        return Int(chain)
    }
}

// MARK: The criteria. Each answers with the number of the next criterion's table; the last with the chain's.

struct PortTable: Sendable {
    /// By port.
    var exact: [(port: UInt16, next: Int32)]
    var any: Int32?

    func find(_ port: Port?) -> Int32? {
        guard let port = port?.rawValue else { return any }
        var low = 0
        var high = exact.count
        while low < high {
            let middle = (low &+ high) >> 1
            if exact[middle].port < port { low = middle &+ 1 } else { high = middle }
        }
        return low < exact.count && exact[low].port == port ? exact[low].next : any
    }
}

struct AddressTable: Sendable {
    var prefixes: PrefixTable<Int32>
    var any: Int32?

    func find(_ address: IPAddress?) -> Int32? {
        guard let address, !prefixes.isEmpty else { return any }
        return prefixes.longestMatch(address) ?? any
    }
}

struct NameTable: Sendable {
    /// nil when no chain asks for a name.
    var names: ServerNameTable?
    var any: Int32?

    func find(_ name: UnsafeRawBufferPointer) -> Int32? { names?.find(name) ?? any }
}

struct TransportTable: Sendable {
    var tls: Int32?
    var rawBuffer: Int32?
    var any: Int32?

    func find(_ transport: ConnectionFacts.TransportProtocol) -> Int32? {
        switch transport {
        case .tls: tls ?? any
        case .rawBuffer: rawBuffer ?? any
        }
    }
}

struct ProtocolTable: Sendable {
    /// A handful at most: searched in order.
    var named: [(name: [UInt8], next: Int32)]
    var any: Int32?

    func find(_ offered: ProtocolNames) -> Int32? {
        guard !named.isEmpty else { return any }
        for name in offered {
            for index in named.indices where named[index].name.elementsEqual(name) { return named[index].next }
        }
        return any
    }
}

struct SourceTypeTable: Sendable {
    var local: Int32?
    var external: Int32?
    var any: Int32?

    func find(_ connection: ConnectionFacts) -> Int32? {
        guard local != nil || external != nil else { return any }
        return (connection.comesFromThisMachine ? local : external) ?? any
    }
}
