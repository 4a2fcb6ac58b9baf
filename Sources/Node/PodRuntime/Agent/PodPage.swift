import ClusterAPI
import HTTP
import Reactor

/// Pages that a program in a pod serves on the pod's own loopback, told to the outside by the node's server as
/// `/NAME/{namespace}/{pod}/…`: a connection is made in the pod's network namespace, the answer comes back as it comes.
public struct PodPage: Sendable {
    /// Where it listens in the pod.
    public var port: UInt16
    /// What may be asked for by POST as well. Everything else is GET.
    public var posts: Set<String>

    /// Until the head of an answer has come.
    static let patience: Duration = .seconds(30)

    public init(port: UInt16, posts: Set<String> = []) {
        self.port = port
        self.posts = posts
    }

    func allows(_ method: String, _ path: String) -> Bool {
        method == "GET" || method == "POST" && posts.contains(path)
    }

    /// - Parameters:
    ///   - namespace: the file of the pod's network namespace; empty for a pod on the node's network.
    ///   - target: path and query, with its leading slash.
    func serve(
        _ request: HTTPRequest, target: String, in namespace: String, _ response: HTTPResponseWriter
    ) async {
        var endpoint = HTTPEndpoint(host: "127.0.0.1", port: port)
        endpoint.networkNamespace = namespace.isEmpty ? nil : namespace
        let client = HTTPClient(on: response.loop, endpoint: endpoint)
        let stream: HTTPResponseStream
        do {
            stream = try await client.stream(
                request.method, target, body: request.body, headTimeout: Self.patience)
        } catch {
            return await response.send(status: 502, text: "nothing answers on port \(port) of the pod: \(error)\n")
        }
        // Who asked may go while nothing comes.
        response.onClose { stream.cancel() }
        do {
            var headers = HTTPHeaders()
            if let type = stream.headers["content-type"] { headers.add("content-type", type) }
            try await response.start(status: stream.status, headers: headers)
            while let part = try await stream.next() { try await response.write(part) }
            await response.finish()
        } catch {
            await response.abort()
        }
    }
}
