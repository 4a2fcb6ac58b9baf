import Bytes
import CNghttp2
import Reactor
import TLS

/// One client's connection: finds out which protocol it speaks and carries its exchanges. Belongs to one loop.
///
/// HTTP/1 lives in `ServerConnection+HTTP1.swift`, HTTP/2 in `ServerConnection+HTTP2.swift`. Every entry from outside runs between
/// `begin` and `end`, which gather output so that one event costs at most one write.
final class ServerConnection: Channel, @unchecked Sendable {
    enum Speaks { case undecided, http1, http2(HTTP2Session) }

    /// What a client's HTTP/1 bytes mean next.
    enum Phase {
        /// The head of a request.
        case head
        case body
        case trailers
        /// Nothing until the answer is complete: requests sent ahead wait.
        case answer
        /// Raw bytes of an upgraded connection.
        case tunnel
        /// We have said the last word; what still comes is thrown away so that the kernel does not reset what we said.
        case lingering
    }

    let shared: ServerLoop
    /// Position in `shared.connections`, -1 when not in it.
    var index = -1
    var speaks = Speaks.undecided
    /// When what the connection waits for must have come.
    var deadline = ServerLoop.never
    /// Bytes received and not yet used: a head in pieces, or requests sent ahead. Empty on an idle connection.
    var input = GrowingBytes()
    /// Bytes to be written at the end of the present event.
    var output = GrowingBytes()
    private var depth = 0
    /// When the peer must have taken some of the output that waits for it, of which it had taken `written` bytes when that was
    /// last looked at.
    private(set) var writeDeadline = ServerLoop.never
    private var written: UInt64 = 0
    private(set) var isClosed = false
    var peerEnded = false

    // HTTP/1
    var phase = Phase.head
    var parser: HTTP1Parser
    var decoder = BodyDecoder(.none)
    var exchange: HTTPExchange?
    var keepsAlive = true
    var wantsUpgrade = false
    var lingeredBytes = 0
    /// Part of a head has arrived, so that the clock of `headerTimeout` runs.
    var headHasBegun = false
    /// `processHTTP1` is running and will go on by itself when an answer is complete.
    var isProcessing = false

    init(_ socket: StreamSocket, tls: TLSContext?, loop: ServerLoop) throws(TLSError) {
        shared = loop
        parser = HTTP1Parser(.request, limits: loop.limits)
        super.init(try tls.map { context throws(TLSError) in try TLSSession(context) })
        attach(socket)
    }

    deinit {
        input.deallocate()
        output.deallocate()
    }

    var limits: HTTPLimits { shared.limits }
    var service: any HTTPService { shared.service }

    func open() {
        setDeadline(isSecure ? shared.times.handshake : shared.times.header)
        start()
    }

    // MARK: Events from the channel

    override func channelOpened() {
        setDeadline(shared.times.header)
        guard isSecure else { return }
        if negotiatedProtocol == "h2" { speakHTTP2() } else { speaks = .http1 }
    }

    override func channelReceived(_ bytes: UnsafeRawBufferPointer) {
        guard !isClosed else { return }
        begin()
        defer { end() }
        if input.isEmpty {
            let used = process(bytes)
            if !isClosed, used < bytes.count {
                input.append(UnsafeRawBufferPointer(rebasing: bytes[used...]))
            }
        } else {
            input.append(bytes)
            processInput()
        }
        limitInput()
    }

    /// Works on what is in `input`; used again when an answer is complete and the next request may begin.
    func processInput() {
        guard !input.isEmpty, !isClosed else { return }
        // `process` may end the connection, which empties `input`.
        let used = process(input.bytes)
        if used > 0, !input.isEmpty { input.removeFirst(min(used, input.count)) }
    }

    /// A client that sends ahead while its answer is being made is read no further once a head's worth waits.
    private func limitInput() {
        if input.count > limits.headerBytes { pauseReading() } else { resumeReading() }
    }

    private func process(_ bytes: UnsafeRawBufferPointer) -> Int {
        switch speaks {
        case .http1: return processHTTP1(bytes)
        case .http2(let session):
            receiveHTTP2(bytes, session)
            return bytes.count
        case .undecided:
            let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            let count = min(bytes.count, preface.utf8CodeUnitCount)
            let isPrefix = UnsafeRawBufferPointer(rebasing: bytes[..<count])
                .elementsEqual(UnsafeRawBufferPointer(start: preface.utf8Start, count: count))
            guard isPrefix else {
                speaks = .http1
                return processHTTP1(bytes)
            }
            guard count == preface.utf8CodeUnitCount else { return 0 }
            speakHTTP2()
            return process(bytes)
        }
    }

    override func channelEnded() {
        guard !isClosed else { return }
        begin()
        defer { end() }
        peerEnded = true
        switch speaks {
        case .undecided: closeConnection()
        case .http1: endedHTTP1()
        case .http2: closeConnection()
        }
    }

    override func channelDrained() {
        guard !isClosed else { return }
        begin()
        defer { end() }
        switch speaks {
        case .undecided: break
        case .http1: drainedHTTP1()
        case .http2: break  // `end` asks the session for more.
        }
    }

    override func channelClosed(_ error: (any Error)?) {
        if case .undecided = speaks, error is TLSError { shared.counters.handshakeFailures += 1 }
        if !isClosed { finishExchanges() }
        shared.remove(self)
    }

