import Bytes
import CLinux
import Glibc
import Reactor
import TLS

/// The connections of one worker to one host. An attempt gets one with room, the last that was used first, or a new one; while
/// that connects it waits, and takes whatever becomes free first. The cluster's circuit breakers bound all of it.
final class HostPool {
    /// What keeps the connections of a host apart.
    struct Kind {
        var usesHTTP2: Bool
        var isHighPriority: Bool

        static let count = 4
        var number: Int { (usesHTTP2 ? 1 : 0) + (isHighPriority ? 2 : 0) }
    }

    /// What keeps requests to one host off each other's connections.
    struct Client: Hashable {
        /// Whom a PROXY header names: the client, and what it connected to.
        var remote: SocketAddress?
        var local: SocketAddress?
        /// What TLS asks for.
        var serverName: String?
        /// Where its connections come from; nil: from the proxy.
        var source: OriginalSource?
    }

    /// Lets go of its pools when it is retired.
    let cluster: ClusterState
    let host: Host
    let priority: RoutingPriority
    private let kind: Kind
    private let transport: UpstreamTransport
    /// Where connections say for whom they are, each of those has a pool of its own.
    private let isDivided: Bool
    private var clientPools: [Client: HostPool] = [:]
    private let client: Client?
    private weak var parent: HostPool?
    /// Those that can take an attempt now.
    private var ready: [UpstreamCodec] = []
    /// All that are connected.
    private var open: [UpstreamCodec] = []
    private var connecting = 0
    private var isMultiplexed: Bool
    /// Attempts that wait, in order; `next` is the first.
    private var waiting: [UpstreamAttempt?] = []
    private var next = 0
    private var waitingCount = 0
    private var isRetired = false
    private var counts = HostStats()
    /// What the mesh's statistics know the host by; found when it is asked for first.
    private(set) lazy var watchNumber: UInt32 =
        worker.watch.stats?.number(ofHost: host.metadata?.workload ?? "") ?? 0

    init(_ cluster: ClusterState, _ host: Host, _ kind: Kind, of client: Client? = nil, below parent: HostPool? = nil) {
        self.cluster = cluster
        self.host = host
        self.kind = kind
        self.client = client
        self.parent = parent
        transport = cluster.settings.transport(to: host)
        isDivided =
            client == nil
            && (transport.proxyProtocol != nil
                || transport.security != nil && cluster.settings.options.requestedNames != nil)
        priority = kind.isHighPriority ? .high : .default
        isMultiplexed = kind.usesHTTP2
    }

    var address: SocketAddress { host.address }
    /// It has no connection, nobody waits for one, and none is being made.
    var isEmpty: Bool { open.isEmpty && connecting == 0 && waitingCount == 0 && clientPools.isEmpty }
    private var worker: ProxyWorker { cluster.worker }
    private var breakers: CircuitBreakers { cluster.settings.breakers }
    private var stats: ClusterStats { cluster.stats }

    func acquire(_ attempt: UpstreamAttempt) {
        if isDivided || client == nil && attempt.stream.source != nil {
            return pool(of: client(of: attempt.stream)).acquire(attempt)
        }
        attempt.pool = self
        if attempt.isTunnel { return connectTunnel(attempt) }
        while let codec = ready.last {
            guard codec.isUsable else {
                takeLast()
                codec.connection.abort()
                continue
            }
            return give(codec, to: attempt)
        }
        guard breakers.take(.pendingRequests, priority) else {
            stats.pendingOverflows &+= 1
            return attempt.failed(.overflow)
        }
        attempt.isWaiting = true
        waiting.append(attempt)
        waitingCount += 1
        stats.pending &+= 1
        stats.activePending &+= 1
        connectIfNeeded()
    }

    private func client(of stream: HTTPStream) -> Client {
        let origin = transport.proxyProtocol == nil ? nil : stream.origin
        return Client(
            remote: origin?.remote, local: origin?.local,
            serverName: transport.security == nil
                ? nil : cluster.settings.options.requestedNames?.name(of: stream.request),
            source: stream.source)
    }

    private func pool(of client: Client) -> HostPool {
        if let pool = clientPools[client] { return pool }
        let pool = HostPool(cluster, host, kind, of: client, below: self)
        clientPools[client] = pool
        return pool
    }

