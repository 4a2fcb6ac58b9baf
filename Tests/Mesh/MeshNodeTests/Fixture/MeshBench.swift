import Bytes
import ClusterAPI
import ClusterClient
import ClusterFixture
import Glibc
import HTTP
import JSON
import MeshControl
import MeshIdentity
import Reactor
import TLS
import Telemetry
import TestSupport
import Testing

@testable import Discovery
@testable import MeshControl
@testable import MeshNode

/// A control plane with its mesh port, and a node that serves pods in the mesh; both can be taken away and come back.
final class MeshBench: Sendable {
    let folder: ScratchFolder
    let client: KubeClient
    /// Of the API server and the control plane.
    let loop: EventLoop
    let cluster: CertificateAuthority
    let authority: LiveMeshAuthority
    let plane: MeshControlPlane
    let metrics: MetricsRegistry
    let group: EventLoopGroup
    private let service: MeshPortService
    private let serving: TLSIdentity
    private let state = State()

    private actor State {
        var server: HTTPServer?
        var port: UInt16 = 0
        var nodes: [EventLoopGroup] = []

        func set(_ server: HTTPServer?, _ port: UInt16? = nil) {
            self.server = server
            if let port { self.port = port }
        }

        func add(_ group: EventLoopGroup) { nodes.append(group) }
    }

    var directory: String { folder.path + "/pki/mesh" }
    var passphrase: MeshPassphrase { MeshPassphrase(path: folder.path + "/pki/mesh-ca.passphrase") }

    /// - Parameters:
    ///   - lifetime: Of certificates.
    ///   - isServed: The mesh's port is there from the start.
    static func run(
        lifetime: Duration = .seconds(3600), isServed: Bool = true,
        _ body: @escaping @Sendable (MeshBench) async throws -> Void
    ) async throws {
        try await TestAPI.run { api in
            let bench = try MeshBench(api.folder, api.group, api.client, lifetime)
            for name in ["shop", "bank"] {
                try await api.client.makeNamespace(name, accounts: ["default", "cart", "web"])
            }
            if isServed { try await bench.startControl() }
            try await TestAPI.beside(bench.plane.run) {
                do { try await body(bench) } catch {
                    await bench.close()
                    throw error
                }
                await bench.close()
            }
        }
    }

    /// On the loop.
    private init(_ folder: ScratchFolder, _ group: EventLoopGroup, _ client: KubeClient, _ lifetime: Duration) throws {
        (self.folder, self.group, self.client) = (folder, group, client)
        loop = group.all[0]
        metrics = MetricsRegistry()
        cluster = try CertificateAuthority.create(commonName: "weft-ca")
        serving = try cluster.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: "kube-apiserver"),
                names: AlternativeNames(addresses: [.loopbackV4]), purpose: .server))
        try Files.makeDirectories(folder.path + "/pki", mode: 0o700)
        authority = try LiveMeshAuthority(
            .own(directory: folder.path + "/pki/mesh"), trustDomain: "cluster.local",
            passphrase: MeshPassphrase(path: folder.path + "/pki/mesh-ca.passphrase"), loop: loop, log: Log.shared)
        plane = MeshControlPlane(client, domain: "cluster.local", loop: loop, log: Log.shared)
        service = MeshPortService(
            plane, authority, cluster: [cluster.certificate], lifetime: lifetime, metrics: metrics, log: Log.shared)
    }

    private func close() async {
        await stopControl()
        for node in await state.nodes { await node.shutdown() }
    }

    // MARK: The control plane

    /// Serves the mesh's port, the same one each time.
    func startControl() async throws {
        let port = await state.port
        let server = HTTPServer(
            group: group, address: .ip(.loopbackV4, Port(rawValue: port), scope: 0),
            tls: try context(authority.current),
            limits: DiscoveryServer.limits
        ) { [service] _ in service }
        await state.set(server, try #require(try await server.start().port?.rawValue))
        authority.onChange { [weak self] in
            if let context = try? self?.context($0) { server.replaceTLS(context) }
        }
    }

    private func context(_ authority: MeshAuthority) throws -> TLSContext {
        try TLSContext(
            serving: [serving], clientCertificates: .requested,
            trust: TrustPool([cluster.certificate] + authority.roots),
            protocols: ["h2"])
    }

    /// As if it were killed: nobody listens, and every connection is cut.
    func stopControl() async {
        await state.server?.drain(deadline: .zero)
        await state.set(nil)
    }

    var port: UInt16 { get async { await state.port } }

    // MARK: The node

    /// What a node shows.
    func identity(node: String) throws -> TLSIdentity {
        try cluster.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: "system:node:\(node)", organizations: ["system:nodes"]),
                purpose: .client))
    }

    /// The mesh's part of a node. Several of one name are the same node before and after a restart.
    func node(_ name: String = "n1", port: UInt16? = nil) async throws -> MeshWorkloads {
        let own = try EventLoopGroup(count: 1, name: "node")
        await state.add(own)
        var control = await state.port
        if control == 0 {
            // Where it will be.
            control = try OwnAddress.freePort()
            await state.set(nil, control)
        }
        return try MeshWorkloads(
            MeshNodeConfiguration(
                recordDirectory: "\(folder.path)/\(name)-records",
                control: HTTPEndpoint(host: "127.0.0.1", port: port ?? control, isSecure: true),
                authorities: TrustPool([cluster.certificate]), identity: try identity(node: name)),
            on: own, metrics: MetricsRegistry(), log: Log.shared)
    }

    /// A pod that is bound to a node.
    func pod(
        _ name: String, account: String = "cart", namespace: String = "shop", node: String = "n1"
    ) async throws -> MeshNode.MeshPod {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: namespace, name: name)
        pod.json["spec"] = [
            "nodeName": .string(node), "serviceAccountName": .string(account),
            "containers": [["name": "app", "image": "app"]],
        ]
        let made = try await client.create(.pods, pod)
        return MeshNode.MeshPod(namespace: namespace, name: name, uid: made.uid, serviceAccount: account)
    }

    func volume(_ pod: MeshNode.MeshPod) -> String { "\(folder.path)/volumes/\(pod.uid)" }

    // MARK: Waiting

    /// Waits until it holds; what was seen last otherwise.
    func eventually(
        _ what: String, _ condition: () async throws -> Bool, at place: SourceLocation = #_sourceLocation
    ) async throws {
        try await TestSupport.eventually(what, on: loop, condition, at: place)
    }
}
