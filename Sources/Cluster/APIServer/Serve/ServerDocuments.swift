import Bytes
import ClusterAPI
import HTTP
import JSON
import Store
import Synchronization
import Telemetry

/// What the server tells about itself: versions, discovery, OpenAPI, health, metrics, keys.
struct ServerDocuments: Sendable {
    let version: ServerVersion
    let discovery: Discovery
    let openAPI: OpenAPIDocuments
    let tokens: ServiceAccountTokens
    let externalAddress: String
    let metrics: RequestMetrics
    let storage: ObjectStorage
    let readiness: Readiness

    struct Document: Sendable {
        var status = 200
        var headers = HTTPHeaders()
        var contentType = "application/json"
        var body: [UInt8]
    }

    func find(_ request: HTTPRequest) async throws(StatusError) -> Document {
        let path = normalized(request.path)
        let accept = request.headers[.accept] ?? ""
        switch path {
        case "/":
            return json([
                "paths": .array([
                    "/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz",
                    "/version",
                ])
            ])
        case "/version": return json(version.json)
        case "/healthz", "/livez", "/readyz": return health(String(path.dropFirst()), request)
        case "/metrics": return metricsText()
        case "/.well-known/openid-configuration":
            return json(tokens.openIDConfiguration(jwksURL: "https://\(externalAddress)/openid/v1/jwks"))
        case "/openid/v1/jwks":
            var document = json(tokens.keySet)
            document.contentType = "application/jwk-set+json"
            return document
        case "/openapi/v2": return cached(openAPIv2(accept), request)
        case "/openapi/v3": return cached(openAPI.root(), request)
        default: break
        }
        if path.hasPrefix("/openapi/v3/") {
            return try openAPIv3(String(path.dropFirst("/openapi/v3/".count)), request)
        }
        for name in ["healthz", "livez", "readyz"] where path.hasPrefix("/\(name)/") {
            return try healthCheck(String(path.dropFirst(name.count + 2)))
        }
        if let document = discovery.document(String(path), accept: accept) { return cached(document, request) }
        throw .pathNotFound()
    }

    /// A document for this process's own clients.
    func json(at path: String) async throws(StatusError) -> JSONValue {
        let local = HTTPRequest(method: "GET", target: path, peer: .ip(.loopbackV4, 0, scope: 0))
        let document = try await find(local)
        guard let json = try? JSONValue.parse(document.body) else { throw .pathNotFound() }
        return json
    }

    /// Without a slash at the end.
    private func normalized(_ path: Substring) -> Substring {
        var path = path
        while path.utf8.count > 1, path.hasSuffix("/") { path = path.dropLast() }
        return path
    }

    private func json(_ value: JSONValue) -> Document { Document(body: value.encoded()) }

    /// An encoded document, or word that the client has it already.
    private func cached(_ document: EncodedDocument, _ request: HTTPRequest) -> Document {
        var headers = HTTPHeaders()
        headers.add(.etag, document.etag)
        headers.add(.vary, "Accept")
        if request.headers[.ifNoneMatch] == document.etag {
            return Document(status: 304, headers: headers, contentType: document.contentType, body: [])
        }
        return Document(headers: headers, contentType: document.contentType, body: document.bytes)
    }

    // MARK: OpenAPI

    private func openAPIv2(_ accept: String) -> EncodedDocument {
        let first = Negotiation.ranges(accept).first { range in
            range.type == "application/json" || range.type == "*/*"
                || range.type.hasPrefix("application/com.github.proto-openapi")
        }
        return first.map { $0.type.hasPrefix("application/com.github") } ?? false ? openAPI.v2Protobuf() : openAPI.v2()
    }

    private func openAPIv3(_ key: String, _ request: HTTPRequest) throws(StatusError) -> Document {
        guard let hash = openAPI.hash(key) else { throw .pathNotFound() }
        if let asked = request.query("hash"), asked != hash {
            // An address that clients may keep for ever must not lead to another text.
            var headers = HTTPHeaders()
            headers.add(.location, "/openapi/v3/\(key)?hash=\(hash)")
            return Document(status: 301, headers: headers, body: [])
        }
        guard let document = openAPI.v3(key) else { throw .pathNotFound() }
        var answer = cached(document, request)
        if request.query("hash") != nil {
            answer.headers.add(.cacheControl, "public, immutable, max-age=31536000")
        }
        return answer
    }

    // MARK: Health

    /// Named checks, each with what is wrong or nil.
    private func checks() -> [(name: String, problem: String?)] {
        [
            ("ping", nil), ("store", storage.store.currentRevision >= .first ? nil : "no store"),
            ("poststarthook/bootstrap", readiness.isReady ? nil : "not finished"),
        ]
    }

    private func health(_ kind: String, _ request: HTTPRequest) -> Document {
        let excluded = Set(request.queryItems.filter { $0.name == "exclude" }.map(\.value))
        var all = checks().filter { !excluded.contains($0.name) }
        if kind == "readyz", readiness.isStopping { all.append(("shutdown", "process is shutting down")) }
        if kind == "livez" { all.removeAll { $0.name.hasPrefix("poststarthook") } }
        let isGood = all.allSatisfy { $0.problem == nil }
        guard request.query("verbose") != nil || !isGood else { return text("ok") }
        var lines = all.map { check in
            check.problem.map { "[-]\(check.name) failed: \($0)" } ?? "[+]\(check.name) ok"
        }
        lines.append("\(kind) check \(isGood ? "passed" : "failed")")
        var document = text(lines.joined(separator: "\n") + "\n")
        document.status = isGood ? 200 : 500
        return document
    }

    private func healthCheck(_ name: String) throws(StatusError) -> Document {
        guard let check = checks().first(where: { $0.name == name }) else { throw .pathNotFound() }
        guard let problem = check.problem else { return text("ok") }
        var document = text("\(name) failed: \(problem)\n")
        document.status = 500
        return document
    }

    private func text(_ text: String) -> Document {
        Document(contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
    }

    // MARK: Metrics

    private func metricsText() -> Document {
        Document(contentType: MetricsRegistry.contentType, body: metrics.registry.render())
    }
}

/// Whether the server has all it needs, and whether it is about to go.
final class Readiness: Sendable {
    private let state = Mutex((isReady: false, isStopping: false))
    var isReady: Bool { state.withLock { $0.isReady } }
    var isStopping: Bool { state.withLock { $0.isStopping } }
    func becomeReady() { state.withLock { $0.isReady = true } }
    func beginStopping() { state.withLock { $0.isStopping = true } }
}

/// What `/version` says.
public struct ServerVersion: Sendable {
    public var major = "1"
    public var minor = "36"
    public var gitVersion = "v1.36.2+weft"

    public static let current = ServerVersion()

    var json: JSONValue {
        [
            "major": .string(major), "minor": .string(minor), "gitVersion": .string(gitVersion), "gitCommit": "",
            "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "swift6.3", "compiler": "swiftc",
            "platform": .string(Self.platform),
        ]
    }

    #if arch(arm64)
        private static let platform = "linux/arm64"
    #else
        private static let platform = "linux/amd64"
    #endif
}
