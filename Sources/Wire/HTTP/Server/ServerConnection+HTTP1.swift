import Bytes
import Reactor
import TLS

extension ServerConnection {
    /// How long we wait, and how much we throw away, after our last word on a connection that the client still writes to.
    private static var lingerTime: UInt64 { 2_000_000_000 }
    static var lingerBytes: Int { 4 << 20 }

    // MARK: Input

    /// Works through client bytes; returns how many were used.
    func processHTTP1(_ bytes: UnsafeRawBufferPointer) -> Int {
        isProcessing = true
        defer { isProcessing = false }
        var at = 0
        while !isClosed {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[at...])
            do throws(HTTP1Violation) {
                switch phase {
                case .head:
                    guard !rest.isEmpty, let length = try parser.parse(rest, into: shared.head) else {
                        if !rest.isEmpty { awaitHead() }
                        return at
                    }
                    at += length
                    beginRequest(shared.head)
                case .body:
                    var used = 0
                    defer { at += used }
                    switch try decoder.next(rest, consumed: &used) {
                    case .data(let range):
                        guard let exchange else { continue }
                        setDeadline(shared.times.body)
                        service.body(UnsafeRawBufferPointer(rebasing: rest[range]), of: exchange)
                    case .end(let trailers):
                        if trailers { phase = .trailers } else { requestEnded(HTTPHeaders()) }
                    case .needsMore: return at + used
                    }
                case .trailers:
                    guard let length = try parser.parseTrailers(rest, into: shared.head) else { return at }
                    at += length
                    requestEnded(shared.head.copyHeaders())
                case .answer: return at
                case .tunnel:
                    if !rest.isEmpty, let exchange { service.body(rest, of: exchange) }
                    return bytes.count
                case .lingering:
                    lingeredBytes += rest.count
                    if lingeredBytes > Self.lingerBytes { closeConnection() }
                    return bytes.count
                }
            } catch {
                refuse(error)
                return bytes.count
            }
        }
        return bytes.count
    }

    /// The first bytes of a head start the clock of `headerTimeout`; later ones do not set it back.
    private func awaitHead() {
        guard !headHasBegun else { return }
        headHasBegun = true
        setDeadline(shared.times.header)
    }

    private func beginRequest(_ head: MessageHead) {
        headHasBegun = false
        shared.counters.requests += 1
        keepsAlive = head.keepsAlive && !shared.isDraining
        wantsUpgrade = head.wantsUpgrade
        let exchange = freshExchange()
        exchange.connection = self
        exchange.method = head.method
        exchange.version = head.version
        let hasBody = head.framing != .none
        phase = hasBody ? .body : .answer
        decoder = BodyDecoder(head.framing)
        deadline = hasBody ? shared.now &+ shared.times.body : ServerLoop.never
        let expectsContinue = head.expectsContinue
        service.head(head, of: exchange)
        guard !isClosed, self.exchange === exchange, exchange.connection != nil else { return }
        if !hasBody {
            service.end(exchange, trailers: HTTPHeaders())
        } else if expectsContinue, !exchange.hasStarted {
            output.append("HTTP/1.1 100 Continue\r\n\r\n")
        }
    }

    /// The exchange object of the last request if nobody else kept it, else a new one.
    private func freshExchange() -> HTTPExchange {
        if exchange != nil, isKnownUniquelyReferenced(&exchange), let last = exchange {
            last.prepareForNext()
            return last
        }
        let new = HTTPExchange()
        exchange = new
        return new
    }

    private func requestEnded(_ trailers: HTTPHeaders) {
        deadline = ServerLoop.never
        phase = .answer
        guard let exchange else { return }
        if exchange.hasFinished { return answerEnded(exchange) }
        service.end(exchange, trailers: trailers)
    }

    /// Answers a broken message and says no more.
    private func refuse(_ violation: HTTP1Violation) {
        shared.counters.violations += 1
        let answered = exchange?.connection != nil && exchange?.hasStarted == true
        if let exchange { over(exchange) }
        guard !answered else { return abortConnection() }
        keepsAlive = false
        refuse(violation.status, violation.description)
    }

    private func refuse(_ status: Int, _ reason: String) {
        shared.counters.responses[status / 100] += 1
        var body = reason + "\n"
        shared.withDate { date in
            HTTP1Encoder.response(
                status, ["content-type": "text/plain; charset=utf-8"], .known(body.utf8.count), close: true, date: date,
                into: &output)
        }
        body.withUTF8 { output.append(UnsafeRawBufferPointer($0)) }
        linger()
    }

    /// Says no more, and reads on for a while: closing with unread input would reset the connection and could take our last
    /// answer from the client's hands.
    private func linger() {
        flush()
        phase = .lingering
        deadline = shared.now &+ Self.lingerTime
        if peerEnded { return closeConnection() }
        shutdownWrite()
        resumeReading()
    }

    // MARK: Answers

    func respondHTTP1(_ exchange: HTTPExchange, _ status: Int, _ headers: HTTPHeaders, _ body: UnsafeRawBufferPointer) {
        settlePersistence(exchange, headers)
        let bodiless = status == 204 || status == 304
        shared.withDate { date in
            HTTP1Encoder.response(
                status, headers, bodiless ? .unsaid : .known(body.count), close: !keepsAlive,
                sayKeepAlive: exchange.version == .http10, date: date, into: &output)
        }
        if !bodiless, exchange.method != .head { output.append(body) }
        answerEnded(exchange)
    }

    func startHTTP1(_ exchange: HTTPExchange, _ status: Int, _ headers: HTTPHeaders, _ length: Int?) {
        exchange.omitsBody = exchange.method == .head || status == 204 || status == 304
        exchange.announced = length
        var said = HTTP1Encoder.Length.unsaid
        if status != 204, status != 304 {
            if let length {
                said = .known(length)
            } else if exchange.version == .http11 {
                said = .chunked
                exchange.isChunked = true
            } else {
                keepsAlive = false
            }
        }
        settlePersistence(exchange, headers)
        shared.withDate { date in
            HTTP1Encoder.response(
                status, headers, said, close: !keepsAlive, sayKeepAlive: exchange.version == .http10, date: date,
                into: &output)
        }
    }

    /// An answer that comes before the request is complete, or that its service wants to be the last, ends the connection.
    private func settlePersistence(_ exchange: HTTPExchange, _ headers: HTTPHeaders) {
        if shared.isDraining || peerEnded { keepsAlive = false }
        switch phase {
        case .body, .trailers: keepsAlive = false
        default: break
        }
        if keepsAlive, headers.contains(.connection), headers.contains(token: "close", in: .connection) {
            keepsAlive = false
        }
    }

    func writeHTTP1(_ exchange: HTTPExchange, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard !bytes.isEmpty else { return isWritable }
        if exchange.isUpgraded {
            output.append(bytes)
        } else {
            if let left = exchange.announced {
                guard bytes.count <= left else {
                    // What would follow could be read as another answer: better no connection than that.
                    abortConnection()
                    return false
                }
                exchange.announced = left - bytes.count
            }
            guard !exchange.omitsBody else { return true }
            if exchange.isChunked {
                HTTP1Encoder.chunkHeader(bytes.count, into: &output)
                output.append(bytes)
                output.append("\r\n")
            } else {
                output.append(bytes)
            }
        }
        if output.count >= 64 << 10 { flush() }
        return isWritable
    }

    func finishHTTP1(_ exchange: HTTPExchange, _ trailers: HTTPHeaders) {
        if exchange.isUpgraded {
            flush()
            shutdownWrite()
            if peerEnded { closeConnection() }
            return
        }
        if let left = exchange.announced, left > 0, !exchange.omitsBody {
            // Fewer bytes than announced: only a cut connection tells the client.
            return abortConnection()
        }
        if exchange.isChunked, !exchange.omitsBody { HTTP1Encoder.lastChunk(trailers, into: &output) }
        answerEnded(exchange)
    }

    /// The answer is complete; goes on to the next request when the request is complete too.
    private func answerEnded(_ exchange: HTTPExchange) {
        switch phase {
        case .body, .trailers:
            // Whatever is left of the request is thrown away.
            over(exchange)
            return linger()
        case .answer: break
        case .head, .tunnel, .lingering: return
        }
        over(exchange)
        guard keepsAlive, !shared.isDraining else { return linger() }
        phase = .head
        headHasBegun = false
        setDeadline(shared.times.idle)
        if !isProcessing, !input.isEmpty {
            processInput()
            if !isClosed, input.count <= limits.headerBytes { resumeReading() }
        }
    }

    var canUpgrade: Bool { wantsUpgrade && phase == .answer }

    func upgrade(_ exchange: HTTPExchange, _ headers: HTTPHeaders) {
        begin()
        defer { end() }
        shared.counters.responses[1] += 1
        shared.withDate { date in
            HTTP1Encoder.response(101, headers, .unsaid, close: false, date: date, into: &output)
        }
        phase = .tunnel
        deadline = ServerLoop.never
    }

    // MARK: Other events

    func endedHTTP1() {
        switch phase {
        case .head, .lingering: closeConnection()
        case .body, .trailers:
            // The request can never be complete.
            abortConnection()
        case .answer:
            keepsAlive = false
            if let exchange { service.peerStoppedSending(exchange) }
        case .tunnel:
            guard let exchange else { return closeConnection() }
            service.end(exchange, trailers: HTTPHeaders())
            if exchange.hasFinished { closeConnection() }
        }
    }

    func drainedHTTP1() {
        if let exchange, exchange.connection != nil, !exchange.hasFinished { service.drained(exchange) }
    }

    func deadlinePassedHTTP1() {
        switch phase {
        case .head:
            guard headHasBegun else { return closeConnection() }
            shared.counters.timeouts += 1
            refuse(408, "the request's header block took longer than \(limits.headerTimeout)")
        case .body, .trailers:
            shared.counters.timeouts += 1
            if let exchange {
                let answered = exchange.hasStarted
                over(exchange)
                if answered { return abortConnection() }
            }
            keepsAlive = false
            refuse(408, "no byte of the request's body for \(limits.bodyTimeout)")
        case .answer, .tunnel: deadline = ServerLoop.never
        case .lingering: closeConnection()
        }
    }

    func drainHTTP1() {
        keepsAlive = false
        if case .head = phase { closeConnection() }
    }
}
