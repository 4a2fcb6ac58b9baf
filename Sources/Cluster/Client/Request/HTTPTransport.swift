import ClusterAPI
public import HTTP
public import JSON
public import Reactor
import Synchronization
public import TLS

/// Requests to an API server over HTTP, with the credentials of a `KubeConfig`.
///
/// HTTP/2 where the server offers it, so that all watches of a process share one connection.
public final class HTTPTransport: APITransport {
    /// Response bodies are refused above this many bytes; a page of a list stays far below it.
    public static let responseLimit = 64 << 20
    /// One object of a watch stream at most; the API allows objects of 3 MiB.
    public static let frameLimit = 8 << 20
    /// How long a request other than a watch may take.
    public static let requestTimeout: Duration = .seconds(60)
    /// A watch without a byte for this long is taken for dead: servers send bookmarks every minute.
    public static let watchSilence: Duration = .seconds(180)
    /// How long a token file's content is used before it is read again.
    static let tokenLifetime: Duration = .seconds(60)

    private let client: HTTPClient
    private let config: KubeConfig
    private let credential: KubeConfig.Credential
    private let userAgent: String
    private let token = Mutex<(text: String, readAt: MonotonicTime)?>(nil)

    /// - Parameters:
    ///   - loop: where the connections live.
    ///   - userAgent: `weft-node/v1.36.0`, for instance; servers log it and take the default field manager from it.
    public init(_ config: KubeConfig, on loop: EventLoop, userAgent: String) throws {
        guard let endpoint = HTTPEndpoint(config.server) else {
            throw KubeConfigError("server \"\(config.server)\" is not a URL like https://10.0.0.1:6443")
        }
        var context: TLSContext?
        if endpoint.isSecure {
            let identity =
                config.clientCertificate.isEmpty
                ? nil
                : try TLSIdentity(
                    certificatePEM: Self.text(config.clientCertificate), keyPEM: Self.text(config.clientKey))
            context = try Self.context(config, identity)
        }
        var limits = HTTPClientLimits()
        limits.bodyBytes = Self.responseLimit
        client = HTTPClient(on: loop, endpoint: endpoint, tls: context, limits: limits)
        self.config = config
        credential = config.credential
        self.userAgent = userAgent
    }

    private static func text(_ pem: [UInt8]) -> String { String(decoding: pem, as: UTF8.self) }

    private static func context(_ config: KubeConfig, _ identity: TLSIdentity?) throws -> TLSContext {
        try TLSContext(
            connecting: config.certificateAuthority.isEmpty ? nil : TrustPool(pem: text(config.certificateAuthority)),
            identity: identity, protocols: ["h2", "http/1.1"],
            verification: config.skipsTLSVerify ? .none : .nameAndTrust)
    }

    /// Shows another client certificate from the next request on; watches that stand go on to their end.
    public func show(_ identity: TLSIdentity) throws { client.replaceTLS(try Self.context(config, identity)) }

    /// Ends all requests and watches.
    public func close() { client.close() }

    public func send(_ request: APIRequest) async throws -> JSONValue {
        let (method, contentType) = Self.method(request.verb)
        var headers = try await commonHeaders()
        if request.body != nil { headers["content-type"] = contentType }
        let response = try await client.request(
            method, request.target, headers: headers, body: request.body?.encoded() ?? [], timeout: Self.requestTimeout)
        return try Self.decode(response.status, response.body)
    }

    public func document(_ path: String) async throws -> JSONValue {
        let response = try await client.request(
            "GET", path, headers: try await commonHeaders(), timeout: Self.requestTimeout)
        return try Self.decode(response.status, response.body)
    }

    public func watch(_ request: APIRequest) async throws -> any WatchStream {
        var request = request
        request.parameters.append(("watch", "1"))
        let response = try await client.stream(
            "GET", request.target, headers: try await commonHeaders(), headTimeout: Self.requestTimeout)
        guard response.status == 200 else {
            let body = try await response.collect(limit: Self.frameLimit, timeout: Self.requestTimeout)
            _ = try Self.decode(response.status, body)
            throw StatusError.internalError("a watch was answered with status \(response.status)")
        }
        return HTTPWatch(response)
    }

