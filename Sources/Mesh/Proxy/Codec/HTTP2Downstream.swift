import HTTP

/// HTTP/2 of a client: many streams at once. What they have to say in one turn of the loop leaves in one write.
final class HTTP2Downstream: DownstreamCodec, HTTP2SessionDelegate {
    private var session: HTTP2Session?
    private var active = 0
    private var isDraining = false
    /// The client was told to open no more streams; those that it had sent by then are served.
    private var isAnnounced = false
    /// The client has broken the rules of messages, and its streams end with that.
    private var isMalformed = false
    /// The last word was said; what still comes is dropped. A reset could take it from the client's hands, who then would not
    /// know which of his requests were never looked at.
    private var isLingering = false
    /// The client has said GOAWAY.
    private var isClientLeaving = false
    private var keepAlive: HTTP2KeepAlive?

    override init(_ connection: ProxyConnection, _ manager: ConnectionManager) {
        super.init(connection, manager)
        connection.countOpened(.http2)
        do throws(HTTPError) {
            session = try HTTP2Session(
                .server, limits: manager.http2Limits, allowsConnect: manager.options.http2.allowsConnect,
                faults: manager.options.http2.malformedEndsStream
                    ? .largeHeadEndsStream : [.largeHeadEndsStream, .malformedEndsConnection],
                scratchHead: { [unowned worker = connection.worker, capacity = manager.maximumHeaders] in
                    worker.head(capacity: capacity)
                }, delegate: self)
        } catch {
            connection.abort()
        }
        keepAlive = manager.options.http2.keepAlive.map {
            HTTP2KeepAlive($0, worker) { [unowned self] in
                session?.ping()
                worker.flushAtTurnEnd(self)
            } end: { [unowned self] in
                if let counter = manager.options.http2.keepAliveTimeouts { worker.count(counter) }
                // That may be the end of this object.
                let worker = worker
                connection.abort()
                worker.flush()
            }
        }
        connection.setTimer(manager.idleTimeout)
        worker.flushAtTurnEnd(self)
    }

    override func opened() { worker.flushAtTurnEnd(self) }

    override var version: HTTPVersion { .http2 }

    // MARK: Input

    override func received(_ bytes: UnsafeRawBufferPointer) {
        guard let session, !isLingering else { return }
        do throws(HTTPError) {
            keepAlive?.heard()
            try session.receive(bytes, now: Int64(worker.now / 1_000_000_000))
            worker.flushAtTurnEnd(self)
        } catch {
            worker.stats(manager).pointee.protocolErrors &+= 1
            if session.isMalformed { isMalformed = true } else { flush() }
            connection.closeAfterWrite()
        }
    }

    func http2(head: MessageHead, of stream: HTTP2Stream, endsStream: Bool) {
        connection.clearTimer()
        active += 1
        let proxied = worker.takeStream(self)
        proxied.codecHandle = stream
        stream.owner = proxied
        proxied.request.load(head, length: head.buffer.count)
        proxied.request.joinCookies()
        proxied.request.setScheme(head.schemeIsHTTPS ? "https" : "http")
        let isConnect = head.method == .connect
        if head.protocolSlice.count > 0 {
            proxied.request.adoptProtocol(head)
            if isConnect { proxied.request.becomeHTTP1Upgrade() }
        }
        if !manager.proxies100Continue,
            proxied.request.value(.expect).map({ equalsIgnoringCase($0, "100-continue") }) == true
        {
            proxied.request.remove(.expect)
            proxied.response.status = 100
            sendHead(proxied, proxied.response, end: false)
            proxied.response.clear()
        }
        proxied.requestHead(end: endsStream, isUpgrade: isConnect)
    }

    func http2(data: UnsafeRawBufferPointer, of stream: HTTP2Stream) {
        guard let proxied = stream.owner as? HTTPStream else {
            session?.consumed(data.count, of: stream)
            return
        }
        proxied.requestData(data, end: false)
        if proxied.flags.contains(.downstreamPaused) {
            proxied.unconsumed += data.count
        } else {
            session?.consumed(data.count, of: stream)
        }
    }

    func http2(endOf stream: HTTP2Stream, trailers: HTTPHeaders) {
        guard let proxied = stream.owner as? HTTPStream else { return }
        guard trailers.isEmpty else {
            let block = proxied.trailerBlock()
            block.load(trailers)
            return proxied.requestTrailers(block)
        }
        proxied.requestData(UnsafeRawBufferPointer(start: nil, count: 0), end: true)
    }

    func http2(drained stream: HTTP2Stream) { (stream.owner as? HTTPStream)?.downstreamDrained() }

    func http2(closed stream: HTTP2Stream, code: UInt32) {
        guard let proxied = stream.owner as? HTTPStream else { return }
        stream.owner = nil
        streamEnded()
        proxied.downstreamGone(.reset)
    }

