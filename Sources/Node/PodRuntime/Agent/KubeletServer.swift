import Bytes
import ClusterAPI
import HTTP
import JSON
import Reactor
import TLS
import Telemetry

/// The node's own server (port 10250): logs of containers, the pods of this node, pages of programs in them, health and metrics.
///
/// Everything but `/healthz` wants a client certificate that the cluster's authority signed and whose owner may see into nodes.
public struct KubeletServer: HTTPHandler {
    private let agent: NodeAgent
    private let metrics: @Sendable () -> [UInt8]
    private let isHealthy: @Sendable () async -> Bool
    /// nil lets everybody in, for servers without TLS on a socket of their own.
    private let authorize: (@Sendable (Certificate) -> Bool)?
    /// By the first segment of their paths.
    private let pages: [String: PodPage]

    /// How often a followed log is looked at for more.
    static let followPeriod: Duration = .milliseconds(100)

    public init(
        agent: NodeAgent, metrics: @escaping @Sendable () -> [UInt8], isHealthy: @escaping @Sendable () async -> Bool,
        pages: [String: PodPage] = [:],
        authorize: (@Sendable (Certificate) -> Bool)? = KubeletServer.isClusterAuthority
    ) {
        self.agent = agent
        self.metrics = metrics
        self.isHealthy = isHealthy
        self.authorize = authorize
        self.pages = pages
    }

    /// Administrators and the API server, but no node: a node has no business with the logs of another.
    public static let isClusterAuthority: @Sendable (Certificate) -> Bool = { certificate in
        let subject = certificate.subject
        return subject.organizations.contains("system:masters") || subject.commonName.hasPrefix("kube-apiserver")
            || subject.commonName == "system:apiserver"
    }

    public func handle(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        guard let path = request.pathSegments else {
            return await response.send(status: 400, text: "the path is malformed\n")
        }
        if path == ["healthz"] {
            let isHealthy = await isHealthy()
            return await response.send(status: isHealthy ? 200 : 500, text: isHealthy ? "ok" : "not ready")
        }
        if let authorize {
            guard let certificate = request.tls?.chain.first else {
                return await response.send(status: 401, text: "Unauthorized: a client certificate is needed\n")
            }
            guard authorize(certificate) else {
                return await response.send(status: 403, text: "Forbidden (user=\(certificate.subject.commonName))\n")
            }
        }
        if let page = path.first.flatMap({ pages[$0] }), path.count >= 3 {
            return await servePage(page, namespace: path[1], pod: path[2], request, response)
        }
        guard request.method == "GET" else { return await response.send(status: 405, text: "only GET is served\n") }
        switch path.first {
        case "pods" where path.count == 1:
            let list: JSONValue = [
                "kind": "PodList", "apiVersion": "v1", "metadata": [:], "items": .array(await agent.pods()),
            ]
            await response.send(status: 200, headers: ["content-type": "application/json"], body: list.encoded())
        case "metrics" where path.count == 1:
            await response.send(
                status: 200, headers: ["content-type": MetricsRegistry.contentType], body: metrics())
        case "containerLogs" where path.count == 4:
            await serveLog(of: path[3], namespace: path[1], pod: path[2], request, response)
        default:
            await response.send(status: 404, text: "404 page not found\n")
        }
    }

    private func servePage(
        _ page: PodPage, namespace: String, pod: String, _ request: HTTPRequest, _ response: HTTPResponseWriter
    ) async {
        let target = request.remainder(after: 3)
        guard page.allows(request.method, String(target.prefix { $0 != "?" })) else {
            return await response.send(status: 405, text: "\(request.method) is not served here\n")
        }
        guard let worker = await agent.worker(namespace: namespace, name: pod) else {
            return await response.send(status: 404, text: "pod \"\(pod)\" is not on this node\n")
        }
        guard let sandbox = await worker.lifecycle.state.heldSandbox else {
            return await response.send(status: 503, text: "pod \"\(pod)\" has no network yet\n")
        }
        await page.serve(request, target: target, in: sandbox.networkPath, response)
    }

    private func serveLog(
        of container: String, namespace: String, pod: String, _ request: HTTPRequest, _ response: HTTPResponseWriter
    ) async {
        let query: LogQuery
        do {
            query = try LogQuery(request.queryItems, now: .now())
        } catch {
            return await response.send(status: 400, text: "\(error)\n")
        }
        guard let worker = await agent.worker(namespace: namespace, name: pod) else {
            return await response.send(status: 404, text: "pod \"\(pod)\" is not on this node\n")
        }
        if !query.previous, let reason = await worker.waits(container) {
            return await response.send(
                status: 400, text: "container \"\(container)\" in pod \"\(pod)\" is waiting to start: \(reason)\n")
        }
        guard let log = await worker.logFile(of: container, previous: query.previous) else {
            let text =
                query.previous
                ? "previous terminated container \"\(container)\" in pod \"\(pod)\" not found"
                : "container \"\(container)\" in pod \"\(pod)\" is not available"
            return await response.send(status: query.previous ? 400 : 404, text: text + "\n")
        }
        do {
            var reader = try ContainerLogReader(path: log.path, query: query)
            try await response.start(status: 200, headers: ["content-type": "text/plain"])
            while true {
                // Whether the container had ended is asked before reading: what it wrote last is then surely seen.
                let isLive =
                    query.follow
                    ? await worker.logFile(of: container, previous: false).map { $0.path == log.path && $0.isLive }
                        ?? false : false
                var isAtEnd = false
                while !isAtEnd {
                    let bytes = try reader.read()
                    isAtEnd = bytes.isEmpty
                    if !isAtEnd { try await response.write(bytes) }
                }
                if !isLive || reader.isExhausted || response.isClosed { break }
                try await response.loop.sleep(for: Self.followPeriod)
            }
            await response.finish()
        } catch let error as SystemError {
            await response.send(
                status: 400, text: "container \"\(container)\" in pod \"\(pod)\" is waiting to start: \(error)\n")
        } catch {
            // The reader of the log went away.
            await response.abort()
        }
    }
}

extension LogQuery {
    struct Malformed: Error, CustomStringConvertible {
        var description: String
    }

    /// From the parameters that the API server passes on; unknown ones are ignored.
    init(_ items: [(name: String, value: String)], now: Timestamp) throws(Malformed) {
        self.init()
        for (name, value) in items {
            switch name {
            case "follow": follow = value == "true" || value == "1" || value.isEmpty
            case "previous": previous = value == "true" || value == "1" || value.isEmpty
            case "timestamps": timestamps = value == "true" || value == "1" || value.isEmpty
            case "tailLines": tailLines = try Self.number(name, value)
            case "limitBytes": limitBytes = try Self.number(name, value)
            case "sinceSeconds": since = now.adding(seconds: -Int64(try Self.number(name, value)))
            case "sinceTime":
                guard let at = Timestamp(rfc3339: value) else {
                    throw Malformed(description: "\(name) must be an RFC 3339 time, not \"\(value)\"")
                }
                since = at
            case "stream": stream = value == "Stdout" ? "stdout" : value == "Stderr" ? "stderr" : nil
            default: break
            }
        }
    }

    private static func number(_ name: String, _ value: String) throws(Malformed) -> Int {
        guard let number = Int(value), number >= 0, number <= Int(Int32.max) else {
            throw Malformed(description: "\(name) must be a number that is not negative, not \"\(value)\"")
        }
        return number
    }
}
