import CLinux
import Glibc
import HTTP
import Reactor
import TLS

/// HTTP/1 to an upstream: one attempt at a time, kept for the next when both sides allow it.
final class HTTP1Upstream: UpstreamCodec {
    private enum Phase { case connecting, idle, head, body, trailers, tunnel, closed }

    /// A kept connection that rested longer than this is looked at before it is used again: the upstream may have closed it.
    static let trustedRest: UInt64 = 100_000_000

    private var phase = Phase.connecting
    private var parser = HTTP1Parser(.response, limits: .standard)
    private var decoder = BodyDecoder(.none)
    private var writer = HTTP1Writer()
    /// How answers are to remember the names of their fields; nil for not at all.
    private var spelling: HeaderSpelling.Options?
    private var pending = GrowingBytes()
    private var attempt: UpstreamAttempt?
    private var requestEnded = false
    private var keepsAlive = true
    private var isPaused = false
    private var isProcessing = false
    private var isRetired = false
    private var restsSince: UInt64 = 0
    private var requests: UInt32 = 0
    private var timer: LazyTimer?

    deinit {
        pending.deallocate()
        writer.deallocate()
    }

    /// Whether the upstream has said nothing, not even goodbye, since the last answer.
    override var isUsable: Bool {
        guard phase == .idle, !connection.isClosed, let socket = connection.socket else { return false }
        guard worker.now &- restsSince > Self.trustedRest else { return true }
        return !socket.hasUnreadInput
    }

    override var room: Int { phase == .idle && !isRetired ? 1 : 0 }
    override var isIdle: Bool { phase == .idle }

    override func retire() {
        isRetired = true
        if phase == .idle { connection.closeAfterWrite() }
    }

    // MARK: The connection

    override func opened() {
        phase = .idle
        let form = pool.cluster.settings.options.http1.headerForm
        writer.isProperCase = form == .properCase
        spelling = form.spelling
        connection.origin.local = connection.socket?.local ?? connection.origin.local
        pool.connected(self)
    }

    override func closed(_ error: (any Error)?) {
        timer?.clear()
        let before = phase
        phase = .closed
        guard before != .connecting else {
            return pool.failed(error, of: connection)
        }
        pool.closed(self, hadRequest: attempt != nil)
        guard let attempt else { return }
        self.attempt = nil
        // In the middle of a body the end of the connection breaks the framing.
        attempt.failed(before == .body || before == .trailers ? .protocolError : .connectionTermination)
    }

    override func ended() {
        if phase == .body, decoder.mayEndWithConnection, let attempt {
            keepsAlive = false
            responseEnded()
            return attempt.deliver(UnsafeRawBufferPointer(start: nil, count: 0), end: true)
        }
        if phase == .tunnel, let attempt {
            return attempt.deliver(UnsafeRawBufferPointer(start: nil, count: 0), end: true)
        }
        connection.abort()
    }

    override func drained() { attempt?.drained() }

    // MARK: The request

    override func start(_ attempt: UpstreamAttempt, _ head: HeaderBlock, end: Bool) {
        self.attempt = attempt
        timer?.clear()
        requests &+= 1
        phase = .head
        requestEnded = end
        keepsAlive = true
        attempt.hasSentHead = true
        writer.prepare(worker)
        writer.beginHead(head)
        writer.append(head.methodText)
        writer.append(" ")
        writer.append(head.method == .connect ? head.authority : head.path)
        writer.append(" HTTP/1.1\r\n")
        writer.line(StaticString("host").bytes, head.authority)
        let isUpgrade = attempt.isUpgrade
        writer.fields(head, keepsConnection: isUpgrade)
        if head.has(.contentLength) {
            writer.framing = .length
        } else if end || isUpgrade {
            if end, !head.method.usuallyHasNoBody { writer.line("content-length", "0") }
            writer.framing = isUpgrade ? .unsaid : .none
        } else {
            writer.line("transfer-encoding", "chunked")
            writer.framing = .chunked
        }
        writer.endHead()
        worker.flushLater(self)
    }

    override func sendData(_ attempt: UpstreamAttempt, _ bytes: UnsafeRawBufferPointer, end: Bool) {
        guard attempt === self.attempt, phase != .closed else { return }
        writer.prepare(worker)
        sendBody(bytes)
        if end { endRequest(nil) }
        worker.flushLater(self)
    }

    override func sendTrailers(_ attempt: UpstreamAttempt, _ trailers: HeaderBlock) {
        guard attempt === self.attempt, phase != .closed else { return }
        writer.prepare(worker)
        endRequest(passesTrailers ? trailers : nil)
        worker.flushLater(self)
    }

    private var passesTrailers: Bool { pool.cluster.settings.options.http1.enablesTrailers }

    private func endRequest(_ trailers: HeaderBlock?) {
        writer.end(trailers)
        requestEnded = true
        if phase == .tunnel {
            flush()
            connection.shutdownWrite()
        }
    }

    private func sendBody(_ bytes: UnsafeRawBufferPointer) {
        guard !writer.body(bytes) else { return }
        connection.send(writer.take(), bytes)
        writer.prepare(worker)
        writer.endPiece()
    }

    override func flush() {
        if !writer.isEmpty { connection.send(writer.take()) }
    }

    override func reset(_ attempt: UpstreamAttempt) {
        guard attempt === self.attempt else { return }
        self.attempt = nil
        // Whatever still comes belongs to nobody.
        connection.abort()
    }