    func setDeadline(_ nanoseconds: UInt64) { deadline = shared.now &+ nanoseconds }

    // MARK: Output

    func begin() {
        if depth == 0, shared.spareOutput.capacity > 0 { swap(&output, &shared.spareOutput) }
        depth += 1
    }

    /// Sends what the event produced and gives the output memory back.
    func end() {
        depth -= 1
        guard depth == 0 else { return }
        if !isClosed {
            flush()
            if case .http2(let session) = speaks { sendHTTP2(session) }
        }
        output.clear()
        if shared.spareOutput.capacity == 0 { swap(&output, &shared.spareOutput) } else { output.deallocate() }
    }

    func flush() {
        guard !output.isEmpty else { return }
        transmit(output.bytes)
        output.clear()
    }

    func transmit(_ bytes: UnsafeRawBufferPointer) {
        send(bytes)
        if writeDeadline == ServerLoop.never, queuedBytes > 0 { watchOutput() }
    }

    /// The kernel did not take all: the peer has `writeTimeout` to take some of it.
    private func watchOutput() {
        writeDeadline = shared.now &+ shared.times.write
        written = writtenBytes
    }

    // MARK: The end

    /// A time limit may have passed: of the output, or of what the connection waits for.
    func checkDeadlines(_ now: UInt64) {
        if writeDeadline < now {
            if queuedBytes == 0 {
                writeDeadline = ServerLoop.never
            } else if writtenBytes != written {
                // An answer that is being taken, however slowly, goes on.
                watchOutput()
            } else {
                shared.counters.timeouts += 1
                return isClosed ? reset() : abortConnection()
            }
        }
        if deadline < now, !isClosed { deadlinePassed() }
    }

    private func deadlinePassed() {
        begin()
        defer { end() }
        switch speaks {
        case .undecided:
            shared.counters.timeouts += 1
            closeConnection()
        case .http1: deadlinePassedHTTP1()
        case .http2(let session): deadlinePassedHTTP2(session)
        }
    }

    func drain() {
        guard !isClosed else { return }
        begin()
        defer { end() }
        switch speaks {
        case .undecided: closeConnection()
        case .http1: drainHTTP1()
        case .http2(let session): drainHTTP2(session)
        }
    }

    /// Closes after what is queued has gone out.
    func closeConnection() {
        guard !isClosed else { return }
        if case .http2(let session) = speaks { try? sendFrames(of: session) }
        guard !isClosed else { return }
        flush()
        finishExchanges()
        // A peer that does not take the rest, TLS' last words included, is cut off by `checkDeadlines`.
        deadline = ServerLoop.never
        watchOutput()
        closeAfterWrite()
    }

    /// Closes now, with a reset, so that the peer cannot take what it has for the whole.
    func abortConnection() {
        guard !isClosed else { return }
        finishExchanges()
        reset()
    }

    /// Nothing more will be read or answered; the socket may live on to send what is queued.
    private func finishExchanges() {
        isClosed = true
        input.deallocate()
        if let exchange { over(exchange) }
        if case .http2(let session) = speaks {
            for stream in session.streams {
                if let exchange = stream.owner as? HTTPExchange { over(exchange) }
                stream.owner = nil
            }
        }
    }

    /// Tells the service, once, that an exchange is over.
    func over(_ exchange: HTTPExchange) {
        guard exchange.connection != nil else { return }
        exchange.connection = nil
        service.closed(exchange)
    }

    // MARK: What an exchange asks for

    func respond(_ exchange: HTTPExchange, _ status: Int, _ headers: HTTPHeaders, _ body: UnsafeRawBufferPointer) {
        begin()
        defer { end() }
        count(status)
        if let stream = exchange.stream {
            respondHTTP2(stream, exchange, status, headers, body)
        } else {
            respondHTTP1(exchange, status, headers, body)
        }
    }

    func start(_ exchange: HTTPExchange, _ status: Int, _ headers: HTTPHeaders, length: Int?) {
        begin()
        defer { end() }
        count(status)
        if let stream = exchange.stream {
            startHTTP2(stream, exchange, status, headers, length)
        } else {
            startHTTP1(exchange, status, headers, length)
        }
    }

    func write(_ exchange: HTTPExchange, _ bytes: UnsafeRawBufferPointer) -> Bool {
        begin()
        defer { end() }
        if let stream = exchange.stream { return writeHTTP2(stream, exchange, bytes) }
        return writeHTTP1(exchange, bytes)
    }

    func finish(_ exchange: HTTPExchange, _ trailers: HTTPHeaders) {
        begin()
        defer { end() }
        if let stream = exchange.stream {
            if case .http2(let session) = speaks { session.finish(stream, trailers: trailers) }
        } else {
            finishHTTP1(exchange, trailers)
        }
    }

    func abort(_ exchange: HTTPExchange) {
        guard let stream = exchange.stream else { return abortConnection() }
        begin()
        defer { end() }
        if case .http2(let session) = speaks { session.reset(stream, code: NGHTTP2_INTERNAL_ERROR) }
    }

    func queuedBytes(of exchange: HTTPExchange) -> Int {
        exchange.stream.map { $0.output.count } ?? (queuedBytes + output.count)
    }

    private func count(_ status: Int) {
        if (100..<600).contains(status) { shared.counters.responses[status / 100] += 1 }
    }
}
