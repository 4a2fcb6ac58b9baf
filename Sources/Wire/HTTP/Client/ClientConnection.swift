import Bytes
import CNghttp2
import Reactor
import TLS

/// One connection of a client: over HTTP/1 one exchange at a time, over HTTP/2 many. Belongs to its pool's loop.
final class ClientConnection: Channel, HTTP2SessionDelegate, @unchecked Sendable {
    private enum Phase {
        case head, body, trailers, tunnel
    }

    private unowned let pool: ConnectionPool
    private let isSecureScheme: Bool
    private let limits: HTTPLimits
    private var session: HTTP2Session?
    private(set) var isClosed = false
    private var opening: Promise<Void>?
    /// Exchanges that this connection has carried before the present one.
    private(set) var served = 0
    /// No new exchange may begin: the server said so, or the connection is broken.
    private(set) var isRetired = false
    private var wasToldToGo = false
    var idleSince: MonotonicTime?
    /// The pool has given it to a task that is about to begin.
    var isReserved = false
    var isOpening: Bool { opening != nil }

    // HTTP/1
    private var exchange: ClientExchange?
    private var phase = Phase.head
    private var parser: HTTP1Parser
    private var decoder = BodyDecoder(.none)
    private var keepsAlive = true
    private var input = GrowingBytes()
    private var sentBytes = false
    private var isProcessing = false

    init(_ pool: ConnectionPool, tls: TLSSession?, limits: HTTPLimits, opening: Promise<Void>) {
        self.pool = pool
        self.limits = limits
        self.opening = opening
        isSecureScheme = tls != nil
        parser = HTTP1Parser(.response, limits: limits)
        super.init(tls)
    }

    deinit { input.deallocate() }

    var isHTTP2: Bool { session != nil }
    /// Another exchange may begin now.
    var isAvailable: Bool {
        guard !isClosed, !isRetired, opening == nil, !isReserved || isHTTP2 else { return false }
        return session.map { $0.canOpenStream } ?? (exchange == nil)
    }
    var isIdle: Bool { exchange == nil && (session?.streams.isEmpty ?? true) }

    // MARK: Sending

    func begin(
        _ exchange: ClientExchange, _ method: String, _ target: String, authority: String, headers: HTTPHeaders,
        body: [UInt8]
    ) throws(HTTPError) {
        idleSince = nil
        isReserved = false
        exchange.connection = self
        if let session {
            do throws(HTTPError) {
                var headers = headers
                if !body.isEmpty { headers["content-length"] = String(body.count) }
                let stream = try session.request(
                    method, target, scheme: isSecureScheme ? "https" : "http", authority: authority, headers: headers,
                    finished: body.isEmpty)
                stream.owner = exchange
                exchange.stream = stream
                if !body.isEmpty {
                    body.withUnsafeBytes { session.write($0, to: stream) }
                    session.finish(stream)
                }
            } catch {
                exchange.connection = nil
                throw error
            }
            sendFrames()
            return
        }
        self.exchange = exchange
        phase = .head
        keepsAlive = true
        let needsLength =
            !body.isEmpty || exchange.method == .post || exchange.method == .put || exchange.method == .patch
        var output = GrowingBytes()
        defer { output.deallocate() }
        HTTP1Encoder.request(
            method, target, authority: authority, headers, needsLength ? .known(body.count) : .unsaid, into: &output)
        if body.count <= 64 << 10 {
            body.withUnsafeBytes { output.append($0) }
            send(output.bytes)
        } else {
            send(output.bytes)
            body.withUnsafeBytes { send($0) }
        }
    }

    /// Raw bytes of an upgraded connection; false when the caller shall wait for `drained`.
    func write(_ bytes: [UInt8], for exchange: ClientExchange) -> Bool {
        guard exchange === self.exchange, phase == .tunnel else { return true }
        bytes.withUnsafeBytes { send($0) }
        return isWritable
    }

    func finishWriting(_ exchange: ClientExchange) {
        guard exchange === self.exchange, phase == .tunnel else { return }
        shutdownWrite()
    }

