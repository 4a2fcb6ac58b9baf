import Bytes
import Reactor

/// A listener as configuration has it now. Immutable; shared by all workers. A connection keeps the chain it was given.
package final class ListenerSnapshot: Sendable {
    package let name: String
    package let addresses: [SocketAddress]
    package let filters: [ListenerFilter]
    /// Nanoseconds; 0 waits for ever.
    package let filterTimeout: UInt64
    package let continuesOnTimeout: Bool
    package let chains: [FilterChain]
    private let index: FilterChainIndex
    package let bindsToPort: Bool
    package let backlog: Int32
    package let bufferLimit: Int
    package let statPrefix: String
    let stats: StatBlockID<ListenerStat>?
    let usesOriginalDestination: Bool
    private let disabled: [DestinationPredicate?]
    let logs: [AccessLog]
    let sockets: [SocketSettings]
    let fingerprint: Int
    /// What its connections take of, and what is counted when there is none left.
    let allowances: [(allowance: ConnectionAllowance, stat: ListenerStat)]
    /// It serves as ever, however short memory is.
    let bypassesOverload: Bool
    /// By address, what spreads its connections over the workers; empty where that is the kernel's business.
    let balances: [ConnectionBalance]
    /// Its connections come to the application beside this proxy (`traffic_direction`).
    let isInbound: Bool
    /// How it finds the listeners of destinations that are not known; nil where it does not look for any.
    let demand: ListenerDemand?
    /// How it serves clients that wait for the server's first word; nil where they wait as long as inspection does.
    let serverFirst: ServerFirst?

    package struct Options {
        package var filters: [ListenerFilter] = []
        package var filterTimeout: UInt64 = 15_000_000_000
        package var continuesOnTimeout = false
        package var bindsToPort = true
        package var backlog: Int32 = 128
        package var bufferLimit = 1 << 20
        package var statPrefix = ""
        var stats: StatBlockID<ListenerStat>?
        /// A connection that was redirected here goes on to the listener of its first destination.
        package var usesOriginalDestination = false
        /// Destinations for which a filter is left out, by its place.
        var disabled: [DestinationPredicate?] = []
        var logs: [AccessLog] = []
        /// By address: how its socket is made.
        var sockets: [SocketSettings] = []
        /// Of all but its chains.
        var fingerprint = 0
        var allowances: [(allowance: ConnectionAllowance, stat: ListenerStat)] = []
        var bypassesOverload = false
        /// Every worker has as many connections.
        var isBalanced = false
        var isInbound = false
        var demand: ListenerDemand?
        var serverFirst: ServerFirst?
        package init() {}
    }

    /// - Throws: When two chains would serve the same connections.
    package init(
        name: String, addresses: [SocketAddress], chains: [FilterChain], defaultChain: FilterChain? = nil,
        _ options: Options = Options()
    ) throws(FilterChainIndex.Conflict) {
        self.name = name
        self.addresses = addresses
        self.chains = chains + (defaultChain.map { [$0] } ?? [])
        index = try FilterChainIndex(
            chains.map { ($0.name, $0.match) }, defaultChain: defaultChain == nil ? nil : chains.count)
        filters = options.filters
        filterTimeout = options.filterTimeout
        continuesOnTimeout = options.continuesOnTimeout
        bindsToPort = options.bindsToPort
        backlog = options.backlog
        bufferLimit = options.bufferLimit
        statPrefix = options.statPrefix
        stats = options.stats
        usesOriginalDestination = options.usesOriginalDestination
        disabled = options.disabled
        logs = options.logs
        sockets = options.sockets
        fingerprint = options.fingerprint
        allowances = options.allowances
        bypassesOverload = options.bypassesOverload
        balances = options.isBalanced ? addresses.map { _ in ConnectionBalance() } : []
        isInbound = options.isInbound
        demand = options.demand
        serverFirst = options.serverFirst
    }

    /// Its sockets take connections to any address that are sent here (TPROXY).
    var isTransparent: Bool { sockets.contains { $0.options.contains(.transparent) } }

    /// The TLS contexts that change with their secrets and files.
    var liveContexts: [LiveTLSContext] { chains.compactMap { $0.security?.context }.filter { $0.recipe != nil } }

    /// The filter at a place has nothing to say of a connection to this address.
    func isDisabled(_ filter: Int, for destination: SocketAddress) -> Bool {
        guard filter < disabled.count, let predicate = disabled[filter] else { return false }
        return predicate.holds(destination.port)
    }

    /// The same sockets serve both.
    func hasSocketsOf(_ other: ListenerSnapshot) -> Bool {
        addresses == other.addresses && bindsToPort == other.bindsToPort
            && allowances.count == other.allowances.count && balances.count == other.balances.count
            && sockets.count == other.sockets.count
            && zip(sockets, other.sockets).allSatisfy { $0.isBoundAs($1) }
    }

    /// The chain that serves such a connection; nil closes it.
    func chain(for connection: ConnectionFacts) -> FilterChain? { index.chain(for: connection).map { chains[$0] } }
}

/// What looks at a connection before its chain is chosen. A closed set.
package enum ListenerFilter: Sendable {
    case tlsInspector(ClientHelloInspector.Limits, ClientHelloInspector.Fingerprints)
    case httpInspector
    case proxyProtocol(ProxyProtocolDecoder, ProxyProtocolCounters)
    case originalDestination
    case originalSource(keepsPort: Bool, mark: UInt32)
}
