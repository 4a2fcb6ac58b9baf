import Bytes
import HTTP
import Reactor

/// What an active health check sends to a host, and what it makes of the answer. Immutable.
enum HealthProbe: Sendable {
    struct HTTPRequest: Sendable {
        /// Empty for the cluster's name.
        var host: String
        var path: String
        var method: String
        var headers: [(name: String, value: String)]
        var expectation: HTTPHealthExpectation
        /// The next check goes over the same connection.
        var reusesConnection: Bool
    }

    case http(HTTPRequest)
    /// Connects, says `send`, and waits until all of `receive` came; nothing of both is only a connection.
    case tcp(send: [UInt8], receive: PayloadMatcher)

    /// Answers of a TCP check are looked at up to so many bytes.
    static let largestAnswer = 64 << 10

    /// One probe. Over `client`, where there is one.
    func run(
        _ address: SocketAddress, cluster: String, _ client: HTTPClient?, on loop: EventLoop, timeout: Duration
    ) async -> HealthCheckResult {
        do {
            switch self {
            case .http(let request):
                guard let endpoint = HTTPEndpoint(address) else { return .failure(.network) }
                return try await Self.run(
                    request, cluster, client ?? HTTPClient(on: loop, endpoint: endpoint), timeout: timeout)
            case .tcp(let send, let receive):
                return try await withTimeout(timeout, on: loop) {
                    try await Self.run(send, receive, address, on: loop, timeout: timeout)
                }
            }
        } catch let error as HTTPError {
            return .failure(error.kind == .timeout ? .timeout : .network)
        } catch let error as SystemError {
            return .failure(error.errno == 110 ? .timeout : .network)
        } catch {
            return .failure(error is TimeoutError ? .timeout : .network)
        }
    }

    private static func run(
        _ request: HTTPRequest, _ cluster: String, _ client: HTTPClient, timeout: Duration
    ) async throws -> HealthCheckResult {
        var headers: HTTPHeaders = [
            "host": request.host.isEmpty ? cluster : request.host, "user-agent": "Envoy/HC",
        ]
        for (name, value) in request.headers { headers.add(name, value) }
        let answer = try await client.request(request.method, request.path, headers: headers, timeout: timeout)
        return request.expectation.judge(
            status: answer.status, body: answer.body, isDegraded: answer.headers["x-envoy-degraded"] != nil)
    }

    private static func run(
        _ send: [UInt8], _ receive: PayloadMatcher, _ address: SocketAddress, on loop: EventLoop, timeout: Duration
    ) async throws -> HealthCheckResult {
        let connection = try await StreamConnection.connect(to: address, on: loop, timeout: timeout)
        defer { connection.close() }
        if !send.isEmpty { try await connection.write(send) }
        var answer: [UInt8] = []
        while !receive.matches(answer) {
            let more = try await connection.read()
            guard !more.isEmpty, answer.count < largestAnswer else { return .failure(.network) }
            answer += more
        }
        return .success(isDegraded: false)
    }
}
