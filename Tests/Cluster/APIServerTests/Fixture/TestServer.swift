import APIServer
import Bytes
import ClusterAPI
import ClusterClient
import Glibc
import HTTP
import JSON
import Reactor
import Store
import TLS

/// A whole API server on loopback with a store in a folder of its own: real TLS, real files, nothing pretended.
final class TestServer: Sendable {
    let group: EventLoopGroup
    let folder: String
    let store: SQLiteStore
    let api: APIServer
    let server: HTTPServer
    let port: UInt16
    let authority: CertificateAuthority
    let local: any APITransport

    /// The folder and keys can be those of an earlier server, which is then this one after a restart.
    static func start(
        folder: String? = nil, authority: CertificateAuthority? = nil, limits: SQLiteStore.Limits = .init(),
        tokens: String = "", nodeAgents: Bool = false, paths: [ServedPath] = []
    ) async throws -> TestServer {
        let group = try EventLoopGroup(count: 2, name: "test")
        let folder = try folder ?? makeFolder()
        let authority = try authority ?? CertificateAuthority.create(commonName: "test-ca")
        let store = try SQLiteStore(path: folder + "/store.db", limits: limits)
        let trust = TrustPool([authority.certificate])
        var config = APIServerConfig(
            serviceCIDRs: [CIDR("10.96.0.0/24")!, CIDR("fd00:96::/112")!], advertiseAddress: IPAddress("192.0.2.1")!,
            serviceAccountIssuer: "https://kubernetes.default.svc.cluster.local", serviceAccountKey: authority.key)
        config.staticTokens = try APIServer.staticTokens(tokens)
        config.nodePorts = 30_000...30_010
        config.paths = paths
        if nodeAgents {
            config.nodeAgentTLS = try TLSContext(
                connecting: trust, identity: try issue(authority, "kubelet-client", ["system:masters"]))
        }
        let api = APIServer(store: store, config: config)
        try await api.prepare()
        let serving = try authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: "kube-apiserver"),
                names: AlternativeNames(dns: ["localhost"], addresses: [.loopbackV4]), purpose: .server))
        let tls = try TLSContext(
            serving: [serving], clientCertificates: .requested, trust: trust, protocols: ["h2", "http/1.1"])
        let server = HTTPServer(
            group: group, address: .ip(.loopbackV4, 0, scope: 0), tls: tls, limits: APIServer.limits,
            handler: api.handler)
        let bound = try await server.start()
        return TestServer(
            group: group, folder: folder, store: store, api: api, server: server, port: bound.port!.rawValue,
            authority: authority)
    }

    private init(
        group: EventLoopGroup, folder: String, store: SQLiteStore, api: APIServer, server: HTTPServer, port: UInt16,
        authority: CertificateAuthority
    ) {
        self.group = group
        self.folder = folder
        self.store = store
        self.api = api
        self.server = server
        self.port = port
        self.authority = authority
        local = api.transport()
    }

    /// Runs a test against a fresh server and takes it down whatever happens.
    static func with(
        limits: SQLiteStore.Limits = .init(), tokens: String = "", nodeAgents: Bool = false, paths: [ServedPath] = [],
        _ body: (TestServer) async throws -> Void
    ) async throws {
        let server = try await start(limits: limits, tokens: tokens, nodeAgents: nodeAgents, paths: paths)
        do {
            try await body(server)
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    func stop(keepingFolder: Bool = false) async {
        api.beginStopping()
        await server.drain(deadline: .seconds(1))
        store.close()
        await group.shutdown()
        if !keepingFolder { try? Files.removeTree(folder) }
    }

    static func makeFolder() throws -> String {
        var template = Array("/tmp/weft-api-XXXXXX".utf8CString)
        return template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    // MARK: Clients

    static func issue(_ authority: CertificateAuthority, _ user: String, _ groups: [String]) throws -> TLSIdentity {
        try authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: user, organizations: groups), purpose: .client))
    }

    /// A client with a certificate of its own, or without.
    func client(as user: String? = "admin", groups: [String] = ["system:masters"], protocols: [String] = ["http/1.1"])
        throws -> TestClient
    {
        let identity = try user.map { try Self.issue(authority, $0, groups) }
        let tls = try TLSContext(
            connecting: TrustPool([authority.certificate]), identity: identity, protocols: protocols)
        return TestClient(
            http: HTTPClient(
                on: group.next, endpoint: HTTPEndpoint(host: "127.0.0.1", port: port, isSecure: true), tls: tls))
    }

    /// A kubeconfig of the administrator's in the server's folder.
    func kubeconfig() throws -> String {
        let identity = try Self.issue(authority, "admin", ["system:masters"])
        let text = """
            apiVersion: v1
            kind: Config
            current-context: t
            clusters: [{name: t, cluster: {server: "https://127.0.0.1:\(port)", certificate-authority-data: \(Base64.encode(authority.certificate.pem.utf8))}}]
            contexts: [{name: t, context: {cluster: t, user: admin}}]
            users: [{name: admin, user: {client-certificate-data: \(Base64.encode(identity.leaf.pem.utf8)), client-key-data: \(Base64.encode(identity.key.pem.utf8))}}]
            """
        let path = folder + "/kubeconfig"
        try Files.writeAtomically(path, text, mode: 0o600)
        return path
    }

    /// Makes an object through the server's own transport.
    @discardableResult
    func make(_ resource: GroupVersionResource, _ object: JSONValue) async throws -> JSONValue {
        try await local.send(
            APIRequest(.create, resource, namespace: object["metadata"]?["namespace"]?.string, body: object))
    }
}