    /// A client's pool goes with the last of what it holds.
    private func leaveIfEmpty() {
        guard let client, let parent, open.isEmpty, connecting == 0, waitingCount == 0 else { return }
        parent.clientPools[client] = nil
    }

    /// `codec` is the last of those that are ready.
    private func give(_ codec: UpstreamCodec, to attempt: UpstreamAttempt) {
        guard begin(attempt) else { return }
        if !codec.isMultiplexed { takeLast() }
        attempt.connected(codec, isReused: true)
        if codec.isMultiplexed, codec.room == 0 { leaves(codec) }
        if cluster.settings.options.preconnects > 1 { connectIfNeeded() }
    }

    /// Counts an attempt that has its connection. False when there are too many, and it was told so.
    private func begin(_ attempt: UpstreamAttempt) -> Bool {
        guard breakers.take(.requests, priority) else {
            stats.pendingOverflows &+= 1
            attempt.failed(.overflow)
            return false
        }
        attempt.isCounted = true
        stats.requests &+= 1
        stats.activeRequests &+= 1
        counts.requests &+= 1
        counts.activeRequests &+= 1
        cluster.began(host.id)
        return true
    }

    /// The attempt is over, whichever way.
    func ended(_ attempt: UpstreamAttempt) {
        guard attempt.isCounted else { return }
        attempt.isCounted = false
        stats.activeRequests &-= 1
        counts.activeRequests &-= 1
        breakers.release(.requests, priority)
        cluster.ended(host.id)
    }

    func cancel(_ attempt: UpstreamAttempt) {
        if attempt.isTunnel {
            attempt.isWaiting = false
            stats.cancelled &+= 1
            (attempt.handle as? TunnelUpstream)?.reset(attempt)
            return
        }
        guard let index = waiting[next...].firstIndex(where: { $0 === attempt }) else { return }
        waiting[index] = nil
        stats.cancelled &+= 1
        noLongerWaiting(attempt)
    }

    private func noLongerWaiting(_ attempt: UpstreamAttempt) {
        attempt.isWaiting = false
        waitingCount -= 1
        stats.activePending &-= 1
        breakers.release(.pendingRequests, priority)
    }

    private func takeWaiting() -> UpstreamAttempt? {
        while next < waiting.count {
            let attempt = waiting[next]
            waiting[next] = nil
            next += 1
            if next == waiting.count {
                waiting.removeAll(keepingCapacity: true)
                next = 0
            }
            guard let attempt else { continue }
            noLongerWaiting(attempt)
            return attempt
        }
        return nil
    }

    // MARK: Connecting

    /// A host always gets a first connection, whatever others of the cluster have: else nothing would ever take those that
    /// wait.
    private func connectIfNeeded() {
        let count = open.count + connecting
        // One that is being made may serve all that wait, where it carries many.
        let isWanted =
            isMultiplexed ? waitingCount > 0 && connecting == 0 : connecting < waitingCount || wantsMore(than: count)
        guard isWanted else { return }
        if count >= breakers.maxConnectionsPerHost || !breakers.take(.connections, priority) {
            stats.connectionOverflows &+= 1
            guard count == 0 else { return }
            breakers.add(.connections, priority)
        }
        connect()
    }

    /// `per_upstream_preconnect_ratio`: so many for each that is in use or wanted.
    private func wantsMore(than count: Int) -> Bool {
        let ratio = cluster.settings.options.preconnects
        guard ratio > 1 else { return false }
        let wanted = open.count - ready.count + waitingCount
        return Double(count) < Double(wanted) * ratio
    }

    private func connect() {
        connecting += 1
        do {
            try connect { [self] connection in
                if cluster.settings.options.upstreamProtocol == .auto {
                    NegotiatedUpstream(connection, self)
                } else if isMultiplexed {
                    HTTP2Upstream(connection, self)
                } else {
                    HTTP1Upstream(connection, self)
                }
            }
        } catch {
            // Not within the call of those who asked.
            worker.loop.schedule(after: .zero) { [self] in
                failed(error)
                worker.flush()
            }
        }
    }

