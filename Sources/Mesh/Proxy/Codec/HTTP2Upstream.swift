import HTTP

/// HTTP/2 to an upstream: as many attempts at once as the upstream takes.
final class HTTP2Upstream: UpstreamCodec, HTTP2SessionDelegate {
    private var session: HTTP2Session?
    private var active = 0
    private var isGoing = false
    /// The pool has it.
    private var isOpen = false
    private var isClosed = false
    private var requests: UInt32 = 0
    private var timer: LazyTimer?
    private var keepAlive: HTTP2KeepAlive?

    override init(_ connection: ProxyConnection, _ pool: HostPool) {
        super.init(connection, pool)
        do throws(HTTPError) {
            session = try HTTP2Session(
                .client, limits: pool.cluster.settings.options.http2,
                scratchHead: { [unowned worker = connection.worker] in
                    worker.head(capacity: HTTPLimits.standard.headerCount)
                }, delegate: self)
        } catch {
            connection.abort()
        }
    }

    override var version: HTTPVersion { .http2 }

    override var room: Int {
        guard let session, !isGoing, !isClosed, session.canOpenStream else { return 0 }
        let limit = pool.cluster.settings.options.maximumRequestsPerConnection
        return limit > 0 && requests >= limit ? 0 : 1
    }

    override var isMultiplexed: Bool { true }
    override var isIdle: Bool { active == 0 }

    // MARK: Input

    override func received(_ bytes: UnsafeRawBufferPointer) {
        guard let session else { return }
        do throws(HTTPError) {
            keepAlive?.heard()
            try session.receive(bytes, now: Int64(worker.now / 1_000_000_000))
            worker.flushAtTurnEnd(self)
        } catch {
            failure = .protocolError
            flush()
            connection.abort()
        }
    }
    private var failure = StreamReset.connectionTermination

    private func attempt(_ stream: HTTP2Stream) -> UpstreamAttempt? { stream.owner as? UpstreamAttempt }

    func http2(head: MessageHead, of stream: HTTP2Stream, endsStream: Bool) {
        guard let attempt = attempt(stream) else { return }
        guard head.status >= 200 else { return attempt.inform(head, head.buffer.count) }
        if endsStream { letGo(attempt, stream) }
        attempt.deliverHead(head, head.buffer.count, end: endsStream)
    }

    func http2(data: UnsafeRawBufferPointer, of stream: HTTP2Stream) {
        guard let attempt = attempt(stream) else {
            session?.consumed(data.count, of: stream)
            return
        }
        attempt.deliver(data, end: false)
        if attempt.isPaused {
            attempt.unconsumed += data.count
        } else {
            session?.consumed(data.count, of: stream)
        }
    }

    func http2(endOf stream: HTTP2Stream, trailers: HTTPHeaders) {
        guard let attempt = attempt(stream) else { return }
        letGo(attempt, stream)
        if trailers.isEmpty {
            attempt.deliver(UnsafeRawBufferPointer(start: nil, count: 0), end: true)
        } else {
            attempt.deliverTrailers(trailers)
        }
    }

    func http2(drained stream: HTTP2Stream) { attempt(stream)?.drained() }

    func http2(closed stream: HTTP2Stream, code: UInt32) {
        active -= 1
        if let attempt = attempt(stream) {
            stream.owner = nil
            attempt.failed(code == 7 ? .refused : .remoteReset)
        }
        if active == 0 { rests() }
        guard !isClosed else { return }
        if isGoing, active == 0 { return connection.closeAfterWrite() }
        pool.hasRoom(self)
    }

    func http2(goAway last: Int32, code: UInt32) {
        isGoing = true
        pool.leaves(self)
        if active == 0 { connection.closeAfterWrite() }
    }

    /// The answer is complete: nothing of the stream is of use to the attempt any more.
    private func letGo(_ attempt: UpstreamAttempt, _ stream: HTTP2Stream) {
        stream.owner = nil
        attempt.done()
        if attempt.unconsumed > 0 { session?.consumed(attempt.unconsumed, of: stream) }
    }

    override func opened() {
        isOpen = true
        worker.flushAtTurnEnd(self)
        keepAlive = pool.cluster.settings.options.http2KeepAlive.map {
            HTTP2KeepAlive($0, worker) { [unowned self] in
                session?.ping()
                worker.flushAtTurnEnd(self)
            } end: { [unowned self] in
                pool.cluster.stats.count("http2.keepalive_timeout")
                // That may be the end of this object.
                let worker = worker
                connection.abort()
                worker.flush()
            }
        }
        pool.connected(self)
    }

