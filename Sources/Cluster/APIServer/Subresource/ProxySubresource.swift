import Bytes
import ClusterAPI
import HTTP
import JSON
import Reactor
import TLS

/// `proxy` of nodes, pods and Services: a request goes on to what they name, and the answer comes back as it comes.
///
/// Names are `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`, as everywhere in Kubernetes. Bodies of requests are read whole before;
/// protocols cannot be switched, and links in pages are not rewritten.
struct ProxySubresource: Sendable {
    let registry: Registry
    let agents: NodeAgents

    private static let patience = Duration.seconds(30)

    /// Of one hop (RFC 9110 §7.6.1), or for this server alone.
    private static let ownHeaders: Set<String> = [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "host", "content-length", "authorization",
    ]

    private struct Destination {
        var host: String
        var port: UInt16
        var tls: TLSContext?
    }

    /// - Parameter target: What to ask for, with its leading slash.
    func serve(
        _ call: APICall, target: String, _ request: HTTPRequest, _ response: HTTPResponseWriter
    ) async throws(StatusError) -> Int {
        let place = try await destination(call)
        let stream = try await send(request, target, to: place, call)
        // Who asked may go while nothing comes.
        response.onClose { stream.cancel() }
        var headers = HTTPHeaders()
        for (name, value) in stream.headers where !Self.ownHeaders.contains(name.lowercased()) {
            headers.add(name, value)
        }
        do {
            try await response.start(
                status: stream.status, headers: headers, length: stream.headers["content-length"].flatMap { Int($0) })
            while let part = try await stream.next() { try await response.write(part) }
            await response.finish()
        } catch {
            await response.abort()
        }
        return stream.status
    }

    private func send(
        _ request: HTTPRequest, _ target: String, to place: Destination, _ call: APICall
    ) async throws(StatusError) -> HTTPResponseStream {
        guard let loop = EventLoop.current else { throw .internalError("proxies are served on loops") }
        var headers = HTTPHeaders()
        for (name, value) in request.headers where !Self.ownHeaders.contains(name.lowercased()) {
            headers.add(name, value)
        }
        headers.add("x-forwarded-uri", String(request.path))
        let client = HTTPClient(
            on: loop, endpoint: HTTPEndpoint(host: place.host, port: place.port, isSecure: place.tls != nil),
            tls: place.tls)
        do {
            return try await client.stream(
                request.method, target, headers: headers, body: request.body, headTimeout: Self.patience)
        } catch {
            throw .serviceUnavailable("error trying to reach \(call.resource.gvk.kind.lowercased()): \(error)")
        }
    }

    // MARK: Where to

    private func destination(_ call: APICall) async throws(StatusError) -> Destination {
        let name = try ProxyName(call.name)
        var named = call
        named.name = name.name
        switch call.resource.gvr {
        case .nodes: return try await node(named, name)
        case .pods: return try await pod(named, name)
        default: return try await service(named, name)
        }
    }

    private func node(_ call: APICall, _ name: ProxyName) async throws(StatusError) -> Destination {
        let agent = try await agents.endpoint(of: call.name, in: registry)
        if name.port.isEmpty || name.port == String(agent.port) {
            guard let tls = agents.tls else { throw .serviceUnavailable("this server has no credentials for nodes") }
            return Destination(host: agent.host, port: agent.port, tls: tls)
        }
        guard let port = UInt16(name.port) else { throw .badRequest("\"\(name.port)\" is no port of a node") }
        return Destination(host: agent.host, port: port, tls: try tls(name))
    }

    private func pod(_ call: APICall, _ name: ProxyName) async throws(StatusError) -> Destination {
        let pod = try await registry.storage.get(call.resource, call.key).json()
        let ports = (pod["spec"]?["containers"]?.array ?? []).flatMap { $0["ports"]?.array ?? [] }
        let address = pod["status"]?["podIP"]?.string ?? ""
        guard !address.isEmpty else { throw .serviceUnavailable("pod \(call.name) has no address yet") }
        let port: UInt16
        if let number = UInt16(name.port) {
            port = number
        } else {
            let found = name.port.isEmpty ? ports.first : ports.first { $0["name"]?.string == name.port }
            guard let number = found?["containerPort"]?.int.flatMap({ UInt16(exactly: $0) }) else {
                throw .badRequest(
                    name.port.isEmpty
                        ? "pod \(call.name) names no port; say which: \(call.name):PORT"
                        : "pod \(call.name) has no port named \"\(name.port)\"")
            }
            port = number
        }
        return Destination(host: try reachable(address), port: port, tls: try tls(name))
    }

    private func service(_ call: APICall, _ name: ProxyName) async throws(StatusError) -> Destination {
        let service = try await registry.storage.get(call.resource, call.key).json()
        let ports = service["spec"]?["ports"]?.array ?? []
        let found =
            name.port.isEmpty
            ? ports.first
            : ports.first { $0["name"]?.string == name.port || $0["port"]?.int == Int64(name.port) }
        guard let portName = found.map({ $0["name"]?.string ?? "" }) else {
            throw .serviceUnavailable("no service port \"\(name.port)\" found for service \"\(call.name)\"")
        }
        guard let slices = registry.schema.resource(.endpointSlices) else { throw .pathNotFound() }
        var choice: [(address: String, port: UInt16)] = []
        for slice in try await registry.storage.all(slices, namespace: call.namespace)
        where slice["metadata"]?["labels"]?["kubernetes.io/service-name"]?.string == call.name {
            guard
                let port = slice["ports"]?.array?.first(where: { ($0["name"]?.string ?? "") == portName })?["port"]?
                    .int.flatMap({ UInt16(exactly: $0) })
            else { continue }
            for endpoint in slice["endpoints"]?.array ?? [] where endpoint["conditions"]?["ready"]?.bool != false {
                if let address = endpoint["addresses"]?.array?.first?.string { choice.append((address, port)) }
            }
        }
        guard let one = choice.randomElement() else {
            throw .serviceUnavailable("no endpoints available for service \"\(call.name)\"")
        }
        return Destination(host: try reachable(one.address), port: one.port, tls: try tls(name))
    }

    /// What pods and endpoints say of themselves must not lead to this machine's own services.
    private func reachable(_ address: String) throws(StatusError) -> String {
        guard let parsed = IPAddress(address), !parsed.isLoopback, !parsed.isLinkLocal, !parsed.isUnspecified,
            !parsed.isMulticast
        else { throw .badRequest("address \(address) is not allowed") }
        return address
    }

    /// Pods show certificates that nobody vouches for.
    private func tls(_ name: ProxyName) throws(StatusError) -> TLSContext? {
        guard name.isSecure else { return nil }
        do { return try TLSContext(client: TLSClientConfiguration(verification: nil)) } catch {
            throw .internalError("\(error)")
        }
    }
}

/// `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`.
struct ProxyName: Hashable {
    var isSecure = false
    var name: String
    /// A number or a name; empty for the first there is.
    var port = ""

    init(_ text: String) throws(StatusError) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        switch parts.count {
        case 1: name = parts[0]
        case 2: (name, port) = (parts[0], parts[1])
        case 3 where ["", "http", "https"].contains(parts[0]):
            (isSecure, name, port) = (parts[0] == "https", parts[1], parts[2])
        default: throw .badRequest("invalid request \"\(text)\": NAME, NAME:PORT or SCHEME:NAME:PORT is expected")
        }
        guard !name.isEmpty else { throw .badRequest("invalid request \"\(text)\": the name is empty") }
    }
}