    /// Starts a connection to the host; `terminal` is told of its fate, never within this call.
    private func connect(_ terminal: (ProxyConnection) -> UpstreamCodec) throws {
        stats.connections &+= 1
        counts.connections &+= 1
        let settings = cluster.settings
        if !settings.hasTraffic.load(ordering: .relaxed) { settings.hasTraffic.store(true, ordering: .relaxed) }
        let connection = try cluster.connection(to: host, transport, requested: client?.serverName)
        connection.totals = stats.byteTotals
        connection.terminal = terminal(connection)
        if let version = transport.proxyProtocol {
            connection.preamble =
                ProxyProtocolHeader(version, source: client?.remote, destination: client?.local).encoded()
        }
        try cluster.connect(connection, to: address, from: client?.source)
    }

    // MARK: Tunnels

    /// A connection for this attempt alone.
    private func connectTunnel(_ attempt: UpstreamAttempt) {
        guard breakers.take(.connections, priority) else {
            stats.connectionOverflows &+= 1
            return attempt.failed(.overflow)
        }
        attempt.isWaiting = true
        do {
            try connect { connection in
                let codec = TunnelUpstream(connection, self, attempt)
                attempt.handle = codec
                return codec
            }
        } catch {
            worker.loop.schedule(after: .zero) { [self] in
                tunnelClosed(wasOpen: false, attempt.isWaiting ? attempt : nil, error)
                worker.flush()
            }
        }
    }

    func opened(_ tunnel: TunnelUpstream, _ attempt: UpstreamAttempt) {
        if tunnel.connection.offerTime > 0 { stats.count("tls_offer.taken") }
        stats.activeConnections &+= 1
        counts.activeConnections &+= 1
        record(.connected)
        attempt.isWaiting = false
        attempt.handle = nil
        if begin(attempt) { attempt.connected(tunnel, isReused: false) }
    }

    /// - Parameter attempt: nil when it has been given up before.
    func tunnelClosed(
        wasOpen: Bool, _ attempt: UpstreamAttempt?, _ error: (any Error)?, of connection: ProxyConnection? = nil
    ) {
        breakers.release(.connections, priority)
        stats.closedConnections &+= 1
        if let connection, connection.hasOfferedTLS {
            cluster.offerRefused(by: host)
            if let attempt { connectTunnel(attempt) }
            return
        }
        if wasOpen {
            stats.activeConnections &-= 1
            counts.activeConnections &-= 1
            attempt?.failed(.connectionTermination)
            return
        }
        let isTimeout = (error as? SystemError)?.errno == ETIMEDOUT
        stats.connectFailures &+= 1
        counts.connectFailures &+= 1
        if isTimeout { stats.connectTimeouts &+= 1 }
        record(isTimeout ? .timedOut : .connectFailed)
        guard let attempt else { return }
        attempt.isWaiting = false
        attempt.failureText = error.map(TransportFailure.text) ?? ""
        attempt.failed(isTimeout ? .connectTimeout : .connectionFailure)
    }

    // MARK: From its connections

    /// ALPN came to a protocol: the next connections will most likely have the same.
    func negotiated(isMultiplexed: Bool) { self.isMultiplexed = isMultiplexed }

    func connected(_ codec: UpstreamCodec) {
        connecting -= 1
        open.append(codec)
        stats.activeConnections &+= 1
        counts.activeConnections &+= 1
        if codec.connection.offerTime > 0 { stats.count("tls_offer.taken") }
        stats.connectTime.record((worker.now &- codec.connection.began) / 1_000_000)
        if codec.isMultiplexed { stats.http2Connections &+= 1 } else { stats.http1Connections &+= 1 }
        record(.connected)
        let duration = cluster.settings.options.connectionDuration
        if duration > 0 {
            worker.loop.schedule(after: .nanoseconds(Int64(clamping: duration))) { [weak self, weak codec] in
                guard let self, let codec, !codec.connection.isClosed else { return }
                stats.connectionsAtMaximumDuration &+= 1
                leaves(codec)
                codec.retire()
                worker.flush()
            }
        }
        serve(codec, isFresh: true)
        // Fewer may fit on this one than waited for it.
        connectIfNeeded()
    }

    /// A connection never came to be.
    func failed(_ error: (any Error)?, of connection: ProxyConnection? = nil) {
        let isTimeout = (error as? SystemError)?.errno == ETIMEDOUT
        connecting -= 1
        breakers.release(.connections, priority)
        stats.closedConnections &+= 1
        if let connection, connection.hasOfferedTLS {
            cluster.offerRefused(by: host)
            connectIfNeeded()
            return leaveIfEmpty()
        }
        stats.connectFailures &+= 1
        counts.connectFailures &+= 1
        if isTimeout { stats.connectTimeouts &+= 1 }
        record(isTimeout ? .timedOut : .connectFailed)
        // Those that wait would meet the same.
        fail(isTimeout ? .connectTimeout : .connectionFailure, error.map(TransportFailure.text) ?? "")
        leaveIfEmpty()
    }