    /// A client that says so opens no stream of ours, which there are none of; it closes when it has its answers.
    func http2(goAway last: Int32, code: UInt32) { isClientLeaving = true }

    private func streamEnded() {
        active -= 1
        if !isDraining, worker.happens(worker.overload.endedConnections) {
            worker.stats(manager).pointee.overloadEnds &+= 1
            drain()
        }
        if connection.listener?.isDraining == true { announceDrain() }
        // One that drains closes when its last frames are out: see `flush`.
        if active == 0, !isDraining { connection.setTimer(manager.idleTimeout) }
    }

    override func ended() { connection.closeAfterWrite() }

    override var hasRequests: Bool { active > 0 }

    override func closed(_ error: (any Error)?) {
        connection.countClosed(.http2)
        keepAlive?.close()
        guard let session else { return }
        let open = session.streams.compactMap { $0.owner as? HTTPStream }
        for stream in session.streams { stream.owner = nil }
        self.session = nil
        for stream in open { stream.downstreamGone(isMalformed ? .protocolError : .disconnect) }
    }

    override func drained() { worker.flushAtTurnEnd(self) }

    override func announceDrain() {
        guard !isAnnounced else { return }
        isAnnounced = true
        session?.announceShutdown()
        endAfterNotice()
        worker.flushAtTurnEnd(self)
    }

    override func drain() {
        isDraining = true
        if !isAnnounced { session?.announceShutdown() }
        isAnnounced = true
        session?.refuseNewStreams()
        worker.flushAtTurnEnd(self)
    }

    // MARK: Output

    /// The settings are to be said from the first moment on; TLS takes nothing before its handshake is done.
    override func flush() {
        guard let session, connection.isChannelOpen, !connection.isClosed, connection.isWritable else { return }
        do throws(HTTPError) { try session.sendOutput(on: connection) } catch { connection.closeAfterWrite() }
        guard session.isFinished else { return }
        if isDraining { linger() } else if !isClientLeaving { connection.closeAfterWrite() }
    }

    private func linger() {
        guard !isLingering else { return }
        isLingering = true
        connection.shutdownWrite()
        connection.setTimer(manager.delayedCloseTimeout)
    }

    private func handle(_ stream: HTTPStream) -> HTTP2Stream? { stream.codecHandle as? HTTP2Stream }

    override func sendHead(_ stream: HTTPStream, _ head: HeaderBlock, end: Bool) {
        guard let session, let handle = handle(stream) else { return }
        // RFC 8441 §5: what HTTP/1 says by 101, HTTP/2 says by 200.
        let status = head.status == 101 ? 200 : head.status
        worker.fields.addResponse(head, status: status)
        session.respond(handle, worker.fields, isFinal: status >= 200, finished: end)
        worker.flushAtTurnEnd(self)
    }

    override func sendData(_ stream: HTTPStream, _ bytes: UnsafeRawBufferPointer, end: Bool) {
        guard let session, let handle = handle(stream) else { return }
        if end {
            if !bytes.isEmpty { session.write(bytes, to: handle) }
            session.finish(handle)
        } else {
            session.write(bytes, to: handle) { flush() }
        }
        worker.flushAtTurnEnd(self)
    }

    override func sendTrailers(_ stream: HTTPStream, _ trailers: HeaderBlock) {
        guard let session, let handle = handle(stream) else { return }
        session.finish(handle, trailers: trailers.copied())
        worker.flushAtTurnEnd(self)
    }

    override func reset(_ stream: HTTPStream, _ reason: StreamReset) {
        guard let session, let handle = handle(stream) else { return }
        handle.owner = nil
        session.reset(handle, code: reason.http2Code)
        streamEnded()
        worker.flushAtTurnEnd(self)
    }

    override func resumeRequest(_ stream: HTTPStream) {
        guard let session, let handle = handle(stream), stream.unconsumed > 0 else { return }
        session.consumed(stream.unconsumed, of: handle)
        stream.unconsumed = 0
        worker.flushAtTurnEnd(self)
    }

    override func isWritable(_ stream: HTTPStream) -> Bool { handle(stream)?.isAboveHighWater != true }

    override func finished(_ stream: HTTPStream) {
        guard let handle = handle(stream), handle.owner === stream else { return }
        // What still comes of a request that is answered is dropped. A reset would overtake the answer's last frames, which
        // wait for the client's window.
        handle.owner = nil
        if stream.unconsumed > 0 { session?.consumed(stream.unconsumed, of: handle) }
        streamEnded()
        worker.flushAtTurnEnd(self)
    }

    // MARK: Time

    override func timerIsDue() {
        if isLingering { return connection.abort() }
        worker.stats(manager).pointee.idleTimeouts &+= 1
        drain()
        worker.flush()
    }
}

extension StreamReset {
    /// RFC 9113 §7.
    var http2Code: HTTP2Session.ResetCode {
        switch self {
        case .protocolError: .protocolError
        case .refused, .overflow: .refusedStream
        default: .internalError
        }
    }
}
