import Bytes
import CNghttp2
import Reactor
import TLS

extension ServerConnection: HTTP2SessionDelegate {
    func speakHTTP2() {
        do throws(HTTPError) {
            let head = shared.head
            speaks = .http2(try HTTP2Session(.server, limits: limits, scratchHead: { head }, delegate: self))
            setDeadline(shared.times.idle)
        } catch {
            closeConnection()
        }
    }

    func receiveHTTP2(_ bytes: UnsafeRawBufferPointer, _ session: HTTP2Session) {
        do throws(HTTPError) {
            try session.receive(bytes, now: Timestamp.now().seconds)
            if session.streams.isEmpty { setDeadline(shared.times.idle) }
        } catch {
            shared.counters.violations += 1
            closeConnection()
        }
    }

    func sendHTTP2(_ session: HTTP2Session) {
        do throws(HTTPError) {
            try sendFrames(of: session)
            if session.isFinished { closeConnection() }
        } catch {
            abortConnection()
        }
    }

    /// Moves frames to the socket while it takes them; the rest stays with the streams, where back-pressure counts it.
    func sendFrames(of session: HTTP2Session) throws(HTTPError) {
        guard isWritable else { return }
        flush()
        var memory = GrowingBytes()
        swap(&memory, &output)
        defer {
            swap(&memory, &output)
            memory.deallocate()
        }
        try session.sendOutput(using: &memory) { bytes in
            transmit(bytes)
            return isWritable
        }
    }

    // MARK: What the session tells

    func http2(head: MessageHead, of stream: HTTP2Stream, endsStream: Bool) {
        shared.counters.requests += 1
        deadline = ServerLoop.never
        let exchange = HTTPExchange()
        exchange.connection = self
        exchange.stream = stream
        exchange.method = head.method
        exchange.version = .http2
        stream.owner = exchange
        service.head(head, of: exchange)
    }

    func http2(data: UnsafeRawBufferPointer, of stream: HTTP2Stream) {
        guard case .http2(let session) = speaks else { return }
        if let exchange = stream.owner as? HTTPExchange, exchange.connection != nil, !exchange.hasFinished {
            service.body(data, of: exchange)
        } else {
            // Answered before it was complete. Clients exist that lose the answer if they are reset at once, so the rest of the
            // body is thrown away for a while first.
            stream.discarded += data.count
            if stream.discarded > Self.lingerBytes { session.reset(stream, code: NGHTTP2_NO_ERROR) }
        }
        session.consumed(data.count, of: stream)
    }

    func http2(endOf stream: HTTP2Stream, trailers: HTTPHeaders) {
        guard let exchange = stream.owner as? HTTPExchange, exchange.connection != nil, !exchange.hasFinished else {
            return
        }
        service.end(exchange, trailers: trailers)
    }

    func http2(drained stream: HTTP2Stream) {
        guard let exchange = stream.owner as? HTTPExchange, exchange.connection != nil else { return }
        service.drained(exchange)
    }

    func http2(closed stream: HTTP2Stream, code: UInt32) {
        if let exchange = stream.owner as? HTTPExchange { over(exchange) }
        guard case .http2(let session) = speaks, session.streams.isEmpty else { return }
        setDeadline(shared.times.idle)
    }

    func http2(goAway last: Int32, code: UInt32) {}

    // MARK: Answers

    func respondHTTP2(
        _ stream: HTTP2Stream, _ exchange: HTTPExchange, _ status: Int, _ headers: HTTPHeaders,
        _ body: UnsafeRawBufferPointer
    ) {
        guard case .http2(let session) = speaks else { return }
        let sendsBody = !body.isEmpty && exchange.method != .head && status != 204 && status != 304
        if sendsBody { session.write(body, to: stream) }
        session.respond(
            stream, status: status, headers: withLength(headers, status == 204 || status == 304 ? nil : body.count),
            finished: !sendsBody, date: dateText)
        if sendsBody { session.finish(stream) }
    }

    func startHTTP2(
        _ stream: HTTP2Stream, _ exchange: HTTPExchange, _ status: Int, _ headers: HTTPHeaders, _ length: Int?
    ) {
        guard case .http2(let session) = speaks else { return }
        exchange.omitsBody = exchange.method == .head || status == 204 || status == 304
        exchange.announced = length
        session.respond(
            stream, status: status, headers: withLength(headers, length), finished: exchange.omitsBody, date: dateText)
    }

    func writeHTTP2(_ stream: HTTP2Stream, _ exchange: HTTPExchange, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard case .http2(let session) = speaks, !exchange.omitsBody else { return true }
        session.write(bytes, to: stream)
        return !stream.isAboveHighWater
    }

    private func withLength(_ headers: HTTPHeaders, _ length: Int?) -> HTTPHeaders {
        var headers = headers
        headers["content-length"] = length.map(String.init)
        return headers
    }

    private var dateText: String { shared.withDate { String(decoding: $0, as: UTF8.self) } }

    // MARK: Other events

    func deadlinePassedHTTP2(_ session: HTTP2Session) {
        guard session.streams.isEmpty else {
            deadline = ServerLoop.never
            return
        }
        session.refuseNewStreams()
        closeConnection()
    }

    func drainHTTP2(_ session: HTTP2Session) {
        session.refuseNewStreams()
    }
}
