import Bytes
import HTTP
import JSON
import Synchronization
import TLS

/// A cluster as its configuration has it: all but its hosts. Immutable, one object for all workers; a changed configuration is
/// another one, whose connections and limits are its own.
package final class ClusterSettings: Sendable {
    package struct Options: Sendable, Equatable {
        package var connectTimeout: UInt64 = 5_000_000_000
        /// Of idle pooled connections; 0 for none.
        package var idleTimeout: UInt64 = 3_600_000_000_000
        /// After which a connection takes no more requests; 0 for none.
        package var connectionDuration: UInt64 = 0
        /// Of one attempt, from when it has a connection; nanoseconds, 0 for none.
        package var streamDuration: UInt64 = 0
        package var maximumRequestsPerConnection: UInt32 = 0
        package var upstreamProtocol = UpstreamProtocol.http1
        /// Bytes that may wait on a connection.
        package var bufferLimit = 1 << 20
        package var keepAlive: TCPKeepAlive?
        /// Where connections leave from, one of each family; empty lets the kernel choose.
        package var sources: [SocketAddress] = []
        /// A host that fails its active check, or is ejected, loses its connections.
        package var closesOnHealthFailure = false
        /// Any change of the cluster's hosts closes idle connections.
        package var closesOnHostSetChange = false
        package var http1 = HTTP1Options()
        package var http2 = HTTPLimits.upstream
        /// HTTP/2's own probes of connections; nil for none.
        var http2KeepAlive: HTTP2KeepAlive.Options?
        /// Which name TLS asks the hosts for, by request; nil for that of the transport socket.
        var requestedNames: RequestedNames?
        /// Connections that are made for each that is in use or wanted, 1 to 3.
        var preconnects = 1.0
        /// `track_cluster_stats`
        var tracking = ClusterTracking()
        /// Stands for the name in statistics; empty for none.
        package var statName = ""
        /// Its hosts may refuse TLS.
        var plaintextFallback: PlaintextFallback?
        /// Where its TLS is counted; nil for plain clusters.
        var securityStats: StatBlockID<SecurityStat>?
        /// By filter, for what spans tell of it.
        package var metadata: [String: JSONObject] = [:]
        package init() {}
    }

    /// How HTTP/1 is spoken to hosts.
    package struct HTTP1Options: Sendable, Equatable {
        /// Trailers go either way; else they are dropped.
        package var enablesTrailers = false
        var headerForm = HeaderForm.lowerCase
        package init() {}
    }

    /// One of `transport_socket_matches`: hosts whose metadata has all of `criteria` are spoken to so.
    struct SocketMatch: Sendable {
        var criteria: JSONObject
        var transport: UpstreamTransport
    }

    package let name: String
    package let id: ClusterID
    private let sharedOptions: Shared<Options>
    let balance: Shared<BalanceConfig>
    let membership: Membership
    let discovery: ClusterDiscovery
    let breakers: CircuitBreakers
    private let sharedOutliers: Shared<OutlierConfig>?
    private let sharedHealthCheck: Shared<HealthCheck>?
    /// Some worker had a connection: until then health checks are few.
    let hasTraffic = Atomic<Bool>(false)
    private let transport: UpstreamTransport
    private let socketMatches: [SocketMatch]

    init(
        name: String, options: Shared<Options>, balance: Shared<BalanceConfig>,
        membership: Membership = Membership(), discovery: ClusterDiscovery,
        breakers: CircuitBreakers = CircuitBreakers(), outliers: OutlierConfig? = nil, healthCheck: HealthCheck? = nil,
        transport: UpstreamTransport = UpstreamTransport(), socketMatches: [SocketMatch] = []
    ) {
        self.name = name
        id = ClusterID(name)
        sharedOptions = options
        self.balance = balance
        self.membership = membership
        self.discovery = discovery
        self.breakers = breakers
        sharedOutliers = outliers.map { Shared($0) }
        sharedHealthCheck = healthCheck.map { Shared($0) }
        self.transport = transport
        self.socketMatches = socketMatches
    }

    package var options: Options { _read { yield sharedOptions.value } }
    var outliers: OutlierConfig? { sharedOutliers?.value }
    var healthCheck: HealthCheck? { sharedHealthCheck?.value }
    var securityStats: StatBlockID<SecurityStat>? { options.securityStats }

    /// The TLS contexts that change with their secrets and files.
    var liveContexts: [LiveTLSContext] {
        ([transport] + socketMatches.map(\.transport)).compactMap { $0.security?.context }.filter { $0.recipe != nil }
    }

    /// How a host is spoken to: the first match that its metadata fits, else the cluster's own way.
    func transport(to host: Host) -> UpstreamTransport {
        guard !socketMatches.isEmpty else { return transport }
        let metadata = host.metadata?.transport ?? JSONObject()
        for match in socketMatches where match.criteria.allSatisfy({ metadata[$0.key] == $0.value }) {
            return match.transport
        }
        return transport
    }
}

/// TCP's own probes of a silent connection, in seconds; nil is the kernel's default.
package struct TCPKeepAlive: Hashable, Sendable {
    var probes: UInt32?
    var time: UInt32?
    var interval: UInt32?
}

/// Where a cluster's hosts come from.
indirect enum ClusterDiscovery: Sendable {
    /// The configuration names them: see `ConfiguredCluster`.
    case fixed
    case names(NamedEndpoints)
    /// The name is that of the endpoints in the file.
    case file(ConfigFile, String)
    /// The same of a control plane.
    case discovered(ConfigSource, String)
    /// They are where clients meant to go.
    case originalDestination(OriginalDestination)
    /// They are those of other clusters, which are used one after the other as if they were priorities.
    case aggregate([ClusterID])

    /// Chooses hosts in a way of its own, which `CLUSTER_PROVIDED` stands for.
    var choosesItself: Bool {
        switch self {
        case .originalDestination, .aggregate: true
        case .fixed, .names, .file, .discovered: false
        }
    }
}

extension HTTPLimits {
    /// Of HTTP/2 to an upstream, with Envoy's windows.
    static var upstream: HTTPLimits {
        var limits = HTTPLimits()
        limits.streamWindow = 16 << 20
        limits.connectionWindow = 24 << 20
        return limits
    }
}