    override func pauseResponse(_ attempt: UpstreamAttempt) {
        guard attempt === self.attempt else { return }
        isPaused = true
        connection.pauseReading()
    }

    override func resumeResponse(_ attempt: UpstreamAttempt) {
        guard attempt === self.attempt, isPaused else { return }
        isPaused = false
        connection.resumeReading()
        if !pending.isEmpty, !isProcessing { receivedMore() }
    }

    // MARK: The response

    override func received(_ bytes: UnsafeRawBufferPointer) {
        guard pending.isEmpty else {
            pending.append(bytes)
            return receivedMore()
        }
        let used = process(bytes)
        if used < bytes.count, phase != .closed { pending.append(UnsafeRawBufferPointer(rebasing: bytes[used...])) }
    }

    private func receivedMore() {
        let used = process(pending.bytes)
        if used > 0, !pending.isEmpty { pending.removeFirst(min(used, pending.count)) }
    }

    private func process(_ bytes: UnsafeRawBufferPointer) -> Int {
        isProcessing = true
        defer { isProcessing = false }
        var at = 0
        while at < bytes.count || phase == .body, !connection.isClosed {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[at...])
            do throws(HTTP1Violation) {
                switch phase {
                case .head:
                    guard let attempt else { return bytes.count }
                    let head = worker.head(capacity: HTTPLimits.standard.headerCount)
                    let method: HTTPMethod =
                        attempt.answersHead ? .head : attempt.isConnect ? .connect : .get
                    guard let length = try parser.parse(rest, into: head, answering: method) else { return at }
                    at &+= length
                    beginResponse(attempt, head, length)
                case .body:
                    guard let attempt else { return bytes.count }
                    var used = 0
                    let event = try decoder.next(rest, consumed: &used)
                    at &+= used
                    switch event {
                    case .data(let range):
                        let isLast = decoder.isComplete
                        if isLast { responseEnded() }
                        attempt.deliver(UnsafeRawBufferPointer(rebasing: rest[range]), end: isLast)
                    case .end(let trailers):
                        if trailers {
                            phase = .trailers
                        } else {
                            responseEnded()
                            attempt.deliver(UnsafeRawBufferPointer(start: nil, count: 0), end: true)
                        }
                    case .needsMore: return at
                    }
                case .trailers:
                    guard let attempt else { return bytes.count }
                    let head = worker.head(capacity: HTTPLimits.standard.headerCount)
                    guard let length = try parser.parseTrailers(rest, into: head) else { return at }
                    at &+= length
                    responseEnded()
                    if passesTrailers {
                        attempt.deliverTrailers(head, length)
                    } else {
                        attempt.deliver(UnsafeRawBufferPointer(start: nil, count: 0), end: true)
                    }
                case .tunnel:
                    attempt?.deliver(rest, end: false)
                    return bytes.count
                case .idle:
                    // Nobody asked.
                    connection.abort()
                    return bytes.count
                case .connecting, .closed: return bytes.count
                }
            } catch {
                broken(error)
                return bytes.count
            }
        }
        return at
    }

    private func beginResponse(_ attempt: UpstreamAttempt, _ head: MessageHead, _ length: Int) {
        keepsAlive = head.keepsAlive
        if !keepsAlive { pool.cluster.stats.closeNotices &+= 1 }
        let spelling = spelling.map { HeaderSpelling(head, $0) }
        guard head.status >= 200 || head.status == 101 else { return attempt.inform(head, length, spelling) }
        if head.status == 101 || attempt.isConnect && head.status < 300 {
            phase = .tunnel
            return attempt.deliverHead(head, length, end: false, spelling)
        }
        let hasBody = head.framing != .none
        decoder = BodyDecoder(head.framing)
        phase = .body
        if !hasBody { responseEnded() }
        attempt.deliverHead(head, length, end: !hasBody, spelling)
    }

    /// The answer is complete. Before its last piece is passed on, so that the next request finds the connection.
    private func responseEnded() {
        guard let attempt else { return }
        self.attempt = nil
        attempt.done()
        isPaused = false
        guard keepsAlive, requestEnded, pending.isEmpty || isProcessing else {
            // An answer before the end of its request: the rest of that would be taken for the next one.
            phase = .closed
            return connection.closeAfterWrite()
        }
        phase = .idle
        restsSince = worker.now
        let options = pool.cluster.settings.options
        if options.maximumRequestsPerConnection > 0, requests >= options.maximumRequestsPerConnection {
            pool.cluster.stats.connectionsAtMaximumRequests &+= 1
            return connection.closeAfterWrite()
        }
        if options.idleTimeout > 0 {
            if timer == nil {
                timer = LazyTimer(worker.loop) { [unowned self] in
                    pool.cluster.stats.idleTimeouts &+= 1
                    connection.closeAfterWrite()
                }
            }
            timer?.set(worker.now &+ options.idleTimeout)
        }
        connection.resumeReading()
        pool.hasRoom(self)
    }

    private func broken(_ violation: HTTP1Violation) {
        guard let attempt else { return connection.abort() }
        self.attempt = nil
        connection.abort()
        attempt.failed(.protocolError)
    }
}

extension HTTPMethod {
    /// Of these nobody expects a body, so that none need not be said; as Envoy has it.
    fileprivate var usuallyHasNoBody: Bool {
        switch self {
        case .get, .head, .delete, .trace, .connect: true
        case .post, .put, .patch, .options, .other: false
        }
    }
}