    /// The reader has gone: an HTTP/2 stream is reset, an HTTP/1 connection can only be closed.
    func cancel(_ exchange: ClientExchange, _ stream: HTTP2Stream?) {
        if let session, let stream {
            stream.owner = nil
            session.consumed(exchange.unreadBytes, of: stream)
            session.reset(stream)
            sendFrames()
        } else if exchange === self.exchange {
            self.exchange = nil
            shutDown(nil)
        }
    }

    func consumed(_ count: Int, of stream: HTTP2Stream) {
        session?.consumed(count, of: stream)
        sendFrames()
    }

    // MARK: Events of the channel

    override func channelOpened() {
        let dialect = pool.endpoint.dialect
        if dialect == .http2 || dialect == .negotiated && negotiatedProtocol == "h2" {
            let head = pool.head
            do throws(HTTPError) {
                session = try HTTP2Session(.client, limits: limits, scratchHead: { head }, delegate: self)
                sendFrames()
            } catch {
                shutDown(error)
            }
            // The connection counts as open when the server has told how many streams it takes.
            return
        }
        opening?.succeed(())
        opening = nil
    }

    override func channelReceived(_ bytes: UnsafeRawBufferPointer) {
        guard !isClosed else { return }
        if let session {
            do throws(HTTPError) {
                try session.receive(bytes, now: Timestamp.now().seconds)
                sendFrames()
            } catch {
                shutDown(error)
            }
            if session.hasPeerSettings {
                opening?.succeed(())
                opening = nil
            }
            return
        }
        if input.isEmpty {
            let used = process(bytes)
            if !isClosed, used < bytes.count { input.append(UnsafeRawBufferPointer(rebasing: bytes[used...])) }
        } else {
            input.append(bytes)
            let used = process(input.bytes)
            if used > 0, !input.isEmpty { input.removeFirst(min(used, input.count)) }
        }
    }

