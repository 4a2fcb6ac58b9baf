import TLS

/// A filter chain of a listener: how its connections are protected, and what is done with their bytes. Immutable.
package final class FilterChain: Sendable {
    package let name: String
    package let match: FilterChainMatch
    package let security: DownstreamSecurity?
    /// Before the terminal one, in the order of configuration.
    package let filters: [NetworkFilter]
    package let terminal: TerminalFilter
    /// Of its configuration: a chain whose fingerprint stays is the same chain, and its connections live on.
    let fingerprint: Int
    /// Where its TLS is counted; nil for plain chains.
    let securityStats: StatBlockID<SecurityStat>?
    /// Nanoseconds that a TLS handshake may take; 0 for any.
    let handshakeTimeout: UInt64
    /// Where a TCP proxy goes when a control plane could not say who listens at the destination; nil for where it goes always.
    let unansweredCluster: ClusterID?

    init(
        name: String, match: FilterChainMatch = FilterChainMatch(), security: DownstreamSecurity? = nil,
        filters: [NetworkFilter] = [], terminal: TerminalFilter, fingerprint: Int = 0,
        securityStats: StatBlockID<SecurityStat>? = nil, handshakeTimeout: UInt64 = 0,
        unansweredCluster: ClusterID? = nil
    ) {
        self.name = name
        self.match = match
        self.security = security
        self.filters = filters
        self.terminal = terminal
        self.fingerprint = fingerprint
        self.securityStats = securityStats
        self.handshakeTimeout = handshakeTimeout
        self.unansweredCluster = unansweredCluster
    }
}

/// What a chain ends with: it takes the connection's bytes. A closed set.
package enum TerminalFilter: Sendable {
    case connectionManager(ConnectionManager)
    case tcpProxy(TCPProxy)
    case echo
    /// Says this and closes.
    case directResponse([UInt8])
}
