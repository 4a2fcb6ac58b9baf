import HTTP

/// The client's side of streams: what HTTP/1 and HTTP/2 have in common for a stream. Each call names the stream; a codec that
/// has let go of it ignores the call.
package class DownstreamCodec: ConnectionTerminal {
    let manager: ConnectionManager
    /// `max_connection_duration`, and then the time to leave in.
    private var lifeTimer: LazyTimer?
    private var isLeaving = false

    init(_ connection: ProxyConnection, _ manager: ConnectionManager) {
        self.manager = manager
        super.init(connection)
        let duration = manager.options.maximumConnectionDuration
        if duration > 0 { setLifeTimer(connection.began &+ duration) }
    }

    private func setLifeTimer(_ deadline: UInt64) {
        if lifeTimer == nil { lifeTimer = LazyTimer(worker.loop) { [unowned self] in lifeTimerIsDue() } }
        lifeTimer?.set(deadline)
    }

    private func lifeTimerIsDue() {
        guard !connection.isClosed else { return }
        if isLeaving {
            drain()
        } else {
            worker.stats(manager).pointee.connectionDurationsReached &+= 1
            announceDrain()
            if !(manager.options.endsHTTP1Safely && version != .http2) { endAfterNotice() }
        }
        worker.flush()
    }

    /// The client has been told: after `drain_timeout` the connection ends with what it carries.
    final func endAfterNotice() {
        guard !isLeaving else { return }
        isLeaving = true
        setLifeTimer(worker.now &+ manager.options.drainTimeout)
    }

    /// Requests are under way.
    var hasRequests: Bool { false }

    /// What access logs and `x-forwarded` decisions call the protocol.
    var version: HTTPVersion { .http11 }

    /// A head of 1xx (not final), or the final one. `end`: no body follows.
    func sendHead(_ stream: HTTPStream, _ head: HeaderBlock, end: Bool) {}
    func sendData(_ stream: HTTPStream, _ bytes: UnsafeRawBufferPointer, end: Bool) {}
    func sendTrailers(_ stream: HTTPStream, _ trailers: HeaderBlock) {}
    /// The response cannot be completed: the client must see that it was cut.
    func reset(_ stream: HTTPStream, _ reason: StreamReset) {}
    /// The request's body waits in the client: nothing more is read of it until `resumeRequest`.
    func pauseRequest(_ stream: HTTPStream) {}
    func resumeRequest(_ stream: HTTPStream) {}
    /// Bytes of the request's body were passed on or dropped.
    func consumed(_ stream: HTTPStream, _ count: Int) {}
    /// Whether more of the response may be sent now; after false `HTTPStream.downstreamDrained` comes.
    func isWritable(_ stream: HTTPStream) -> Bool { connection.isWritable }
    /// From now on the stream's data are the bytes of another protocol (after a 101, or the 200 of a CONNECT).
    func becomeTunnel(_ stream: HTTPStream) {}
    /// The stream has ended on both sides and returns to its pool.
    func finished(_ stream: HTTPStream) {}
}

/// Why a stream ended before its time.
package enum StreamReset: UInt8, Sendable {
    case localReset, remoteReset, connectionFailure, connectionTermination, overflow, refused, protocolError
    case connectTimeout
}
