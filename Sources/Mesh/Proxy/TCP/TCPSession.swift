import Bytes
import Glibc
import Reactor
import TLS

/// The client's side of a proxied TCP connection: gets an upstream, then each side's bytes go to the other as they come.
///
/// The upstream is sought as soon as the client is there, also where that says nothing: servers may speak first. Until it
/// stands the client is not read. Each direction ends by itself (half-close). Bytes are copied once from socket to socket and
/// held only while the other side does not take them, up to the connection's buffer limit.
final class TCPSession: ConnectionTerminal {
    private enum Phase { case fresh, connecting, relaying, closing, over }

    let proxy: TCPProxy
    private let stats: UnsafeMutablePointer<TCPStats>
    private var phase = Phase.fresh
    private(set) var cluster: ClusterState?
    private var upstream: TCPUpstream?
    /// The cluster is being found.
    private var demand: ClusterDemand?
    /// What came with the end of a TLS handshake, before the upstream stood.
    private var early = GrowingBytes()
    private var hasEnded = false
    private var isWithdrawn = false
    private var pick = PickRequest()
    private var criteria: HostMetadata?
    private(set) var attempts = 0
    /// Bytes from the client, and to it.
    private(set) var received: UInt64 = 0
    private(set) var sent: UInt64 = 0
    private(set) var facts = UpstreamFacts()
    private(set) var responseFlags = ResponseFlags()
    private(set) var termination: StaticString = ""

    private var timer: LazyTimer?
    private var idleDeadline = LazyTimer.never
    private var lifeDeadline = LazyTimer.never
    private var logDeadline = LazyTimer.never
    private var retryDeadline = LazyTimer.never

    init(_ connection: ProxyConnection, _ proxy: TCPProxy) {
        self.proxy = proxy
        stats = connection.worker.stats(proxy)
        super.init(connection)
        stats.pointee.connections &+= 1
        stats.pointee.activeConnections &+= 1
    }

    deinit { early.deallocate() }

    // MARK: The client

    override func opened() {
        phase = .connecting
        connection.pauseReading()
        if proxy.options.logsStart { log("TcpConnectionStart") }
        if proxy.options.maximumDuration > 0 {
            let jitter = proxy.options.durationJitter / 100 * Double.random(in: 0..<1, using: &worker.random)
            lifeDeadline = worker.now &+ UInt64(Double(proxy.options.maximumDuration) * (1 + jitter))
        }
        if proxy.options.logInterval > 0, !proxy.logs.isEmpty { logDeadline = worker.now &+ proxy.options.logInterval }
        arm()
        let destination =
            connection.routedCluster.map { TCPProxy.Destination(cluster: $0) }
            ?? proxy.destination { worker.random.next(upperBound: $0) }
        guard let destination else { return refuseWithoutCluster() }
        if let source = proxy.options.onDemand, worker.cluster(destination.cluster) == nil {
            stats.pointee.demands &+= 1
            demand = ClusterDemand(destination.cluster.name, source, worker) { [unowned self] in
                demand = nil
                if worker.cluster(destination.cluster) != nil {
                    stats.pointee.demandsMet &+= 1
                } else {
                    stats.pointee.demandsUnmet &+= 1
                }
                route(to: destination)
            }
            return
        }
        route(to: destination)
    }

    private func refuseWithoutCluster() {
        stats.pointee.noRoutes &+= 1
        refuse(.noClusterFound)
    }

    private func route(to destination: TCPProxy.Destination) {
        guard let cluster = worker.cluster(destination.cluster) else { return refuseWithoutCluster() }
        self.cluster = cluster
        criteria = destination.criteria
        pick.subset = cluster.subsets(criteria)
        if proxy.options.hashesSource, let address = connection.origin.remote.address {
            pick.hash = XXHash64.hash(address.description)
        }
        connect()
    }

    override func received(_ bytes: UnsafeRawBufferPointer) {
        guard phase == .connecting || phase == .relaying else { return }
        received &+= UInt64(bytes.count)
        stats.pointee.received &+= UInt64(bytes.count)
        guard phase == .relaying, let upstream else { return early.append(bytes) }
        touch()
        upstream.connection.send(bytes)
        if !upstream.connection.isWritable, phase == .relaying {
            stats.pointee.paused &+= 1
            connection.pauseReading()
        }
    }

    override func ended() {
        hasEnded = true
        guard phase == .relaying, let upstream else { return }
        upstream.connection.shutdownWrite()
    }

    override func drained() { upstream?.connection.resumeReading() }

    override func closed(_ error: (any Error)?) {
        let upstream = upstream
        let wasRelaying = phase == .relaying
        finish()
        guard let upstream else { return }
        upstream.session = nil
        guard wasRelaying else { return upstream.connection.abort() }
        if Self.isReset(error) {
            upstream.connection.reset()
        } else if error == nil, termination.utf8CodeUnitCount == 0 {
            upstream.connection.closeAfterWrite()
        } else {
            upstream.connection.abort()
        }
    }

    /// It is as if it had never been; `closed` follows.
    func withdraw() {
        isWithdrawn = true
        stats.pointee.connections &-= 1
    }

    private func finish() {
        guard phase != .over else { return }
        phase = .over
        demand = nil
        timer?.clear()
        stats.pointee.activeConnections &-= 1
        worker.watch.stats?.closed(self)
        if !proxy.logs.isEmpty { log("TcpConnectionEnd") }
        upstream = nil
    }

    /// Closes the client's side with no more bytes.
    private func refuse(_ flag: ResponseFlags) {
        responseFlags.insert(flag)
        connection.abort()
    }

    static func isReset(_ error: (any Error)?) -> Bool { (error as? SystemError)?.errno == ECONNRESET }

    // MARK: The upstream

