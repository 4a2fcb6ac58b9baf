import APIServer
import Bytes
import ClusterClient
import Controllers
import Glibc
import HTTP
import Reactor
import Store
import TLS
import Testing

/// A control plane in this process that serves over TLS, and the files that a kubectl needs to talk to it.
struct KubectlServer {
    let group: EventLoopGroup
    /// A folder of our own, for kubeconfig and caches.
    let directory: String
    var kubeconfig: String { directory + "/kubeconfig" }

    /// Runs `body` with a server and takes it down after, whatever happened.
    static func run(_ body: @escaping @Sendable (KubectlServer) async throws -> Void) async throws {
        var template = Array("/tmp/weft-kubectl-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        let group = try EventLoopGroup(count: 2, name: "kubectl-test")
        let store = try SQLiteStore(path: directory + "/state.db")
        let authority = try CertificateAuthority.create(commonName: "weft-test")
        let api = APIServer(
            store: store,
            config: APIServerConfig(
                serviceCIDRs: [try #require(CIDR("10.96.0.0/16"))], advertiseAddress: IPAddress(v4: 172, 30, 0, 1),
                serviceAccountIssuer: "https://kubernetes.default.svc", serviceAccountKey: try PrivateKey.generate()))
        try await api.prepare()
        let serving = try authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: "kube-apiserver"),
                names: AlternativeNames(addresses: [.loopbackV4]), purpose: .server))
        let tls = try TLSContext(
            serving: [serving], clientCertificates: .requested, trust: TrustPool([authority.certificate]),
            protocols: ["h2", "http/1.1"])
        let server = HTTPServer(
            group: group, address: .ip(.loopbackV4, 0, scope: 0), tls: tls, limits: APIServer.limits,
            handler: api.handler)
        let address = try await server.start()
        let user = try authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: "tester", organizations: ["system:masters"]), purpose: .client))
        let result = KubectlServer(group: group, directory: directory)
        try Files.writeAtomically(
            result.kubeconfig, Array(kubeconfig(address, authority.certificate, user).utf8), mode: 0o600, sync: false)
        let loop = group.all[1]
        let work = loop.task {
            await runControllers(
                ControllerContext(client: KubeClient(api.transport()), loop: loop), ControllersConfig())
        }
        let outcome = await Result { try await loop.perform { try await body(result) } }
        work.cancel()
        await work.value
        api.beginStopping()
        await server.drain(deadline: .seconds(1))
        await group.shutdown()
        store.close()
        _ = await Result {
            let own = try EventLoopGroup(count: 1, name: "cleanup")
            _ = try await ChildProcess.run(.init(["rm", "-rf", directory]), on: own.all[0])
            await own.shutdown()
        }
        try outcome.get()
    }

    private static func kubeconfig(_ address: SocketAddress, _ authority: Certificate, _ user: TLSIdentity) -> String {
        """
        apiVersion: v1
        kind: Config
        current-context: test
        clusters:
        - name: test
          cluster: {server: "https://\(address)", certificate-authority-data: \(Base64.encode(authority.pem.utf8))}
        contexts:
        - name: test
          context: {cluster: test, user: test}
        users:
        - name: test
          user:
            client-certificate-data: \(Base64.encode(user.leaf.pem.utf8))
            client-key-data: \(Base64.encode(user.key.pem.utf8))
        """
    }
}

extension Result where Failure == any Error {
    /// The outcome of `body`.
    fileprivate init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}

/// The kubectls to try: the one on the PATH, and the oldest and newest `kubectl.1.NN` there or where
/// the one on the PATH links to. `WEFT_KUBECTL` (a list of paths with colons between) replaces the search.
func kubectlsAtHand() -> [String] {
    if let given = getenv("WEFT_KUBECTL") { return String(cString: given).split(separator: ":").map(String.init) }
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    var folders = path.split(separator: ":").map(String.init)
    for folder in folders {
        guard let real = realpath("\(folder)/kubectl", nil) else { continue }
        defer { free(real) }
        let target = String(cString: real)
        if let slash = target.lastIndex(of: "/") { folders.append(String(target[..<slash])) }
    }
    func find(_ name: String) -> String? { folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 } }
    let versions = (20...40).compactMap { find("kubectl.1.\($0)") }
    let ends = [versions.first, versions.count > 1 ? versions.last : nil]
    return ([find("kubectl")] + ends).compactMap { $0 }
}