    /// A page that is no object: status and bytes as they are, whatever they say.
    public func page(_ method: String = "GET", _ path: String) async throws -> HTTPResponse {
        try await client.request(method, path, headers: try await commonHeaders(), timeout: Self.requestTimeout)
    }

    /// Lines of a container's log, as they come; for `weft logs` and tests.
    public func stream(_ path: String) async throws -> HTTPResponseStream {
        try await client.stream("GET", path, headers: try await commonHeaders(), headTimeout: Self.requestTimeout)
    }

    private static func method(_ verb: APIRequest.Verb) -> (name: String, contentType: String) {
        switch verb {
        case .get, .list: ("GET", "application/json")
        case .create: ("POST", "application/json")
        case .update: ("PUT", "application/json")
        case .delete, .deleteCollection: ("DELETE", "application/json")
        case .patch(let type): ("PATCH", type.rawValue)
        }
    }

    private func commonHeaders() async throws -> HTTPHeaders {
        var headers = HTTPHeaders()
        headers["accept"] = "application/json"
        headers["user-agent"] = userAgent
        switch credential {
        case .none: break
        case .token(let text): headers["authorization"] = "Bearer \(text)"
        case .tokenFile(let path): headers["authorization"] = "Bearer \(try freshToken(path))"
        }
        return headers
    }

    private func freshToken(_ path: String) throws -> String {
        try token.withLock { token in
            if let current = token, MonotonicTime.now().duration(since: current.readAt) < Self.tokenLifetime {
                return current.text
            }
            let bytes = try Files.read(path, limit: KubeConfig.materialLimit)
            let text =
                String(decoding: bytes, as: UTF8.self)
                .split(whereSeparator: \.isWhitespace).first.map(String.init) ?? ""
            token = (text, .now())
            return text
        }
    }

    private static func decode(_ status: Int, _ body: [UInt8]) throws -> JSONValue {
        let json = try? JSONValue.parse(body)
        guard (200..<300).contains(status) else {
            if let error = json.flatMap(StatusError.init(json:)) { throw error }
            throw StatusError.unexpected(status, String(decoding: body.prefix(200), as: UTF8.self))
        }
        guard let json else { throw StatusError.internalError("the server's answer is not JSON") }
        return json
    }
}

/// A watch as JSON lines.
private final class HTTPWatch: WatchStream {
    private let response: HTTPResponseStream
    private let buffer = Mutex<(bytes: [UInt8], start: Int)>(([], 0))

    init(_ response: HTTPResponseStream) { self.response = response }

    deinit { response.cancel() }

    func next() async throws -> WatchEvent? {
        while true {
            if let line = buffer.withLock({ Self.takeLine(&$0) }) { return try Self.event(line) }
            guard let chunk = try await response.next(timeout: HTTPTransport.watchSilence) else {
                // The last line may lack its end.
                let rest = buffer.withLock { buffer in
                    defer { buffer = ([], 0) }
                    return Array(buffer.bytes[buffer.start...])
                }
                return rest.allSatisfy { $0 <= 0x20 } ? nil : try Self.event(rest)
            }
            let size = buffer.withLock { buffer in
                if buffer.start > 0 {
                    buffer.bytes.removeFirst(buffer.start)
                    buffer.start = 0
                }
                buffer.bytes += chunk
                return buffer.bytes.count
            }
            guard size <= HTTPTransport.frameLimit + chunk.count else {
                throw StatusError.internalError("a watch event is larger than \(HTTPTransport.frameLimit) bytes")
            }
        }
    }

    private static func takeLine(_ buffer: inout (bytes: [UInt8], start: Int)) -> [UInt8]? {
        while let end = buffer.bytes[buffer.start...].firstIndex(of: UInt8(ascii: "\n")) {
            let line = buffer.bytes[buffer.start..<end]
            buffer.start = end + 1
            if !line.isEmpty { return Array(line) }
        }
        return nil
    }

    private static func event(_ line: [UInt8]) throws -> WatchEvent {
        let json = try JSONValue.parse(line)
        guard let kind = json["type"]?.string.flatMap(WatchEvent.Kind.init(rawValue:)), let object = json["object"]
        else { throw StatusError.internalError("a watch event without type or object") }
        return WatchEvent(kind: kind, object: KubeObject(json: object))
    }
}