    private func fail(_ reason: StreamReset, _ text: String) {
        var doomed: [UpstreamAttempt] = []
        while let attempt = takeWaiting() { doomed.append(attempt) }
        for attempt in doomed {
            stats.pendingFailures &+= 1
            attempt.failureText = text
            attempt.failed(reason)
        }
    }

    /// The codec can take an attempt again.
    func hasRoom(_ codec: UpstreamCodec) { serve(codec, isFresh: false) }

    private func serve(_ codec: UpstreamCodec, isFresh: Bool) {
        var isFresh = isFresh
        while codec.room > 0, let attempt = takeWaiting() {
            guard begin(attempt) else { continue }
            attempt.connected(codec, isReused: !isFresh)
            isFresh = false
        }
        guard !isRetired else { return codec.retire() }
        guard codec.room > 0, !codec.isReady else { return }
        codec.isReady = true
        ready.append(codec)
    }

    private func takeLast() { ready.removeLast().isReady = false }

    private func takeAll() {
        for codec in ready { codec.isReady = false }
        ready = []
    }

    /// It takes no more attempts.
    func leaves(_ codec: UpstreamCodec) {
        guard codec.isReady else { return }
        codec.isReady = false
        ready.removeAll { $0 === codec }
    }

    func closed(_ codec: UpstreamCodec, hadRequest: Bool) {
        let byPeer = codec.connection.wasClosedByPeer
        if byPeer { stats.closedByPeer &+= 1 } else { stats.closedByUs &+= 1 }
        if hadRequest {
            stats.closedWithRequest &+= 1
            if byPeer { stats.closedByPeerWithRequest &+= 1 } else { stats.closedByUsWithRequest &+= 1 }
        }
        stats.activeConnections &-= 1
        counts.activeConnections &-= 1
        stats.connectionTime.record((worker.now &- codec.connection.began) / 1_000_000)
        stats.closedConnections &+= 1
        breakers.release(.connections, priority)
        leaves(codec)
        if let index = open.lastIndex(where: { $0 === codec }) { open.remove(at: index) }
        connectIfNeeded()
        leaveIfEmpty()
    }

    // MARK: Outliers

    /// How something with the host ended.
    func record(_ outcome: OutlierTally.Outcome) {
        switch outcome {
        case .status(let status):
            if status >= 500 { counts.errors &+= 1 } else { counts.successes &+= 1 }
        case .failed: counts.errors &+= 1
        case .timedOut: counts.timeouts &+= 1
        default: break
        }
        cluster.record(outcome, of: host.id)
    }

    /// With those of its clients' pools.
    var hostStats: HostStats {
        var sum = counts
        sum.pendingRequests = Int64(waitingCount)
        for pool in clientPools.values { sum.add(pool.hostStats) }
        return sum
    }

    // MARK: The end

    /// The host has left the cluster.
    func retire() {
        isRetired = true
        closeIdle()
    }

    /// Connections that carry something close when they have done so.
    func closeIdle() {
        takeAll()
        for codec in open { codec.retire() }
        for pool in clientPools.values {
            pool.isRetired = isRetired
            pool.closeIdle()
        }
    }

    /// The host is not healthy: nothing good comes over its connections.
    func closeAll() {
        takeAll()
        for codec in open { codec.connection.abort() }
        for pool in clientPools.values { pool.closeAll() }
    }
}

extension TCPKeepAlive {
    /// What the kernel refuses is left as it is: a connection without probes is better than none.
    func apply(to descriptor: CInt) {
        var on: CInt = 1
        setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, socklen_t(MemoryLayout<CInt>.size))
        for (name, value) in [(TCP_KEEPCNT, probes), (TCP_KEEPIDLE, time), (TCP_KEEPINTVL, interval)] {
            guard var number = value.map({ CInt(clamping: $0) }) else { continue }
            setsockopt(descriptor, CInt(IPPROTO_TCP), name, &number, socklen_t(MemoryLayout<CInt>.size))
        }
    }
}