    /// Works through the server's bytes; returns how many were used.
    private func process(_ bytes: UnsafeRawBufferPointer) -> Int {
        var at = 0
        while !isClosed {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[at...])
            guard let exchange else {
                // An answer to nothing: the server and we disagree about where messages end.
                if !rest.isEmpty { shutDown(HTTPError(.malformed, "the server sent bytes that answer no request")) }
                return bytes.count
            }
            do throws(HTTP1Violation) {
                switch phase {
                case .head:
                    guard !rest.isEmpty,
                        let length = try parser.parse(rest, into: pool.head, answering: exchange.method)
                    else { return at }
                    at += length
                    let head = pool.head
                    if head.status < 200, head.status != 101 { continue }
                    keepsAlive = head.keepsAlive
                    decoder = BodyDecoder(head.framing)
                    phase = head.status == 101 ? .tunnel : .body
                    exchange.received(head: head)
                case .body:
                    var used = 0
                    defer { at += used }
                    switch try decoder.next(rest, consumed: &used) {
                    case .data(let range): exchange.received(UnsafeRawBufferPointer(rebasing: rest[range]))
                    case .end(let trailers):
                        if trailers { phase = .trailers } else { complete(exchange, HTTPHeaders()) }
                    case .needsMore: return at + used
                    }
                case .trailers:
                    guard let length = try parser.parseTrailers(rest, into: pool.head) else { return at }
                    at += length
                    complete(exchange, pool.head.copyHeaders())
                case .tunnel:
                    if !rest.isEmpty { exchange.received(rest) }
                    return bytes.count
                }
            } catch {
                shutDown(HTTPError(.malformed, "the server's response is malformed: \(error.description)"))
                return bytes.count
            }
        }
        return bytes.count
    }

    private func complete(_ exchange: ClientExchange, _ trailers: HTTPHeaders) {
        self.exchange = nil
        served += 1
        resumeReading()
        exchange.ended(trailers)
        if keepsAlive { pool.becameAvailable(self) } else { shutDown(nil) }
    }

    override func channelEnded() {
        guard !isClosed else { return }
        if let exchange, session == nil {
            if phase == .body, decoder.mayEndWithConnection {
                self.exchange = nil
                exchange.ended(HTTPHeaders())
            } else if phase == .tunnel {
                self.exchange = nil
                exchange.ended(HTTPHeaders())
            }
        }
        shutDown(nil)
    }

    override func channelDrained() {
        if session != nil { sendFrames() } else { exchange?.drained() }
    }

    override func channelClosed(_ error: (any Error)?) { shutDown(error, isDown: true) }

    private func sendFrames() {
        guard let session, !isClosed, isWritable else { return }
        do throws(HTTPError) {
            var memory = GrowingBytes()
            defer { memory.deallocate() }
            try session.sendOutput(using: &memory) { bytes in
                send(bytes)
                return isWritable
            }
            if session.isFinished { shutDown(nil) }
        } catch {
            shutDown(error)
        }
    }

    /// Takes no more requests.
    func retire() {
        isRetired = true
        if isIdle, !isOpening, !isReserved { shutDown(nil) }
    }

    /// Closes, and fails what was under way with a reason and whether it may be tried again.
    func shutDown(_ error: (any Error)?, isDown: Bool = false) {
        guard !isClosed else { return }
        isClosed = true
        isRetired = true
        // What has not gone out yet is of no use to anybody.
        if !isDown { if queuedBytes > 0 { reset() } else { closeAfterWrite() } }
        input.deallocate()
        let reason = error.map { "\($0)" } ?? "the server closed it"
        if let opening {
            // One that was told to go before it carried anything failed as a kept one does.
            opening.fail(
                HTTPError(
                    wasToldToGo ? .closed : .connect, "cannot connect to \(pool.endpoint): \(reason)", isRetrySafe: true
                ))
        }
        opening = nil
        if let exchange {
            self.exchange = nil
            // A server may close a kept connection at any time; where the request can be repeated, that is no failure.
            let safe = !exchange.hasResponse && served > 0 && exchange.method.isIdempotent
            exchange.failed(failure(reason, error, safe))
        }
        if let session {
            for stream in session.streams {
                guard let exchange = stream.owner as? ClientExchange else { continue }
                exchange.failed(failure(reason, error, !exchange.hasResponse && exchange.method.isIdempotent))
                stream.owner = nil
            }
        }
        pool.closed(self)
    }

    private func failure(_ reason: String, _ error: (any Error)?, _ safe: Bool) -> HTTPError {
        HTTPError(
            (error as? HTTPError)?.kind ?? .closed, "the connection to \(pool.endpoint) broke: \(reason)",
            isRetrySafe: safe)
    }

    // MARK: What the HTTP/2 session tells

    func http2(head: MessageHead, of stream: HTTP2Stream, endsStream: Bool) {
        guard head.status >= 200 else { return }
        (stream.owner as? ClientExchange)?.received(head: head)
    }

    func http2(data: UnsafeRawBufferPointer, of stream: HTTP2Stream) {
        guard let exchange = stream.owner as? ClientExchange else {
            return session?.consumed(data.count, of: stream) ?? ()
        }
        exchange.received(data)
    }

    func http2(endOf stream: HTTP2Stream, trailers: HTTPHeaders) {
        guard let exchange = stream.owner as? ClientExchange else { return }
        stream.owner = nil
        session?.consumed(exchange.unreadBytes, of: stream)
        exchange.ended(trailers)
    }

    func http2(drained stream: HTTP2Stream) { (stream.owner as? ClientExchange)?.drained() }

    func http2(closed stream: HTTP2Stream, code: UInt32) {
        served += 1
        if let exchange = stream.owner as? ClientExchange {
            let refused = code == NGHTTP2_REFUSED_STREAM.rawValue
            session?.consumedAfterClose(exchange.unreadBytes)
            exchange.failed(
                HTTPError(
                    .closed, "\(pool.endpoint) reset the stream: \(String(cString: nghttp2_http2_strerror(code)))",
                    isRetrySafe: refused || !exchange.hasResponse && exchange.method.isIdempotent))
        }
        pool.becameAvailable(self)
    }

    func http2(goAway last: Int32, code: UInt32) {
        isRetired = true
        wasToldToGo = true
        for stream in session?.streams ?? [] where stream.id > last {
            guard let exchange = stream.owner as? ClientExchange else { continue }
            stream.owner = nil
            session?.consumed(exchange.unreadBytes, of: stream)
            exchange.failed(HTTPError(.closed, "\(pool.endpoint) is going down", isRetrySafe: true))
        }
    }
}
