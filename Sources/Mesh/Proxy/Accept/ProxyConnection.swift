import Bytes
import HTTP
import Reactor
import TLS

/// One connection of the proxy, to a client or to an upstream: the same type on both sides. What its bytes mean is its
/// terminal's business. Belongs to one worker's loop.
package final class ProxyConnection: Channel, @unchecked Sendable {
    // `@unchecked Sendable` is inherited from StreamHandler; only the loop's thread calls any of this.
    unowned(unsafe) let worker: ProxyWorker
    package var origin: ConnectionOrigin
    /// Unique in the process, for access logs.
    package let id: UInt64
    var terminal: ConnectionTerminal?
    private(set) var isClosed = false
    /// TLS was offered, and has not come to be.
    private(set) var hasOfferedTLS = false
    /// Milliseconds that the handshake may take where TLS is an offer (`PlaintextFallback`); 0 where it is a must.
    var offerTime: UInt32 = 0
    /// Bytes that went each way, as access logs tell them.
    var bytesReceived: UInt64 = 0
    var bytesSent: UInt64 = 0 {
        didSet { totals?.pointee.sent &+= bytesSent &- oldValue }
    }
    /// Where its bytes are counted besides.
    var totals: UnsafeMutablePointer<ByteTotals>?
    /// The connection manager's counters that it is counted in, while it is open.
    private var managerStats: UnsafeMutablePointer<ManagerStats>?
    private var listenerStats: StatBlockID<ListenerStat>?
    private var peerHasEnded = false
    /// Of a connection that is closed: the peer ended it, or it failed.
    private(set) var wasClosedByPeer = false
    let began: UInt64
    /// Of whatever terminal there is.
    private var timer: ConnectionTimer?
    /// What the mesh's statistics know the other end by; nil until it is asked for.
    var watchNumber: UInt32?
    /// When it is told to go, and when it has to be gone; none for those that may stay.
    private var notice = TimerHandle.none
    private var departure = TimerHandle.none
    /// What `x-forwarded-client-cert` says of this connection; made once.
    private var certificateElement: String?

    func certificateElement(_ policy: ForwardedClientCertificate, _ chain: [Certificate]) -> String {
        if let certificateElement { return certificateElement }
        let element = policy.element(local: tlsSession?.localCertificate, chain: chain)
        certificateElement = element
        return element
    }

    /// Of filters that limit each connection by itself; nearly always none.
    private var tokenBuckets: [(owner: AnyObject, bucket: TokenBucket)] = []

    init(_ worker: ProxyWorker, _ origin: ConnectionOrigin, _ tls: TLSSession?) {
        self.worker = worker
        self.origin = origin
        id = worker.nextConnectionID()
        began = worker.now
        super.init(tls)
    }

    /// Where it came from, while it is open; nil for those to upstreams.
    var listener: ProxyListener?
    var listenerIndex = 0
    var chainFingerprint = 0
    var chainName = ""
    /// The listener's own logs, written when the connection closes.
    var listenerLogs: [AccessLog] = []
    var logFlags = ResponseFlags()

    /// What the chain's filters have still to say; nil for chains without any.
    var filters: NetworkFilterRun?
    /// Why a filter has refused the connection.
    var refusal: ConnectionRefusal?
    /// The cluster that a filter has chosen instead of the configured one.
    var routedCluster: ClusterID?
    /// Sent before anything else, also before TLS.
    var preamble: [UInt8]?

    package override func channelConnected(_ socket: StreamSocket) {
        if let preamble {
            socket.write(preamble)
            self.preamble = nil
        }
        guard offerTime > 0 else { return }
        hasOfferedTLS = true
        limitHandshake(UInt64(offerTime) * 1_000_000)
    }

    /// The bucket that `owner` limits this connection by, made when it is asked for first.
    func tokenBucket(of owner: AnyObject, _ make: () -> TokenBucket) -> TokenBucket {
        if let known = tokenBuckets.first(where: { $0.owner === owner }) { return known.bucket }
        let bucket = make()
        tokenBuckets.append((owner, bucket))
        return bucket
    }

    /// Where its TLS is counted.
    var securityStats: StatBlockID<SecurityStat>?

    /// `transport_socket_connect_timeout`; runs until TLS is there.
    private var handshakeLimit = TimerHandle.none

    /// Closes the connection if its TLS handshake takes longer; nanoseconds.
    func limitHandshake(_ time: UInt64) {
        handshakeLimit = worker.loop.schedule(after: .nanoseconds(Int64(clamping: time))) { [unowned self] in
            handshakeLimit = .none
            if let listenerStats { worker.count(listenerStats, .handshakeTimeouts) }
            abort()
        }
    }

    private func endHandshakeLimit() {
        guard handshakeLimit != .none else { return }
        worker.loop.cancel(handshakeLimit)
        handshakeLimit = .none
    }

    package override func channelOpened() {
        endHandshakeLimit()
        hasOfferedTLS = false
        if let securityStats, let tlsSession { worker.count(securityStats, tlsSession) }
        if let filters, !filters.mayOpen() { return }
        terminal?.opened()
        worker.flush()
    }

    package override func channelReceived(_ bytes: UnsafeRawBufferPointer) {
        bytesReceived &+= UInt64(bytes.count)
        totals?.pointee.received &+= UInt64(bytes.count)
        if let filters, !filters.mayPass(bytes, self) { return worker.flush() }
        terminal?.received(bytes)
        worker.flush()
    }

    package override func channelEnded() {
        peerHasEnded = true
        terminal?.ended()
        worker.flush()
    }

    package override func channelDrained() {
        terminal?.drained()
        worker.flush()
    }

    package override func channelClosed(_ error: (any Error)?) {
        guard !isClosed else { return }
        isClosed = true
        endHandshakeLimit()
        wasClosedByPeer = peerHasEnded || error != nil
        if let securityStats, let error = error as? TLSError, let stat = SecurityStat(error) {
            worker.count(securityStats, stat)
        }
        if departure != .none {
            worker.loop.cancel(departure)
            worker.loop.cancel(notice)
        }
        if let timer {
            self.timer = nil
            worker.giveBack(timer)
        }
        let hadRequests = (terminal as? DownstreamCodec)?.hasRequests ?? false
        let terminal = terminal
        self.terminal = nil
        filters?.closed(self)
        terminal?.closed(error)
        countClosed(byPeer: wasClosedByPeer, hadRequests: hadRequests)
        listener?.remove(self)
        if !listenerLogs.isEmpty { logAccess() }
        worker.flush()
    }

    func logAccess() {
        let subject = HTTPStream(worker)
        subject.describe(self, "TcpConnectionEnd")
        subject.responseFlags = logFlags.union(refusal?.flags ?? [])
        subject.connectionTermination = refusal?.details ?? ""
        subject.requestBytes = bytesReceived
        subject.responseBytes = bytesSent
        worker.write(subject, to: listenerLogs)
    }

    /// Sends what a codec gathered, with a piece of a body behind it, and gives the memory back to the worker, where it waits
    /// for the next connection with something to say.
    func send(_ gathered: consuming GrowingBytes, _ body: UnsafeRawBufferPointer? = nil) {
        var gathered = gathered
        bytesSent &+= UInt64(gathered.count &+ (body?.count ?? 0))
        if let body { send(gathered.bytes, body) } else { send(gathered.bytes) }
        worker.giveBack(&gathered)
    }

    // MARK: Counting

    func countAccepted(_ id: StatBlockID<ListenerStat>?) {
        guard let id else { return }
        listenerStats = id
        worker.count(id, .connections)
        worker.count(id, .activeConnections)
    }

    func countOpened(_ stats: UnsafeMutablePointer<ManagerStats>) {
        managerStats = stats
        totals = UnsafeMutableRawPointer(stats).advanced(by: MemoryLayout<ManagerStats>.offset(of: \.bytes) ?? 0)
            .assumingMemoryBound(to: ByteTotals.self)
        stats.pointee.connections &+= 1
        stats.pointee.activeConnections &+= 1
        guard isSecure else { return }
        stats.pointee.tlsConnections &+= 1
        stats.pointee.activeTLS &+= 1
    }

    /// The codec was chosen.
    func countOpened(_ version: HTTPVersion) {
        guard let managerStats else { return }
        if version == .http2 {
            managerStats.pointee.http2Connections &+= 1
            managerStats.pointee.activeHTTP2 &+= 1
        } else {
            managerStats.pointee.http1Connections &+= 1
            managerStats.pointee.activeHTTP1 &+= 1
        }
    }

    /// The codec is done.
    func countClosed(_ version: HTTPVersion) {
        guard let managerStats else { return }
        if version == .http2 { managerStats.pointee.activeHTTP2 &-= 1 } else { managerStats.pointee.activeHTTP1 &-= 1 }
    }

    private func countClosed(byPeer: Bool, hadRequests: Bool) {
        if let listenerStats {
            worker.count(listenerStats, .activeConnections, by: -1)
            worker.count(listenerStats, .closed)
        }
        guard let stats = managerStats else { return }
        stats.pointee.activeConnections &-= 1
        stats.pointee.closed &+= 1
        if byPeer { stats.pointee.closedByPeer &+= 1 } else { stats.pointee.closedByUs &+= 1 }
        if hadRequests {
            stats.pointee.closedWithRequest &+= 1
            if byPeer {
                stats.pointee.closedByPeerWithRequest &+= 1
            } else {
                stats.pointee.closedByUsWithRequest &+= 1
            }
        }
        if isSecure { stats.pointee.activeTLS &-= 1 }
        stats.pointee.connectionTime.record((worker.now &- began) / 1_000_000)
    }

    // MARK: Time

    /// Calls the terminal's `timerIsDue` after so long; 0 never does. A later call replaces an earlier one.
    func setTimer(_ nanoseconds: UInt64) {
        guard nanoseconds > 0, !isClosed else { return clearTimer() }
        if timer == nil { timer = worker.takeTimer(for: self) }
        timer?.set(worker.now &+ nanoseconds)
    }

    func clearTimer() { timer?.clear() }

    /// Tells the peer to go after so long, and closes what is left then; nanoseconds. Of several times the first holds: each
    /// reload asks it of those that the last has told.
    func leave(toldAfter delay: UInt64, within time: UInt64) {
        guard departure == .none, !isClosed else { return }
        departure = worker.loop.schedule(after: .nanoseconds(Int64(clamping: time))) { [unowned self] in abort() }
        guard delay > 0 else {
            terminal?.announceDrain()
            return
        }
        notice = worker.loop.schedule(after: .nanoseconds(Int64(clamping: delay))) { [unowned self] in
            terminal?.announceDrain()
            worker.flush()
        }
    }

    /// Another terminal takes over; the old one may still be on the stack.
    func replaceTerminal(_ terminal: ConnectionTerminal) {
        if let old = self.terminal { worker.keepUntilFlush(old) }
        self.terminal = terminal
    }

    /// Its client was told nothing, and has not closed.
    var isUntouched: Bool { !isClosed && writtenBytes == 0 && queuedBytes == 0 }

    /// Gives its client's socket to another, as if it had never been; nobody has said a word on it.
    func withdraw() {
        listenerLogs = []
        (terminal as? TCPSession)?.withdraw()
        if let listenerStats {
            worker.count(listenerStats, .connections, by: -1)
            worker.count(listenerStats, .closed, by: -1)
        }
        release()
        channelClosed(nil)
    }

    /// Closes at once, what is queued is lost.
    func abort() { socket?.close() }
}

/// What a connection's bytes mean: a codec, a TCP proxy, an echo. One virtual call an event; all on the worker's loop.
package class ConnectionTerminal {
    /// The connection holds its terminal, never the other way round; it is gone after `closed`.
    unowned(unsafe) let connection: ProxyConnection
    /// It is in the worker's list of those with something to send.
    final var isDirty = false

    init(_ connection: ProxyConnection) { self.connection = connection }

    final var worker: ProxyWorker { connection.worker }

    /// Connected, and with TLS the handshake is done.
    func opened() {}
    /// Valid within the call.
    func received(_ bytes: UnsafeRawBufferPointer) {}
    /// The peer sends no more.
    func ended() { connection.closeAfterWrite() }
    /// What waits for the peer has fallen below the low-water mark.
    func drained() {}
    /// Once, last.
    func closed(_ error: (any Error)?) {}
    /// What `connection.setTimer` was set to has passed.
    func timerIsDue() {}
    /// Sends what was gathered since `worker.flushLater`.
    func flush() {}
    /// The peer should go: it is told, and nothing is refused yet.
    func announceDrain() {}
    /// The proxy is going down, or the listener: finish what runs and take nothing new.
    func drain() {}
}
