import Bytes
import Reactor
import TLS

/// The hot face of the server: requests as events on a loop, without tasks, copies or allocations of ours.
///
/// One object serves one loop, and all its calls come on that loop. The order for each exchange is `head`, any number of
/// `body`, `end`, and once, whatever happened, `closed`. The response may begin at any of them or later.
/// The cool face, `HTTPHandler`, is one such service.
public protocol HTTPService: AnyObject {
    /// A request has begun. `head` is valid during the call only. Answering at once with an error, before the body, is
    /// allowed: the body is then thrown away.
    func head(_ head: MessageHead, of exchange: HTTPExchange)
    /// Bytes of the body, or of an upgraded connection; valid during the call only.
    func body(_ bytes: UnsafeRawBufferPointer, of exchange: HTTPExchange)
    /// The request is complete; on an upgraded connection: the peer sends no more.
    func end(_ exchange: HTTPExchange, trailers: HTTPHeaders)
    /// What was queued for the peer has gone below the low-water mark after `write` had returned false.
    func drained(_ exchange: HTTPExchange)
    /// The exchange is over: answered in full, or the peer or a limit ended it. Nothing may be written any more.
    func closed(_ exchange: HTTPExchange)
    /// The peer has said that it sends no more while its answer is still being made. Most such clients are gone for good,
    /// some wait for the answer; a service that answers without end stops here.
    func peerStoppedSending(_ exchange: HTTPExchange)
}

/// One request and its answer, on HTTP/1 or HTTP/2. Belongs to its connection's loop.
public final class HTTPExchange {
    /// Whatever the service keeps with this exchange.
    public var context: AnyObject?
    public internal(set) var method = HTTPMethod.other
    public internal(set) var version = HTTPVersion.http11
    /// The response has begun.
    public internal(set) var hasStarted = false
    /// The response is complete as far as the service is concerned.
    public internal(set) var hasFinished = false
    var isUpgraded = false
    /// Nil once the exchange is over.
    var connection: ServerConnection?
    var stream: HTTP2Stream?
    /// Body bytes of a response without a body (HEAD, 204, 304) are counted but not sent.
    var omitsBody = false
    var isChunked = false
    /// Left of the length that the response announced; nil where none was.
    var announced: Int?

    init() {}

    /// Nothing can be written any more.
    public var isClosed: Bool { connection == nil }
    public var peer: SocketAddress? { connection?.peerAddress }
    /// The client's side of TLS; nil on a plain connection.
    public var tls: TLSSession.Peer? { connection?.tlsPeer }
    public var isSecure: Bool { connection?.isSecure ?? false }
    /// Gives back the memory behind `tls`, which is read again when it is asked for: for exchanges that rest for hours.
    public func forgetTLS() { connection?.forgetTLSPeer() }

    /// Answers in one piece. `headers` need no length, date or connection fields.
    public func respond(_ status: Int, _ headers: HTTPHeaders, body: UnsafeRawBufferPointer) {
        guard let connection, !hasStarted else { return }
        hasStarted = true
        hasFinished = true
        connection.respond(self, status, headers, body)
    }

    public func respond(_ status: Int, _ headers: HTTPHeaders = HTTPHeaders(), body: [UInt8] = []) {
        body.withUnsafeBytes { respond(status, headers, body: $0) }
    }

    /// Begins an answer whose body follows with `write` and `finish`.
    ///
    /// - Parameter length: the body's length if it is known. On HTTP/1.0 a body without one ends with its connection.
    public func start(_ status: Int, _ headers: HTTPHeaders, length: Int? = nil) {
        guard let connection, !hasStarted, status >= 200 else { return }
        hasStarted = true
        connection.start(self, status, headers, length: length)
    }

    /// Queues body bytes. More than `start` announced ends the connection.
    ///
    /// - Returns: whether more is welcome now; after false wait for `drained`.
    @discardableResult
    public func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let connection, hasStarted, !hasFinished else { return false }
        return connection.write(self, bytes)
    }

    /// The body is complete.
    public func finish(trailers: HTTPHeaders = HTTPHeaders()) {
        guard let connection, hasStarted, !hasFinished else { return }
        hasFinished = true
        connection.finish(self, trailers)
    }

    /// Answers `101 Switching Protocols`: from now on `body` and `write` carry the raw bytes of the connection.
    ///
    /// - Returns: false if the request did not ask for an upgrade or its connection cannot do it (HTTP/2).
    public func upgrade(_ headers: HTTPHeaders) -> Bool {
        guard let connection, !hasStarted, stream == nil, connection.canUpgrade else { return false }
        hasStarted = true
        isUpgraded = true
        connection.upgrade(self, headers)
        return true
    }

    /// Ends the exchange without an orderly answer: the peer sees a cut connection or a reset stream, never a short
    /// answer that looks complete.
    public func abort() { connection?.abort(self) }

    /// Bytes queued for the peer and not yet taken by the kernel (HTTP/1) or the peer's window (HTTP/2).
    public var queuedBytes: Int { connection?.queuedBytes(of: self) ?? 0 }

    /// `write` has returned false and `drained` has not come yet.
    public var mustWaitForDrain: Bool {
        if let stream { return stream.isAboveHighWater }
        return connection.map { !$0.isWritable } ?? false
    }

    func prepareForNext() {
        context = nil
        hasStarted = false
        hasFinished = false
        isUpgraded = false
        omitsBody = false
        isChunked = false
        announced = nil
        stream = nil
    }
}
