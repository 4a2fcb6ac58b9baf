import Bytes
import ClusterAPI
import HTTP
import JSON
import Reactor
import TLS

/// Fetches pods' logs from the nodes that run them.
struct NodeAgents: Sendable {
    /// How this server shows itself to node agents.
    let tls: TLSContext?
    private static let patience = Duration.seconds(30)

    /// GET of `log`.
    func log(_ call: APICall, in registry: Registry) async throws(StatusError) -> APIAnswer {
        let pod = try await registry.storage.get(call.resource, call.key).json()
        let container = try container(of: pod, call)
        let node = pod["spec"]?["nodeName"]?.string ?? ""
        guard !node.isEmpty else { throw .badRequest("pod \(call.name) does not have a host assigned") }
        let endpoint = try await endpoint(of: node, in: registry)
        var target = "/containerLogs/\(call.namespace)/\(call.name)/\(container)"
        let wanted: Set<String> = [
            "follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream",
        ]
        let parameters = call.parameters.all.filter { wanted.contains($0.name) }
        if !parameters.isEmpty {
            target += "?" + parameters.map { "\($0.name)=\(PercentEncoding.encode($0.value))" }.joined(separator: "&")
        }
        guard let loop = EventLoop.current else { throw .internalError("logs are served on loops") }
        do {
            let client = HTTPClient(
                on: loop, endpoint: HTTPEndpoint(host: endpoint.host, port: endpoint.port, isSecure: true), tls: tls)
            let response = try await client.stream("GET", target, headTimeout: Self.patience)
            guard response.status == 200 else {
                var text: [UInt8] = []
                while let part = try await response.next(), text.count < 4096 { text += part }
                throw StatusError(
                    code: response.status, reason: response.status == 404 ? .notFound : .badRequest,
                    message: String(decoding: text, as: UTF8.self))
            }
            return APIAnswer(
                content: .stream(
                    ByteStream(contentType: "text/plain") {
                        // The client owns the connection that the response comes over.
                        defer { withExtendedLifetime(client) {} }
                        return try await response.next()
                    }))
        } catch let error as StatusError {
            throw error
        } catch {
            throw .internalError("cannot reach the agent of node \(node) for the log of pod \(call.name): \(error)")
        }
    }

    private func container(of pod: JSONValue, _ call: APICall) throws(StatusError) -> String {
        let names = ["containers", "initContainers", "ephemeralContainers"].map { field in
            (pod["spec"]?[field]?.array ?? []).compactMap { $0["name"]?.string }
        }
        if let asked = call.parameters.text("container") {
            guard names.contains(where: { $0.contains(asked) }) else {
                throw .badRequest("container \(asked) is not valid for pod \(call.name)")
            }
            return asked
        }
        if names[0].count == 1, let only = names[0].first { return only }
        throw .badRequest(
            "a container name must be specified for pod \(call.name), choose one of: [\(names[0].joined(separator: " "))]"
        )
    }

    func endpoint(of node: String, in registry: Registry) async throws(StatusError) -> (
        host: String, port: UInt16
    ) {
        guard let nodes = registry.schema.resource(.nodes) else { throw .pathNotFound() }
        let object = try await registry.storage.get(nodes, ObjectKey(name: node)).json()
        let addresses = object["status"]?["addresses"]?.array ?? []
        let preferred = ["InternalIP", "Hostname", "ExternalIP"].lazy.compactMap { type in
            addresses.first { $0["type"]?.string == type }?["address"]?.string
        }
        guard let host = preferred.first else { throw .internalError("node \(node) has no address") }
        let port = object["status"]?["daemonEndpoints"]?["kubeletEndpoint"]?["Port"]?.int ?? 10250
        return (host, UInt16(clamping: port))
    }
}