    private func connect() {
        guard phase == .connecting, let cluster = presentCluster() else { return }
        guard attempts < proxy.options.connectAttempts else {
            cluster.stats.connectAttemptsExceeded &+= 1
            return refuse(.upstreamRetryLimitExceeded)
        }
        guard let (owner, host) = cluster.choose(pick, criteria, connection.origin) else {
            cluster.stats.noneHealthy &+= 1
            return refuse(.noHealthyUpstream)
        }
        attempts += 1
        open(to: host, of: owner)
    }

    private func open(to host: Host, of owner: ClusterState) {
        guard owner.breakers.take(.connections) else {
            owner.stats.connectionOverflows &+= 1
            return refuse(.upstreamOverflow)
        }
        facts.remote = host.address
        facts.hostname = host.hostname
        do {
            upstream = try TCPUpstream.connect(self, to: host, of: owner)
        } catch {
            owner.breakers.release(.connections)
            upstreamFailed("\(error)")
        }
    }

    /// The cluster of the next attempt: before a further one another can have come in its place. nil, and the client refused, when
    /// it is gone.
    private func presentCluster() -> ClusterState? {
        guard let old = cluster else { return nil }
        guard let present = old.present else {
            refuse(.noHealthyUpstream)
            return nil
        }
        if present !== old {
            pick.subset = present.subsets(criteria)
            cluster = present
        }
        return present
    }

    func upstreamOpened(_ upstream: TCPUpstream) {
        guard phase == .connecting else { return }
        phase = .relaying
        facts.peer = facts.remote
        facts.local = upstream.connection.socket?.local
        facts.connectionID = upstream.connection.id
        facts.tls = upstream.connection.tlsSession
        worker.watch.stats?.opened(
            self, host: upstream.host.metadata?.workload ?? "", isEncrypted: upstream.connection.tlsSession != nil)
        touch()
        if proxy.options.logsConnected { log("TcpUpstreamConnected") }
        if !early.isEmpty {
            upstream.connection.send(early.bytes)
            early.deallocate()
        }
        if hasEnded { upstream.connection.shutdownWrite() }
        if upstream.connection.isWritable { connection.resumeReading() }
    }

    /// The host is called once more, in plain text. Nothing has been said to it.
    func upstreamTookNoTLS(_ upstream: TCPUpstream) {
        self.upstream = nil
        guard phase == .connecting else { return }
        open(to: upstream.host, of: upstream.cluster)
    }

    /// No connection came to be.
    func upstreamFailed(_ reason: String) {
        upstream = nil
        guard phase == .connecting else { return }
        facts.failure = reason
        responseFlags.insert(.upstreamConnectionFailure)
        let options = proxy.options
        guard options.backOff > 0, attempts < options.connectAttempts else { return connect() }
        let most = min(options.backOff << UInt64(min(attempts - 1, 20)), options.maximumBackOff)
        retryDeadline = worker.now &+ worker.random.next(upperBound: most + 1)
        arm()
    }

    func upstreamReceived(_ bytes: UnsafeRawBufferPointer, _ upstream: TCPUpstream) {
        guard phase == .relaying else { return }
        sent &+= UInt64(bytes.count)
        stats.pointee.sent &+= UInt64(bytes.count)
        touch()
        connection.send(bytes)
        if !connection.isWritable, phase == .relaying { upstream.connection.pauseReading() }
    }

    func upstreamEnded() { connection.shutdownWrite() }

    func upstreamDrained() {
        stats.pointee.resumed &+= 1
        connection.resumeReading()
    }

    func upstreamClosed(_ error: (any Error)?) {
        upstream = nil
        guard phase == .relaying else { return }
        phase = .closing
        if Self.isReset(error) { return connection.reset() }
        connection.closeAfterWrite()
    }

    // MARK: Time

    @inline(__always)
    private func touch() {
        guard proxy.options.idleTimeout > 0 else { return }
        idleDeadline = worker.now &+ proxy.options.idleTimeout
        arm()
    }

    private func arm() {
        let next = min(min(idleDeadline, lifeDeadline), min(logDeadline, retryDeadline))
        guard next != LazyTimer.never else { return }
        if timer == nil { timer = LazyTimer(worker.loop) { [unowned self] in timedOut() } }
        timer?.set(next)
    }

    private func timedOut() {
        let now = worker.now
        defer { worker.flush() }
        if retryDeadline <= now {
            retryDeadline = LazyTimer.never
            connect()
        }
        if logDeadline <= now {
            logDeadline = now &+ proxy.options.logInterval
            log("TcpPeriodic")
        }
        guard phase != .over else { return }
        if idleDeadline <= now {
            stats.pointee.idleTimeouts &+= 1
            return end("", [])
        }
        if lifeDeadline <= now {
            stats.pointee.durationsReached &+= 1
            return end("max_connection_duration_reached", .durationTimeout)
        }
        arm()
    }

    private func end(_ reason: StaticString, _ flag: ResponseFlags) {
        termination = reason
        responseFlags.insert(flag)
        connection.abort()
    }

    // MARK: Access log

    private func log(_ kind: StaticString) {
        guard !proxy.logs.isEmpty, !isWithdrawn else { return }
        let subject = HTTPStream(worker)
        subject.describe(connection, kind)
        subject.cluster = cluster
        subject.upstream = facts
        subject.responseFlags = responseFlags
        subject.attempts = attempts
        // Also what a filter would not let pass.
        subject.requestBytes = connection.bytesReceived
        subject.responseBytes = sent
        if termination.utf8CodeUnitCount > 0 { subject.connectionTermination = termination.description }
        if let refusal = connection.refusal {
            subject.connectionTermination = refusal.details
            subject.responseFlags.formUnion(refusal.flags)
        }
        worker.write(subject, to: proxy.logs)
    }
}
