import Reactor

/// A complete response.
public struct HTTPResponse: Sendable {
    public var status: Int
    public var headers: HTTPHeaders
    public var body: [UInt8]
    public var trailers: HTTPHeaders
    public var version: HTTPVersion

    public var isSuccess: Bool { (200..<300).contains(status) }
    public var text: String { String(decoding: body, as: UTF8.self) }
}

/// A response whose body is still coming: a watch, a log, an upgraded connection. One task at a time may read.
///
/// Letting go of it ends the exchange.
public final class HTTPResponseStream: Sendable {
    public let status: Int
    public let headers: HTTPHeaders
    public let version: HTTPVersion
    private let exchange: ClientExchange
    /// Keeps the connection's owner alive for as long as the stream is.
    private let client: HTTPClient

    init(_ exchange: ClientExchange, of client: HTTPClient, _ head: ClientExchange.Head) {
        self.exchange = exchange
        self.client = client
        status = head.status
        headers = head.headers
        version = head.version
    }

    deinit {
        let exchange = exchange
        exchange.loop.submit { exchange.cancel() }
    }

    /// The next bytes of the body, at least one; nil at its end.
    ///
    /// - Parameter timeout: the longest silence; nil waits for ever. What keeps a watch honest is the server's bookmarks.
    /// - Throws: `HTTPError` if the connection breaks or the time passes, `CancellationError` if the task is cancelled.
    public func next(timeout: Duration? = nil) async throws -> [UInt8]? { try await exchange.next(timeout: timeout) }

    /// The rest of the body.
    ///
    /// - Throws: `HTTPError` (`.limit`) if it is longer than `limit` bytes.
    public func collect(limit: Int, timeout: Duration? = nil) async throws -> [UInt8] {
        var body: [UInt8] = []
        while let piece = try await next(timeout: timeout) {
            guard body.count + piece.count <= limit else {
                throw HTTPError(.limit, "the response is longer than \(limit) bytes")
            }
            if body.isEmpty { body = piece } else { body += piece }
        }
        return body
    }

    /// What followed the body; known after `next` returned nil.
    public func trailers() async -> HTTPHeaders { await exchange.receivedTrailers() }

    /// On an upgraded connection: sends raw bytes, suspends while the server is slower than we are.
    public func write(_ bytes: [UInt8]) async throws { try await exchange.write(bytes) }

    /// On an upgraded connection: says that we send no more.
    public func finishWriting() async { await exchange.finishWriting() }

    /// Ends the exchange now.
    public func cancel() {
        let exchange = exchange
        exchange.loop.submit { exchange.cancel() }
    }
}
