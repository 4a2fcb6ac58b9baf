import ClusterAPI
import ClusterClient
import HTTP
import JSON

/// The admin port of a pod's proxy, by way of the API server and the pod's node.
struct ProxyAdmin: Sendable {
    let pod: ObjectKey
    private let transport: HTTPTransport
    private let base: String

    /// - Throws: `Refusal` when the pod has no node yet.
    init(_ pod: KubeObject, _ session: ClusterSession) throws {
        let node = pod.spec.text("nodeName")
        guard !node.isEmpty else {
            throw Refusal("pod \(pod.key) runs on no node yet", hint: "see kubectl describe pod")
        }
        self.pod = pod.key
        transport = session.transport
        base = "/api/v1/nodes/\(node)/proxy/mesh/\(pod.namespace)/\(pod.name)"
    }

    /// - Parameter path: with its leading slash, and query.
    func text(_ method: String = "GET", _ path: String) async throws -> String {
        let response = try await transport.page(method, base + path)
        guard response.status == 200 else { throw refusal(response.status, response.text) }
        return response.text
    }

    func json(_ path: String) async throws -> JSONValue {
        let text = try await text("GET", path)
        guard let json = try? JSONValue.parse(Array(text.utf8)) else {
            throw Refusal("the proxy of pod \(pod) answers \(path) with no JSON", hint: String(text.prefix(200)))
        }
        return json
    }

    /// A page that goes on.
    func stream(_ path: String) async throws -> HTTPResponseStream {
        let stream = try await transport.stream(base + path)
        guard stream.status == 200 else {
            let text = String(decoding: try await stream.collect(limit: 1 << 20), as: UTF8.self)
            throw refusal(stream.status, text)
        }
        return stream
    }

    private func refusal(_ status: Int, _ text: String) -> Refusal {
        let message =
            (try? JSONValue.parse(Array(text.utf8)))?["message"]?.string
            ?? text.split(separator: "\n").first.map(String.init) ?? "status \(status)"
        let hint =
            switch status {
            case 401, 403: "this needs the right to get (and create) nodes/proxy"
            case 502: "has pod \(pod) a sidecar that runs? Its namespace needs the label mesh.weft.dev/inject=enabled"
            case 404: "is pod \(pod) there, and does its node run this version of weft-node?"
            default: "asked by way of the pod's node"
            }
        return Refusal("the proxy of pod \(pod) cannot be asked: \(message)", hint: hint)
    }
}
