import HTTP

/// The HTTP connection manager of a filter chain: how its connections are decoded, what is done to every request, through
/// which filters it goes and by which routes. An immutable snapshot.
package final class ConnectionManager: Sendable {
    package enum CodecType: Sendable { case auto, http1, http2 }
    package enum ServerHeader: Sendable { case overwrite, appendIfAbsent, passThrough }
    package enum EscapedSlashes: Sendable { case keep, reject, unescapeAndRedirect, unescapeAndForward }
    package enum Underscores: Sendable { case allow, reject, drop }

    package struct HTTP1Options: Sendable {
        package var acceptsHTTP10 = false
        package var defaultHost = ""
        package var enablesTrailers = false
        package var allowsAbsoluteURL = true
        package var allowsChunkedLength = false
        var headerForm = HeaderForm.lowerCase
        /// Of `Upgrade`: protocols that a request is taken not to have named.
        var ignoredUpgrades: [StringMatcher] = []
        package init() {}

        /// What the parser leaves to the connection manager.
        var leniency: HTTP1Leniency {
            var leniency: HTTP1Leniency = [.expectations, .missingHost, .fragments]
            if allowsChunkedLength { leniency.insert(.chunkedLength) }
            if !allowsAbsoluteURL { leniency.insert(.absoluteForm) }
            return leniency
        }
    }

    package struct HTTP2Options: Sendable {
        package var maximumStreams = 1024
        package var streamWindow = 16 << 20
        package var connectionWindow = 24 << 20
        package var allowsConnect = false
        /// A malformed message ends its stream only, not the connection.
        package var malformedEndsStream = false
        /// Its own probes of connections; nil for none.
        var keepAlive: HTTP2KeepAlive.Options?
        /// Clients that did not answer them, of all connection managers together.
        var keepAliveTimeouts: CounterID?
        package init() {}
    }

    /// Of requests that had underscores in the names of fields, for all connection managers together.
    struct UnderscoreCounters: Sendable {
        var droppedHTTP1, rejectedHTTP1, droppedHTTP2, rejectedHTTP2: CounterID

        init(_ context: BuildContext) {
            let (dropped, rejected) = ("dropped_headers", "requests_rejected")
            droppedHTTP1 = context.counters.counter("http1.\(dropped)_with_underscores")
            rejectedHTTP1 = context.counters.counter("http1.\(rejected)_with_underscores_in_headers")
            droppedHTTP2 = context.counters.counter("http2.\(dropped)_with_underscores")
            rejectedHTTP2 = context.counters.counter("http2.\(rejected)_with_underscores_in_headers")
        }
    }

    package struct Upgrade: Sendable {
        /// In lower case: `websocket`, `connect`.
        package var kind: String
        package var isEnabled = true
        /// Of a route's CONNECT: the tunnel ends at this proxy (`connect_config`).
        package var endsHere = false
        package init(_ kind: String) { self.kind = kind }

        static func find(_ kind: UnsafeRawBufferPointer, in upgrades: [Upgrade]) -> Upgrade? {
            upgrades.first { upgrade in
                var text = upgrade.kind
                return text.withUTF8 { text in
                    text.count == kind.count && zip(text, kind).allSatisfy { $0 == lowercase($1) }
                }
            }
        }
    }

    /// What a snapshot is made of; times in nanoseconds, 0 for none.
    package struct Options: Sendable {
        package var statPrefix = ""
        package var codec = CodecType.auto
        package var serverName = "envoy"
        package var serverHeader = ServerHeader.overwrite
        package var via: [UInt8] = []
        /// In place of the scheme that a request came with; empty for none.
        package var scheme: [UInt8] = []
        /// The scheme that upstreams are told is that of their own connections.
        package var matchesUpstreamScheme = false
        /// The names of this proxy's cluster and node are written into requests.
        package var addsUserAgent = false
        package var serviceCluster: [UInt8] = []
        package var nodeName: [UInt8] = []
        package var appendsForwardedPort = false
        /// Clients that are our own; nil for nobody.
        var internalAddresses: AddressRanges?
        package var trustsUnixSockets = false
        /// Of the router: no field that begins with `x-envoy-` is added.
        package var suppressesEnvoyHeaders = false
        /// The router's logs, of attempts; and whether one is told of when it has a connection, too.
        var upstreamLogs: [AccessLog] = []
        var logsUpstreamReady = false
        package var usesRemoteAddress = false
        package var trustedHops = 0
        /// Who the client is, asked one after the other; empty for `x-forwarded-for` alone.
        var clientDetectors: [ClientDetector] = []
        /// Before anything else is done to a request.
        var earlyMutations: [HeaderMutation] = []
        package var skipsXFFAppend = false
        package var generatesRequestID = true
        package var preservesExternalRequestID = false
        package var alwaysSetsRequestIDInResponse = false
        package var normalizesPath = false
        package var mergesSlashes = false
        package var escapedSlashes = EscapedSlashes.keep
        package var underscores = Underscores.allow
        var underscoreCounters: UnderscoreCounters?
        package var stripsAnyPort = false
        package var stripsMatchingPort = false
        package var stripsTrailingDot = false
        package var clientCertificate = ForwardedClientCertificate()
        /// Connections over HTTP/1 that have lived long enough end with an answer only.
        package var endsHTTP1Safely = false
        package var proxies100Continue = false
        package var maximumHeadKilobytes = 60
        package var maximumHeaders = 100
        package var maximumRequestsPerConnection: UInt32 = 0
        package var idleTimeout: UInt64 = 3_600_000_000_000
        package var streamIdleTimeout: UInt64 = 300_000_000_000
        package var requestTimeout: UInt64 = 0
        package var requestHeadersTimeout: UInt64 = 0
        package var maximumStreamDuration: UInt64 = 0
        package var maximumConnectionDuration: UInt64 = 0
        package var delayedCloseTimeout: UInt64 = 1_000_000_000
        package var drainTimeout: UInt64 = 5_000_000_000
        /// Body bytes that may wait for one stream, as filters and retries need them.
        package var bufferLimit = 1 << 20
        package var http1 = HTTP1Options()
        package var http2 = HTTP2Options()
        package var upgrades: [Upgrade] = []
        package init() {}
    }

    package let options: Options
    /// The chain without its router, in the order of configuration.
    package let filters: [InstalledFilter]
    /// nil where none of them comes by name.
    let discovered: DiscoveredFilters?
    package let routes: RouteSource
    package let logs: [AccessLog]
    /// nil where requests are not traced.
    let tracing: Tracing?
    /// nil where the proxy's own answers stay as they are.
    let localReplies: LocalReplyRules?
    let http1Leniency: HTTP1Leniency
    let http1Limits: HTTPLimits
    let http2Limits: HTTPLimits
    /// Where its counters stand in each worker.
    let statsID: Int
    /// Its responses, once more under its listener's name.
    let listenerStats: StatBlockID<ListenerHTTPStat>?

    init(
        _ options: Options, filters: [InstalledFilter], discovered: DiscoveredFilters? = nil, routes: RouteSource,
        logs: [AccessLog] = [],
        tracing: Tracing? = nil, localReplies: LocalReplyRules? = nil, statsID: Int,
        listenerStats: StatBlockID<ListenerHTTPStat>? = nil
    ) {
        self.options = options
        self.filters = filters
        self.discovered = discovered
        self.routes = routes
        self.logs = logs
        self.tracing = tracing
        self.localReplies = localReplies
        self.statsID = statsID
        self.listenerStats = listenerStats
        http1Leniency = options.http1.leniency
        var limits = HTTPLimits()
        limits.headerBytes = options.maximumHeadKilobytes << 10
        limits.headerCount = options.maximumHeaders
        http1Limits = limits
        limits.concurrentStreams = options.http2.maximumStreams
        limits.streamWindow = options.http2.streamWindow
        limits.connectionWindow = options.http2.connectionWindow
        http2Limits = limits
        let phases = filters.map(\.phases)
        disabledFilters = filters.enumerated().reduce(0) { $1.element.isDisabled ? $0 | 1 << UInt64($1.offset) : $0 }
        requestDataFilters = filters.indices.filter { phases[$0].contains(.requestData) }
        responseFilters = filters.indices.reversed().filter { phases[$0].contains(.responseHead) }
        responseDataFilters = filters.indices.reversed().filter { phases[$0].contains(.responseData) }
        requestTrailerFilters = filters.indices.filter { phases[$0].contains(.requestTrailers) }
        responseTrailerFilters = filters.indices.reversed().filter { phases[$0].contains(.responseTrailers) }
        endFilters = filters.indices.filter { phases[$0].contains(.ended) }
    }

    /// The same with other filters.
    func with(_ filters: [InstalledFilter], discovered: DiscoveredFilters?) -> ConnectionManager {
        ConnectionManager(
            options, filters: filters, discovered: discovered, routes: routes, logs: logs, tracing: tracing,
            localReplies: localReplies, statsID: statsID, listenerStats: listenerStats)
    }

    /// A chain has a bit for each of its filters in a word.
    static let filterLimit = 64
    /// A bit a slot: these take part only where a route says so.
    let disabledFilters: UInt64
    // Which filters take part in what, so that a stream walks only those.
    let requestDataFilters: [Int]
    let requestTrailerFilters: [Int]
    let responseFilters: [Int]
    let responseDataFilters: [Int]
    let responseTrailerFilters: [Int]
    let endFilters: [Int]

    var http1: HTTP1Options { options.http1 }
    var maximumHeaders: Int { options.maximumHeaders }
    var idleTimeout: UInt64 { options.idleTimeout }
    var requestHeadersTimeout: UInt64 { options.requestHeadersTimeout }
    var delayedCloseTimeout: UInt64 { options.delayedCloseTimeout }
    var proxies100Continue: Bool { options.proxies100Continue }
    var maximumRequestsPerConnection: UInt32 { options.maximumRequestsPerConnection }
}

/// Where a connection manager finds its routes.
package enum RouteSource: Sendable {
    case fixed(RouteTable)
    /// By name, as RDS delivers it; the worker holds the present table.
    case named(NamedResource)
    /// Of streams that know their way.
    case none
}
