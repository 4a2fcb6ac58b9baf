import ClusterAPI
import ClusterClient
import Glibc
import JSON
import Reactor
import Telemetry
import TestSupport
import Testing

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
        try await eventually("it answers", on: loop) { try await proxy.call() == cart }
        try await eventually("it is connected", on: loop) { try await proxy.stat("control_plane.connected_state") == 1 }
        let roots = try Files.readText(control.folder.path + "/data/pki/mesh/current/root-cert.pem")
        let serial = await node.status().first?.serial

        let asked = try await proxy.stat("cluster.xds-grpc.upstream_rq_total")
        control.kill()
        for _ in 0..<20 { #expect(try await proxy.call() == cart) }
        try await control.start()
        try await eventually("there is a new certificate", on: loop) {
            let now = await node.status().first?.serial
            return now != nil && now != serial
        }
        try await eventually("it has asked again", on: loop) {
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
}
