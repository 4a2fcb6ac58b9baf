import Bytes
import GRPC
import HTTP
import Protobuf
import Reactor
import TLS
import XDS

/// What an active health check sends to a host, and what it makes of the answer. Immutable.
enum HealthProbe: Sendable {
    struct HTTPRequest: Sendable {
        /// Empty for the cluster's name.
        var host: String
        var path: String
        var method: String
        var headers: [(name: String, value: String)]
        var expectation: HTTPHealthExpectation
        var speaksHTTP2: Bool
        /// Of a method that may have one.
        var body: [UInt8] = []
    }

    /// `grpc.health.v1.Health/Check`
    struct GRPCRequest: Sendable {
        /// Empty for the server as a whole.
        var service: String
        /// Empty for the cluster's name.
        var authority: String
        var metadata: [(name: String, value: String)]
    }

    /// How a probe ended.
    struct Answer: Sendable {
        var result: HealthCheckResult
        /// 0 where nothing was answered over HTTP.
        var httpStatus = 0
    }

    /// Where a probe goes, and how the connection is protected.
    struct Target {
        var address: SocketAddress
        /// What probes leave from, as the cluster's own connections do (`upstream_bind_config`).
        var source: SocketAddress?
        /// nil for plaintext.
        var tls: TLSContext?
        var serverName: String?
        /// What ALPN offers; empty for the context's own.
        var protocols: [String]
    }

    case http(HTTPRequest)
    case grpc(GRPCRequest)
    /// Connects, says `send`, and waits until all of `receive` came; nothing of both is only a connection.
    case tcp(send: [UInt8], receive: PayloadMatcher)

    /// Which HTTP it speaks; nil for none.
    var dialect: HTTPEndpoint.Dialect? {
        switch self {
        case .http(let request): request.speaksHTTP2 ? .http2 : .http1
        case .grpc: .http2
        case .tcp: nil
        }
    }

    /// What events call it.
    var checkerName: String {
        switch self {
        case .http: "HTTP"
        case .grpc: "GRPC"
        case .tcp: "TCP"
        }
    }

    /// What ALPN calls that.
    var protocolName: String? { dialect.map { $0 == .http2 ? "h2" : "http/1.1" } }

    /// What carries the probes to a host; nil for those over plain connections.
    func client(_ target: Target, on loop: EventLoop) -> HTTPClient? {
        guard let dialect, var endpoint = HTTPEndpoint(target.address, isSecure: target.tls != nil) else { return nil }
        endpoint.dialect = dialect
        endpoint.serverName = target.serverName
        endpoint.protocols = target.protocols
        endpoint.source = target.source?.address
        return HTTPClient(on: loop, endpoint: endpoint, tls: target.tls)
    }

    /// One probe over HTTP.
    ///
    /// - Parameters:
    ///   - authority: of this host's probes; empty for what the configuration says.
    ///   - cluster: stands for the authority where the configuration says nothing either.
    func run(
        over client: HTTPClient, authority: String, cluster: String, timeout: Duration
    ) async -> Answer {
        func name(_ configured: String) -> String {
            authority.isEmpty ? configured.isEmpty ? cluster : configured : authority
        }
        do {
            switch self {
            case .http(let request): return try await Self.run(request, name(request.host), client, timeout)
            case .grpc(let request): return try await Self.run(request, name(request.authority), client, timeout)
            case .tcp: preconditionFailure("TCP needs no client")
            }
        } catch {
            return Answer(result: .failure((error as? HTTPError)?.kind == .timeout ? .timeout : .network))
        }
    }

    private static func run(
        _ request: HTTPRequest, _ authority: String, _ client: HTTPClient, _ timeout: Duration
    ) async throws -> Answer {
        let headers = headers(host: authority, request.headers)
        let answer = try await client.request(
            request.method, request.path, headers: headers, body: request.body, timeout: timeout)
        let result = request.expectation.judge(
            status: answer.status, body: answer.body, isDegraded: answer.headers["x-envoy-degraded"] != nil)
        return Answer(result: result, httpStatus: answer.status)
    }

    private static func run(
        _ request: GRPCRequest, _ authority: String, _ client: HTTPClient, _ timeout: Duration
    ) async throws -> Answer {
        var headers = headers(host: authority, request.metadata)
        headers.add("te", "trailers")
        headers.add("content-type", "application/grpc")
        let answer = try await client.request(
            "POST", "/grpc.health.v1.Health/Check", headers: headers, body: GRPCHealth.request(request.service),
            timeout: timeout)
        // A call that ends with its head carries its status there.
        let status = answer.trailers["grpc-status"] ?? answer.headers["grpc-status"]
        let result = GRPCHealth.judge(
            grpcStatus: answer.status == 200 ? status.flatMap { Int($0) } : nil,
            servingStatus: GRPCHealth.servingStatus(in: answer.body))
        return Answer(result: result)
    }

    private static func headers(host: String, _ more: [(name: String, value: String)]) -> HTTPHeaders {
        var headers: HTTPHeaders = ["host": host, "user-agent": "Envoy/HC"]
        for (name, value) in more { headers.add(name, value) }
        return headers
    }
}

/// `grpc.health.v1.Health`: what is asked and what the answers mean.
enum GRPCHealth {
    /// The body that asks for a service.
    static func request(_ service: String) -> [UInt8] {
        var message = ReverseBuffer()
        message.prepend(field: 1, bytes: Array(service.utf8))
        return GRPCMessages.framed(message.bytes)
    }

    /// What the one message of an answer says; nil when it is no such message.
    static func servingStatus(in body: [UInt8]) -> Int? {
        var messages = GRPCMessages(limit: 1 << 20)
        messages.append(body)
        guard let message = try? messages.next(), messages.waiting == 0 else { return nil }
        return message.withUnsafeBytes { bytes in
            var fields = ProtobufReader<ConfigError>(bytes)
            var status = 0
            do {
                while let field = try fields.next() {
                    if field.number == 1, field.wire == .varint { status = Int(truncatingIfNeeded: field.scalar) }
                }
            } catch { return nil }
            return status
        }
    }

    /// `HealthCheckResponse.ServingStatus`: UNKNOWN 0, SERVING 1, NOT_SERVING 2, SERVICE_UNKNOWN 3.
    static func judge(grpcStatus: Int?, servingStatus: Int?) -> HealthCheckResult {
        grpcStatus == 0 && servingStatus == 1 ? .success(isDegraded: false) : .failure(.definite)
    }
}
