import Bytes
import Glibc
import HTTP
import Reactor
import TLS

/// Asks a container one question, or does what a lifecycle hook says.
struct Prober: Sendable {
    var container: ContainerSpec
    var containerID: String
    /// The pod's address; the node's own for pods on the node's network.
    var address: String
    /// The address that questions to the pod's leave from; nil: any.
    var source: IPAddress?
    var loop: EventLoop
    /// Runs a command in the container.
    var exec: @Sendable (_ command: [String], _ timeout: Duration) async throws -> OCIRuntime.ExecResult

    struct Answer: Sendable {
        var success: Bool
        /// What users read when it failed.
        var output: String
    }

    /// As upstream's probes name themselves, so that servers recognise them.
    static let userAgent = "kube-probe/1.36"
    /// Probes ask whether a server answers, not who it is.
    private static let anyServer = try? TLSContext(connecting: nil, verification: .none)

    func run(_ action: ActionSpec, timeout: Duration) async -> Answer {
        do {
            switch action {
            case .exec(let command): return try await ask(command, timeout)
            case .http(let action): return try await http(action, timeout)
            case .tcp(let host, let port): return try await tcp(host, port, timeout)
            case .grpc(let port, let service): return try await grpc(port, service, timeout)
            case .sleep(let seconds):
                try await loop.sleep(for: .seconds(seconds))
                return Answer(success: true, output: "")
            }
        } catch is TimeoutError {
            return Answer(success: false, output: "no answer within \(timeout)")
        } catch {
            return Answer(success: false, output: "\(error)")
        }
    }

    private func ask(_ command: [String], _ timeout: Duration) async throws -> Answer {
        let result = try await exec(command, timeout)
        if result.timedOut {
            return Answer(
                success: false, output: "command \"\(command.joined(separator: " "))\" timed out after \(timeout)")
        }
        return Answer(success: result.code == 0, output: result.text)
    }

    private func tcp(_ host: String, _ port: PortReference, _ timeout: Duration) async throws -> Answer {
        let (address, port) = try target(host, port)
        let connection = try await StreamConnection.connect(
            to: .ip(address, port), on: loop, from: source(towards: address).map { .ip($0, 0) }, timeout: timeout)
        connection.close()
        return Answer(success: true, output: "")
    }

    private func http(_ action: HTTPAction, _ timeout: Duration) async throws -> Answer {
        let (address, port) = try target(action.host, action.port)
        var headers = HTTPHeaders()
        for header in action.headers { headers.add(header.name, header.value) }
        if headers["user-agent"] == nil { headers.add("User-Agent", Self.userAgent) }
        if headers["accept"] == nil { headers.add("Accept", "*/*") }
        let endpoint = try endpoint(address, port, isSecure: action.usesTLS)
        var limits = HTTPClientLimits.standard
        limits.connectTimeout = timeout
        // A connection of its own for each question, as a new client would make.
        let client = HTTPClient(
            on: loop, endpoint: endpoint, tls: action.usesTLS ? Self.anyServer : nil, headers: headers, limits: limits)
        defer { client.close() }
        let response = try await client.stream(
            "GET", action.path.hasPrefix("/") ? action.path : "/" + action.path, headTimeout: timeout)
        response.cancel()
        let status = response.status
        // Redirects count as success; they are not followed.
        return (200..<400).contains(status)
            ? Answer(success: true, output: "")
            : Answer(success: false, output: "HTTP probe failed with statuscode: \(status)")
    }

    /// The standard health service, over HTTP/2 with prior knowledge.
    private func grpc(_ port: UInt16, _ service: String, _ timeout: Duration) async throws -> Answer {
        let (address, port) = try target("", .number(port))
        var endpoint = try endpoint(address, port, isSecure: false)
        endpoint.dialect = .http2
        var limits = HTTPClientLimits.standard
        limits.connectTimeout = timeout
        let client = HTTPClient(on: loop, endpoint: endpoint, limits: limits)
        defer { client.close() }
        let response = try await client.request(
            "POST", HealthCheckCall.path,
            headers: [
                "content-type": "application/grpc", "te": "trailers", "user-agent": "grpc-\(Self.userAgent)",
            ], body: HealthCheckCall.request(service), timeout: timeout)
        guard response.status == 200 else {
            return Answer(success: false, output: "gRPC probe failed with statuscode: \(response.status)")
        }
        // A refusal may come as trailers alone, which are headers then.
        let status = response.trailers["grpc-status"] ?? response.headers["grpc-status"] ?? ""
        guard status == "0" else {
            let message = response.trailers["grpc-message"] ?? response.headers["grpc-message"] ?? ""
            return Answer(success: false, output: "gRPC probe failed with status \(status): \(message)")
        }
        let health = HealthCheckCall.status(response.body)
        return health == HealthCheckCall.serving
            ? Answer(success: true, output: "")
            : Answer(success: false, output: "service unhealthy (responded with \"\(HealthCheckCall.name(health))\")")
    }

    private func endpoint(_ address: IPAddress, _ port: Port, isSecure: Bool) throws -> HTTPEndpoint {
        guard var endpoint = HTTPEndpoint(.ip(address, port), isSecure: isSecure) else {
            throw SandboxError(description: "\(address):\(port) is not a place for a request")
        }
        endpoint.source = source(towards: address)
        return endpoint
    }

    /// Only what is asked of the pod itself leaves from the address that its network knows.
    private func source(towards target: IPAddress) -> IPAddress? {
        target == IPAddress(address) ? source : nil
    }

    private func target(_ host: String, _ reference: PortReference) throws -> (IPAddress, Port) {
        guard let port = container.port(reference) else {
            throw SandboxError(description: "container \(container.name) has no port \(reference)")
        }
        let text = host.isEmpty ? address : host == "localhost" ? "127.0.0.1" : host
        guard let address = IPAddress(text) else {
            throw SandboxError(description: "host \"\(text)\" is not an IP address")
        }
        return (address, Port(rawValue: port))
    }
}
