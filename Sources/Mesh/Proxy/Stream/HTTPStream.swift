import Bytes
import HTTP
import TLS

/// One request and its response on their way through the proxy.
///
/// Taken from the worker's pool when a head has arrived and given back when both sides have ended: a request allocates
/// nothing. Everything happens on the worker's loop. How a stream goes:
///
///     codec → requestHead → route → filters → router → attempt → upstream codec
///     codec ← sendHead  ←  filters  ←  response head  ←  attempt  ←  upstream codec
///
/// `HTTPStream+Request.swift` and `HTTPStream+Response.swift` are the two directions, `HTTPStream+Upstream.swift` is the router.
package final class HTTPStream {
    package unowned(unsafe) let worker: ProxyWorker
    package let request = HeaderBlock()
    package let response = HeaderBlock()
    /// Of whichever side sends some; nil until then.
    var trailers: HeaderBlock?
    private(set) var codec: DownstreamCodec?

    /// The connection manager's snapshot that this stream began with.
    private(set) var owner: ConnectionManager?
    private(set) var codecVersion: HTTPVersion?
    package internal(set) var route: RouteEntry?
    var routing = RoutingState()
    /// By slot of the chain: what filters remember of this stream.
    package var filterState: [AnyObject?] = []
    /// By name: what filters say about the request, for access logs and later filters. nil while there is none.
    package var metadata: StreamMetadata?
    /// nil where nobody traces.
    var trace: StreamTrace?

    /// What the codec knows the stream by (HTTP/2's stream).
    var codecHandle: AnyObject?
    /// Bytes of the request's body for which the client was not given window again.
    var unconsumed = 0

    var flags = Flags()
    package var responseFlags = ResponseFlags()
    /// `%RESPONSE_CODE_DETAILS%`
    package var details: StaticString = ""
    /// What has a value of its own goes here instead of `details`.
    package var detailText: String?

    /// The next filter that sees the request's head; the chain's length once all have.
    var requestSlot = 0
    /// The slot of the last response filter that saw the head; those before it in the chain are still to come.
    var responseSlot = Int.max
    /// A bit a slot: these filters have no part in this request.
    var skippedFilters: UInt64 = 0
    /// How far in `responseFilters` the head has come.
    var responseStep = 0

    // The router.
    var attempt: UpstreamAttempt?
    /// Earlier tries that still run beside the present one (`hedge_on_per_try_timeout`).
    var rivals: [UpstreamAttempt] = []
    var cluster: ClusterState?
    var attempts = 0
    var retriesLeft = 0
    /// What the router asks of the balancer: the hash, the subset, the hosts to avoid.
    var pick = PickRequest()
    /// Body bytes that wait: for a filter, for a connection, or for another attempt.
    var requestBody = GrowingBytes()
    /// Body bytes that a filter gathers until the request is whole; 0 while none does. The client is read all the while.
    var gatherLimit = 0
    /// Response bytes that wait for a filter.
    var responseBody = GrowingBytes()

    /// What came of each attempt, for those who ask afterwards.
    var trail = AttemptTrail()
    /// What is known of the present, or last, attempt's connection.
    var upstream = UpstreamFacts()
    /// Where its connections to hosts are to come from, if a filter says so; else as the client's connection has it.
    var upstreamSource: OriginalSource?
    /// The body of the proxy's own answer, for formats that repeat it.
    var localReplyBody: [UInt8] = []

    // Time, in nanoseconds of the monotonic clock.
    package private(set) var began: UInt64 = 0
    var requestEndedAt: UInt64 = 0
    var responseBeganAt: UInt64 = 0
    var responseEndedAt: UInt64 = 0
    var upstreamSendEndedAt: UInt64 = 0
    var upstreamSendBeganAt: UInt64 = 0
    private(set) var timer: LazyTimer?
    var routeDeadline = LazyTimer.never
    var tryDeadline = LazyTimer.never
    /// Of the present attempt with all of its answer.
    var attemptDeadline = LazyTimer.never
    var idleDeadline = LazyTimer.never
    /// Of the whole stream.
    var durationDeadline = LazyTimer.never
    var idleTimeout: UInt64 = 0

    package internal(set) var requestBytes: UInt64 = 0
    package internal(set) var responseBytes: UInt64 = 0
    /// Unique in the process.
    package private(set) var id: UInt64 = 0

    struct Flags: OptionSet {
        let rawValue: UInt32
        /// The request is whole.
        static let requestEnded = Flags(rawValue: 1)
        /// A filter has stopped the request.
        static let requestPaused = Flags(rawValue: 1 << 1)
        /// The router has the request's head.
        static let isRouted = Flags(rawValue: 1 << 2)
        /// The final response head is on its way to the client.
        static let headSent = Flags(rawValue: 1 << 3)
        static let responseEnded = Flags(rawValue: 1 << 4)
        static let responsePaused = Flags(rawValue: 1 << 5)
        /// The client's side is gone.
        static let downstreamGone = Flags(rawValue: 1 << 6)
        /// The answer is the proxy's own.
        static let isLocalReply = Flags(rawValue: 1 << 7)
        /// The body is kept for another attempt.
        static let keepsBody = Flags(rawValue: 1 << 8)
        static let isUpgrade = Flags(rawValue: 1 << 9)
        static let isTunnel = Flags(rawValue: 1 << 10)
        static let isOver = Flags(rawValue: 1 << 11)
        static let runsRequest = Flags(rawValue: 1 << 12)
        static let downstreamPaused = Flags(rawValue: 1 << 13)
        static let upstreamPaused = Flags(rawValue: 1 << 14)
        /// The next attempt waits for its back-off.
        static let waitsForRetry = Flags(rawValue: 1 << 15)
        /// A retry is counted with the cluster's circuit breakers.
        static let holdsRetry = Flags(rawValue: 1 << 31)

        /// A filter lets the request go on once the present piece of its body is where it belongs.
        static let resumesAfterData = Flags(rawValue: 1 << 16)
        /// The connection takes no request behind this one.
        static let endsConnection = Flags(rawValue: 1 << 17)
        /// The request came without a host, which is something else than an empty one.
        static let lacksHost = Flags(rawValue: 1 << 18)
    }

    init(_ worker: ProxyWorker) {
        self.worker = worker
    }

    deinit {
        requestBody.deallocate()
        responseBody.deallocate()
    }

    package var manager: ConnectionManager { owner.unsafelyUnwrapped }
    package var connection: ProxyConnection? { codec?.connection ?? carrier }
    /// Set where this stands for a whole connection without HTTP, so that access logs know one subject only.
    private var carrier: ProxyConnection?
    var logKind: StaticString = ""
    /// `%CONNECTION_TERMINATION_DETAILS%`
    var connectionTermination = ""
    /// The health-check filter has answered it.
    package var isHealthCheck = false
    var isConnect: Bool { request.method == .connect }
    var hasSentHead: Bool { flags.contains(.headSent) }
    var isGRPC: Bool {
        guard let type = request.value(.contentType) else { return false }
        let prefix: StaticString = "application/grpc"
        guard type.count >= prefix.utf8CodeUnitCount else { return false }
        let start = UnsafeRawBufferPointer(rebasing: type[..<prefix.utf8CodeUnitCount])
        return equalsIgnoringCase(start, prefix)
            && (type.count == start.count || type[start.count] == UInt8(ascii: ";")
                || type[start.count] == UInt8(ascii: "+"))
    }

    // MARK: Life

    func begin(_ codec: DownstreamCodec) {
        self.codec = codec
        let manager = codec.manager.discovered == nil ? codec.manager : worker.present(codec.manager)
        owner = manager
        codecVersion = codec.version
        began = worker.now
        id = worker.nextStreamID()
        idleTimeout = manager.options.streamIdleTimeout
        let stats = worker.stats(manager)
        stats.pointee.requests &+= 1
        stats.pointee.activeRequests &+= 1
        if codec.version == .http2 { stats.pointee.http2Requests &+= 1 } else { stats.pointee.http1Requests &+= 1 }
        let slots = manager.filters.count
        if filterState.count != slots { filterState = [AnyObject?](repeating: nil, count: slots) }
        let duration = manager.options.requestTimeout
        if duration > 0 { routeDeadline = began &+ duration }
        touch()
    }

    /// Makes this the subject of a line in the access log of a connection without HTTP.
    func describe(_ connection: ProxyConnection, _ kind: StaticString) {
        carrier = connection
        logKind = kind
        began = connection.began
        requestEndedAt = worker.now
        responseEndedAt = worker.now
    }

    /// Becomes a copy of another stream, without a client and with its request to come.
    func begin(mirroring original: HTTPStream) {
        owner = original.owner
        route = original.route
        began = worker.now
        id = worker.nextStreamID()
        idleTimeout = original.idleTimeout
        requestSlot = 0
        routing.isMirror = true
        routing.holds = self
        routing.timeout = original.routing.timeout
        flags.insert(.isRouted)
    }

    func clearTimer() { timer?.clear() }

    /// Both sides are done, or one is gone and the other told: the last that happens.
    func finish() {
        guard !flags.contains(.isOver) else { return }
        flags.insert(.isOver)
        timer?.clear()
        dropAttempt()
        releaseRetry()
        if !routing.mirrors.isEmpty, !flags.contains(.requestEnded) { dropMirrors() }
        guard let codec, let owner else { return }
        let status = response.status
        countEnd(owner, status: status)
        if flags.contains(.isTunnel) { worker.stats(owner).pointee.activeUpgrades &-= 1 }
        for slot in owner.endFilters where slot < requestSlot { owner.filters[slot].filter.ended(self, slot) }
        worker.logAccess(self)
        trace?.end(self)
        if owner !== ConnectionManager.calls, !worker.watch.isOwnPage(connection) {
            worker.requests.take(self)
            if worker.watch.isWatching { worker.watch.take(self) }
        }
        if !flags.contains(.downstreamGone) { codec.finished(self) }
        worker.giveBack(self)
    }

    private func countEnd(_ owner: ConnectionManager, status: Int) {
        let stats = worker.stats(owner)
        stats.pointee.completed &+= 1
        stats.pointee.activeRequests &-= 1
        guard status > 0 else { return }
        stats.pointee.responses.count(status)
        stats.pointee.requestTime.record((worker.now &- began) / 1_000_000)
        guard let id = owner.listenerStats else { return }
        worker.count(id, .completed)
        if let kind = ListenerHTTPStat(status: status) { worker.count(id, kind) }
    }

    /// Forgets the request, for the next one.
    func reset() {
        request.clear()
        response.clear()
        trailers?.clear()
        codec = nil
        owner = nil
        route = nil
        routing = RoutingState()
        for slot in filterState.indices where filterState[slot] != nil { filterState[slot] = nil }
        if metadata != nil { metadata = nil }
        if trace != nil { trace = nil }
        flags = []
        responseFlags = []
        details = ""
        detailText = nil
        codecHandle = nil
        unconsumed = 0
        requestSlot = 0
        responseSlot = .max
        skippedFilters = 0
        gatherLimit = 0
        responseStep = 0
        cluster = nil
        pick = PickRequest()
        isHealthCheck = false
        attempts = 0
        retriesLeft = 0
        requestBody.deallocate()
        responseBody.deallocate()
        requestEndedAt = 0
        responseBeganAt = 0
        responseEndedAt = 0
        upstreamSendBeganAt = 0
        upstreamSendEndedAt = 0
        upstream = UpstreamFacts()
        upstreamSource = nil
        trail.clear()
        if !localReplyBody.isEmpty { localReplyBody = [] }
        routeDeadline = LazyTimer.never
        tryDeadline = LazyTimer.never
        attemptDeadline = LazyTimer.never
        idleDeadline = LazyTimer.never
        durationDeadline = LazyTimer.never
        requestBytes = 0
        responseBytes = 0
    }

    // MARK: Time

    /// Something moved: the clock of idleness starts anew.
    @inline(__always)
    func touch() {
        if idleTimeout > 0 { idleDeadline = worker.now &+ idleTimeout }
        arm()
    }

    func arm() {
        let next = min(min(routeDeadline, durationDeadline), min(min(tryDeadline, attemptDeadline), idleDeadline))
        guard next != LazyTimer.never else {
            timer?.clear()
            return
        }
        if timer == nil { timer = LazyTimer(worker.loop) { [unowned self] in timedOut() } }
        timer?.set(next)
    }

    private func timedOut() {
        let now = worker.now
        defer { worker.flush() }
        if tryDeadline <= now {
            tryDeadline = LazyTimer.never
            attemptTimedOut()
        } else if routeDeadline <= now {
            routeDeadline = LazyTimer.never
            routeTimedOut()
        } else if attemptDeadline <= now {
            attemptDeadline = LazyTimer.never
            attemptReachedDuration()
        } else if durationDeadline <= now {
            durationDeadline = LazyTimer.never
            durationReached()
        } else if idleDeadline <= now {
            idleDeadline = LazyTimer.never
            if routing.isMirror { return finishMirror() }
            responseFlags.insert(.streamIdleTimeout)
            worker.stats(manager).pointee.requestIdleTimeouts &+= 1
            dropAttempt()
            if hasSentHead {
                cut(.localReset)
            } else {
                reply(flags.contains(.requestEnded) ? 504 : 408, "stream timeout", details: "stream_idle_timeout")
            }
        }
        if !flags.contains(.isOver), codec != nil { arm() }
    }

    /// `max_stream_duration`
    private func durationReached() {
        if routing.isMirror { return finishMirror() }
        worker.stats(manager).pointee.durationsReached &+= 1
        dropAttempt()
        guard !hasSentHead else {
            responseFlags.insert(.durationTimeout)
            return cut(.localReset)
        }
        let words: StaticString = "downstream duration timeout"
        reply(
            flags.contains(.requestEnded) ? 504 : 408, body: words.bytes,
            details: "max_duration_timeout"
        ) { if isGRPC { $0.set(.grpcStatus, decimal: GRPCStatus.deadlineExceeded) } }
    }

    /// The response cannot be completed.
    func cut(_ reason: StreamReset) {
        guard let codec, !flags.contains(.isOver) else { return }
        worker.stats(manager).pointee.localResets &+= 1
        codec.reset(self, reason)
        flags.insert(.downstreamGone)
        finish()
    }

    // MARK: The client's side

    /// How a client left before it had its answer.
    enum Departure { case disconnect, reset, protocolError }

    /// The client has closed, or reset the stream.
    func downstreamGone(_ departure: Departure = .disconnect) {
        guard !flags.contains(.isOver) else { return }
        flags.insert(.downstreamGone)
        if !flags.contains(.responseEnded) {
            detailText = nil
            switch departure {
            case .disconnect:
                responseFlags.insert(.downstreamConnectionTermination)
                details = "downstream_remote_disconnect"
            case .reset:
                responseFlags.insert(.downstreamRemoteReset)
                details = "http2.remote_reset"
            case .protocolError:
                responseFlags.insert(.downstreamProtocolError)
                details = "http2.violation.of.messaging.rule"
            }
            worker.stats(manager).pointee.remoteResets &+= 1
        }
        finish()
    }

    /// The client takes more again.
    func downstreamDrained() {
        guard flags.contains(.upstreamPaused) else { return }
        flags.remove(.upstreamPaused)
        cluster?.stats.readingResumed &+= 1
        if let attempt { attempt.codec?.resumeResponse(attempt) }
    }

    /// The upstream takes more again.
    func upstreamDrained() {
        guard flags.contains(.downstreamPaused) else { return }
        if attempt?.codec != nil { cluster?.stats.drainedUp &+= 1 }
        flags.remove(.downstreamPaused)
        worker.stats(manager).pointee.readingResumed &+= 1
        codec?.resumeRequest(self)
    }

    var downstream: DownstreamCodec? { flags.contains(.downstreamGone) ? nil : codec }
}