    override func ended() { connection.abort() }

    override func closed(_ error: (any Error)?) {
        timer?.clear()
        keepAlive?.close()
        isClosed = true
        let streams = session?.streams ?? []
        session = nil
        guard isOpen else { return pool.failed(error, of: connection) }
        pool.closed(self, hadRequest: active > 0)
        for stream in streams {
            guard let attempt = attempt(stream) else { continue }
            stream.owner = nil
            attempt.failed(failure)
        }
    }

    override func drained() { worker.flushAtTurnEnd(self) }

    override func retire() {
        isGoing = true
        if active == 0 { connection.closeAfterWrite() }
    }

    // MARK: Output

    /// The session has its preface to say from the first moment on; TLS takes nothing before its handshake is done.
    override func flush() {
        guard let session, isOpen, !connection.isClosed, connection.isWritable else { return }
        do throws(HTTPError) { try session.sendOutput(on: connection) } catch { connection.abort() }
    }

    override func start(_ attempt: UpstreamAttempt, _ head: HeaderBlock, end: Bool) {
        guard let session else { return attempt.failed(.connectionTermination) }
        timer?.clear()
        let isUpgrade = attempt.isUpgrade && !attempt.isConnect && head.has(.upgrade)
        if isUpgrade {
            // The stream keeps its own form: another attempt may speak HTTP/1.
            let connect = HeaderBlock()
            connect.load(head)
            if connect.becomeExtendedConnect() { worker.fields.addRequest(connect) }
        } else {
            worker.fields.addRequest(head)
        }
        do throws(HTTPError) {
            let stream = try session.open(worker.fields, finished: end)
            stream.owner = attempt
            attempt.handle = stream
            attempt.hasSentHead = true
            if active == 0 { keepAlive?.resumes() }
            active += 1
            requests &+= 1
            worker.flushAtTurnEnd(self)
        } catch {
            attempt.failed(.refused)
        }
    }

    private func handle(_ attempt: UpstreamAttempt) -> HTTP2Stream? { attempt.handle as? HTTP2Stream }

    override func sendData(_ attempt: UpstreamAttempt, _ bytes: UnsafeRawBufferPointer, end: Bool) {
        guard let session, let stream = handle(attempt) else { return }
        if end {
            if !bytes.isEmpty { session.write(bytes, to: stream) }
            session.finish(stream)
        } else {
            session.write(bytes, to: stream) { flush() }
        }
        worker.flushAtTurnEnd(self)
    }

    override func sendTrailers(_ attempt: UpstreamAttempt, _ trailers: HeaderBlock) {
        guard let session, let stream = handle(attempt) else { return }
        session.finish(stream, trailers: trailers.copied())
        worker.flushAtTurnEnd(self)
    }

    override func reset(_ attempt: UpstreamAttempt) {
        guard let session, let stream = handle(attempt), stream.owner === attempt else { return }
        stream.owner = nil
        pool.cluster.stats.localResets &+= 1
        if attempt.unconsumed > 0 { session.consumed(attempt.unconsumed, of: stream) }
        session.reset(stream, code: .cancel)
        worker.flushAtTurnEnd(self)
    }

    override func pauseResponse(_ attempt: UpstreamAttempt) { attempt.isPaused = true }

    override func resumeResponse(_ attempt: UpstreamAttempt) {
        attempt.isPaused = false
        guard let session, let stream = handle(attempt), attempt.unconsumed > 0 else { return }
        session.consumed(attempt.unconsumed, of: stream)
        attempt.unconsumed = 0
        worker.flushAtTurnEnd(self)
    }

    override func isWritable(_ attempt: UpstreamAttempt) -> Bool { handle(attempt)?.isAboveHighWater != true }

    private func rests() {
        let timeout = pool.cluster.settings.options.idleTimeout
        guard timeout > 0, !isClosed else { return }
        if timer == nil {
            timer = LazyTimer(worker.loop) { [unowned self] in
                pool.cluster.stats.idleTimeouts &+= 1
                connection.closeAfterWrite()
            }
        }
        timer?.set(worker.now &+ timeout)
    }
}
