import Bytes
import ClusterAPI
import ClusterClient
import Glibc
import JSON
import Reactor
import TLS
import Telemetry
import TestSupport
import Testing
import YAML

@testable import MeshNode

/// The program itself: killed, and started again on what it left.
@Suite(
    "weft-control as the mesh's authority", .enabled(if: MeshProxy.Maker.weft.program != nil, "programs are not built"))
struct ControlProcessTests {
    private static let cart = "spiffe://cluster.local/ns/shop/sa/cart"

    @Test("killed, it is not missed; started again, it goes on as the same authority")
    func killed() async throws {
        let group = try EventLoopGroup(count: 1, name: "control-test")
        let loop = group.all[0]
        let outcome: Result<Void, any Error>
        do {
            try await loop.perform { try await Self.play(group) }
            outcome = .success(())
        } catch { outcome = .failure(error) }
        await group.shutdown()
        try outcome.get()
    }

    private static func play(_ group: EventLoopGroup) async throws {
        let loop = group.all[0]
        let control = try await ControlProcess(on: loop)
        defer { control.kill() }
        let client = try await control.client()
        let pod = try await prepare(client)
        let nodeGroup = try EventLoopGroup(count: 1, name: "node")
        let node = try MeshWorkloads(
            MeshNodeConfiguration(
                try await control.nodeConfig("n1"), address: "127.0.0.1:\(control.meshPort)",
                recordDirectory: control.folder.path + "/records"), on: nodeGroup, metrics: MetricsRegistry(),
            log: Log.shared)
        let volume = control.folder.path + "/volume"
        try await node.start(pod, folder: volume)
        let following = Task { await node.run() }
        let proxy = try await MeshProxy(.weft, pod, volume: volume, in: control.folder.path, on: loop)
        defer { proxy.kill() }
        try await eventually(loop, "it answers") { try await proxy.call() == cart }
        try await eventually(loop, "it is connected") { try await proxy.stat("control_plane.connected_state") == 1 }
        let roots = try Files.readText(control.folder.path + "/data/pki/mesh/current/root-cert.pem")
        let serial = await node.status().first?.serial

        let asked = try await proxy.stat("cluster.xds-grpc.upstream_rq_total")
        control.kill()
        for _ in 0..<20 { #expect(try await proxy.call() == cart) }
        try await control.start()
        try await eventually(loop, "there is a new certificate") {
            let now = await node.status().first?.serial
            return now != nil && now != serial
        }
        try await eventually(loop, "it has asked again") {
            let now = try await proxy.stat("cluster.xds-grpc.upstream_rq_total")
            let state = try await proxy.stat("control_plane.connected_state")
            return now > asked && state == 1
        }
        #expect(try await proxy.call() == cart)
        #expect(try Files.readText(control.folder.path + "/data/pki/mesh/current/root-cert.pem") == roots)
        await node.stop(pod.uid)
        following.cancel()
        await following.value
        await nodeGroup.shutdown()
    }

    static func prepare(_ client: KubeClient) async throws -> MeshNode.MeshPod {
        _ = try await client.create(
            GroupVersionResource(resource: "namespaces"), KubeObject(apiVersion: "v1", kind: "Namespace", name: "shop"))
        _ = try await client.create(
            .serviceAccounts, KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "shop", name: "cart"))
        var object = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: "cart-1")
        object.json["spec"] = [
            "nodeName": "n1", "serviceAccountName": "cart", "containers": [["name": "app", "image": "app"]],
        ]
        let made = try await client.create(.pods, object)
        return MeshNode.MeshPod(namespace: "shop", name: "cart-1", uid: made.uid, serviceAccount: "cart")
    }

    static func eventually(
        _ loop: EventLoop, _ what: String, _ condition: () async throws -> Bool,
        at place: SourceLocation = #_sourceLocation
    ) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while try await !condition() {
            guard ContinuousClock.now < deadline else {
                Issue.record("it never became so: \(what)", sourceLocation: place)
                throw MeshBench.NeverSo(what: what)
            }
            try await loop.sleep(for: .milliseconds(20))
        }
    }
}

/// A `weft-control` of the test's own.
final class ControlProcess: @unchecked Sendable {
    // Proof for `@unchecked`: of one task.
    let folder: ScratchFolder
    let meshPort: UInt16
    private let port: UInt16
    private let loop: EventLoop
    private var process: ChildProcess?
    private let wrapper: [String]
    private let hasControllers: Bool

    /// - Parameters:
    ///   - wrapper: What the program is started by, given a folder to write to; nothing as a rule.
    ///   - hasControllers: Nodes' certificates are renewed.
    init(on loop: EventLoop, hasControllers: Bool = false, wrapper: (_ folder: String) throws -> [String] = { _ in [] })
        async throws
    {
        self.loop = loop
        folder = try ScratchFolder()
        self.wrapper = try wrapper(folder.path)
        self.hasControllers = hasControllers
        port = try PortReservation.free()
        meshPort = try PortReservation.free()
        try await start()
    }

    private var program: String {
        (MeshProxy.Maker.weft.program ?? "").replacing("/weft-proxy", with: "/weft-control")
    }

    func start() async throws {
        process = try await ChildProcess.start(
            .init(
                wrapper + [
                    program, "run", "--data-dir", folder.path + "/data", "--listen", "127.0.0.1:\(port)",
                    "--advertise-address", "127.0.0.1", "--mesh-address", "127.0.0.1:\(meshPort)",
                    "--mesh-cert-lifetime",
                    "10s", "--controllers", "\(hasControllers)", "--scheduler", "false",
                ]), on: loop)
    }

    func kill() {
        process?.kill(9)
        process = nil
    }

    func client() async throws -> KubeClient {
        let path = folder.path + "/data/admin.kubeconfig"
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            if Files.exists(path) {
                let client = KubeClient(try HTTPTransport(try config(path), on: loop, userAgent: "weft-test"))
                if (try? await client.discovery("/version")) != nil { return client }
            }
            try await loop.sleep(for: .milliseconds(20))
        }
        throw MeshBench.NeverSo(what: "the control plane serves")
    }

    func nodeConfig(_ name: String, duration: String = "8760h") async throws -> KubeConfig {
        let path = folder.path + "/\(name).kubeconfig"
        let output = try await ChildProcess.run(
            .init([
                program, "issue-node-kubeconfig", "--name", name, "--data-dir", folder.path + "/data", "--server",
                "https://127.0.0.1:\(port)", "--out", path, "--duration", duration,
            ]), on: loop)
        try #require(output.status.isSuccess, "\(output.errorText)")
        return try config(path)
    }

    private func config(_ path: String) throws -> KubeConfig {
        try KubeConfig(document: try YAML.parse(try Files.readText(path)), directory: folder.path)
    }
}
