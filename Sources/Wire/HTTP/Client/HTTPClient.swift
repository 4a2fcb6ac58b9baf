import Bytes
import Reactor
import TLS

/// Requests to one server, from any task; the work happens on one loop. Keeps connections alive, shares an HTTP/2 connection where
/// the server speaks it, and repeats a request that a dying kept connection swallowed if that is safe.
public final class HTTPClient: Sendable {
    public let endpoint: HTTPEndpoint
    public let limits: HTTPClientLimits
    private let pool: ConnectionPool
    private let tls: TLSReference
    /// Sent with every request that does not say otherwise.
    private let headers: HTTPHeaders

    /// Attempts for one request: the first, and two more while failures are safe to retry.
    static let attempts = 3

    /// - Parameters:
    ///   - tls: needed for `https`. Offer `["h2", "http/1.1"]` to share connections.
    ///   - headers: sent with every request, e.g. `user-agent`, `authorization`.
    public init(
        on loop: EventLoop, endpoint: HTTPEndpoint, tls: TLSContext? = nil, headers: HTTPHeaders = HTTPHeaders(),
        limits: HTTPClientLimits = .standard
    ) {
        self.endpoint = endpoint
        self.limits = limits
        self.headers = headers
        self.tls = TLSReference(tls)
        pool = ConnectionPool(loop, endpoint: endpoint, tls: self.tls, limits: limits)
    }

    deinit {
        let pool = pool
        pool.loop.submit { pool.shutDown() }
    }

    /// Sends a request and collects the response.
    ///
    /// - Parameters:
    ///   - path: path and query, percent-encoded, with its leading slash.
    ///   - timeout: for everything together; nil waits for ever.
    /// - Throws: `HTTPError`; a status such as 404 is not an error here.
    public func request(
        _ method: String = "GET", _ path: String, headers: HTTPHeaders = HTTPHeaders(), body: [UInt8] = [],
        timeout: Duration? = .seconds(30)
    ) async throws -> HTTPResponse {
        try await withDeadline(timeout) {
            let stream = try await self.send(method, path, headers, body, headTimeout: nil)
            let bytes = try await stream.collect(limit: self.limits.bodyBytes)
            return HTTPResponse(
                status: stream.status, headers: stream.headers, body: bytes, trailers: await stream.trailers(),
                version: stream.version)
        }
    }

    /// Sends a request and returns when the response's head has come; its body is read from the stream.
    ///
    /// - Parameter headTimeout: until the head is complete; nil waits for ever.
    public func stream(
        _ method: String = "GET", _ path: String, headers: HTTPHeaders = HTTPHeaders(), body: [UInt8] = [],
        headTimeout: Duration? = .seconds(30)
    ) async throws -> HTTPResponseStream {
        try await send(method, path, headers, body, headTimeout: headTimeout)
    }

    /// Asks to switch protocols (`Upgrade: websocket` and the like). With status 101 the stream carries raw bytes both ways;
    /// any other status is an ordinary response. HTTP/1.1 only.
    public func upgrade(
        _ method: String = "GET", _ path: String, protocol name: String, headers: HTTPHeaders = HTTPHeaders(),
        headTimeout: Duration? = .seconds(30)
    ) async throws -> HTTPResponseStream {
        var headers = headers
        headers["connection"] = "Upgrade"
        headers["upgrade"] = name
        return try await send(method, path, headers, [], headTimeout: headTimeout)
    }

    /// Uses another context for connections that come from now on. Those that stand finish what they carry, and take nothing more.
    public func replaceTLS(_ context: TLSContext) {
        tls.replace(context)
        let pool = pool
        pool.loop.submit { pool.retire() }
    }

    /// Ends all exchanges and connections.
    public func close() {
        let pool = pool
        pool.loop.submit { pool.shutDown() }
    }

    private func send(
        _ method: String, _ path: String, _ headers: HTTPHeaders, _ body: [UInt8], headTimeout: Duration?
    ) async throws -> HTTPResponseStream {
        guard path.utf8.first == UInt8(ascii: "/") || path == "*", isTarget(path), isToken(method) else {
            throw HTTPError(.usage, "\(method) \"\(path)\" is not a request that can be sent")
        }
        var all = headers
        for (name, value) in self.headers where all[name] == nil { all.add(name, value) }
        // Who asks for another host than the one it is connected to says so: a proxy, or a health check.
        let authority = all["host"] ?? pool.endpoint.authority
        all.remove("host")
        let complete = all
        let pool = pool
        let limits = limits
        let target = endpoint.basePath + path
        return try await withTaskExecutorPreference(pool.loop) {
            var attempt = 1
            while true {
                let exchange = ClientExchange(pool.loop, method: HTTPMethod(method), limits: limits)
                do {
                    let connection = try await pool.acquire(fresh: attempt > 1)
                    try connection.begin(
                        exchange, method, target, authority: authority, headers: complete, body: body)
                    let head = try await exchange.awaitHead(timeout: headTimeout)
                    return HTTPResponseStream(exchange, of: self, head)
                } catch let error as HTTPError
                    where error.isRetrySafe && error.kind == .closed && attempt < Self.attempts
                {
                    attempt += 1
                }
            }
        }
    }

    private func withDeadline<R: Sendable>(
        _ limit: Duration?, _ body: @escaping @Sendable () async throws -> R
    ) async throws -> R {
        guard let limit else { return try await body() }
        do {
            return try await withTimeout(limit, on: pool.loop, body)
        } catch is TimeoutError {
            throw HTTPError(.timeout, "no answer from \(endpoint) after \(limit)")
        }
    }

    private func isTarget(_ path: String) -> Bool {
        let table = CharacterClasses.shared.table
        return path.utf8.allSatisfy { table[Int($0)] & CharacterClasses.target != 0 }
    }

    private func isToken(_ text: String) -> Bool { !text.isEmpty && text.utf8.allSatisfy { isTokenCharacter($0) } }
}