/// Sends requests and reads answers as JSON.
struct TestClient: Sendable {
    let http: HTTPClient

    struct Answer: Sendable {
        var status: Int
        var headers: HTTPHeaders
        var body: [UInt8]
        var json: JSONValue { (try? JSONValue.parse(body)) ?? .null }
        var reason: String { json["reason"]?.string ?? "" }
        var message: String { json["message"]?.string ?? "" }
        var revision: String { json["metadata"]?["resourceVersion"]?.string ?? "" }
        var items: [JSONValue] { json["items"]?.array ?? [] }
        var names: [String] { items.compactMap { $0["metadata"]?["name"]?.string } }
    }

    func send(
        _ method: String, _ path: String, _ body: JSONValue? = nil, type: String = "application/json",
        accept: String? = nil,
        token: String? = nil
    ) async throws -> Answer {
        try await send(
            method, path, bytes: body?.encoded() ?? [], type: body == nil ? nil : type, accept: accept, token: token)
    }

    func send(
        _ method: String, _ path: String, bytes: [UInt8], type: String?, accept: String? = nil, token: String? = nil,
        headers: HTTPHeaders = HTTPHeaders()
    ) async throws -> Answer {
        var headers = headers
        if let type { headers.add("content-type", type) }
        if let accept { headers.add("accept", accept) }
        if let token { headers.add("authorization", "Bearer \(token)") }
        let answer = try await http.request(method, path, headers: headers, body: bytes)
        return Answer(status: answer.status, headers: answer.headers, body: answer.body)
    }

    func get(_ path: String, accept: String? = nil) async throws -> Answer {
        try await send("GET", path, accept: accept)
    }

    func watch(_ path: String, accept: String? = nil) async throws -> TestWatch {
        var headers = HTTPHeaders()
        if let accept { headers.add("accept", accept) }
        return TestWatch(try await http.stream("GET", path, headers: headers))
    }
}

/// Reads the frames of a JSON watch.
///
/// @unchecked: used by one task.
final class TestWatch: @unchecked Sendable {
    let stream: HTTPResponseStream
    private var buffer: [UInt8] = []

    init(_ stream: HTTPResponseStream) { self.stream = stream }

    /// The next frame; nil at the end. Fails after ten seconds of silence.
    func next() async throws -> JSONValue? {
        while true {
            if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Array(buffer[..<end])
                buffer.removeSubrange(...end)
                return try JSONValue.parse(line)
            }
            guard let part = try await withDeadline(.seconds(60), { try await self.stream.next() }) else { return nil }
            buffer += part
        }
    }

    /// The next frames as `TYPE name`.
    func next(_ count: Int) async throws -> [String] {
        var lines: [String] = []
        while lines.count < count, let frame = try await next() {
            lines.append("\(frame["type"]?.string ?? "?") \(frame["object"]?["metadata"]?["name"]?.string ?? "-")")
        }
        return lines
    }
}

func configMap(_ name: String, _ data: JSONValue = [:], labels: JSONValue? = nil) -> JSONValue {
    var object: JSONValue = [
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": .string(name), "namespace": "default"],
        "data": data,
    ]
    if let labels { object["metadata"]?["labels"] = labels }
    return object
}

func pod(_ name: String, labels: JSONValue = [:]) -> JSONValue {
    [
        "apiVersion": "v1", "kind": "Pod",
        "metadata": ["name": .string(name), "namespace": "default", "labels": labels],
        "spec": ["containers": [["name": "c", "image": "weft.local/host"]]],
    ]
}

struct TooLate: Error {}

/// Gives up on something that does not come.
func withDeadline<R: Sendable>(_ time: Duration, _ body: @escaping @Sendable () async throws -> R) async throws -> R {
    try await withThrowingTaskGroup(of: R.self) { tasks in
        tasks.addTask(operation: body)
        tasks.addTask {
            try await Task.sleep(for: time)
            throw TooLate()
        }
        defer { tasks.cancelAll() }
        guard let first = try await tasks.next() else { throw TooLate() }
        return first
    }
}
