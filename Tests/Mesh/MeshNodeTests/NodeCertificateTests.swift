import Bytes
import ClusterAPI
import ClusterClient
import Reactor
import TLS
import Telemetry
import TestSupport
import Testing

@testable import MeshNode

/// A node whose own certificate ends while its pods' are renewed again and again, with the real weft-control.
@Suite("A node's own certificate", .enabled(if: MeshProxy.Maker.weft.program != nil, "programs are not built"))
struct NodeCertificateTests {
    @Test("it is renewed before it ends: pods have their certificates, and the API server is reached, after its end")
    func renewed() async throws {
        let group = try EventLoopGroup(count: 1, name: "node-certificate-test")
        let loop = group.all[0]
        let outcome: Result<Void, any Error>
        do {
            try await loop.perform { try await Self.play(loop) }
            outcome = .success(())
        } catch { outcome = .failure(error) }
        await group.shutdown()
        try outcome.get()
    }

    private static func play(_ loop: EventLoop) async throws {
        let control = try await ControlProcess(on: loop, hasControllers: true)
        defer { control.kill() }
        let pod = try await ControlProcessTests.prepare(try await control.client())
        let config = try await control.nodeConfig("n1", duration: "15s")
        let first = try TLSIdentity(
            certificatePEM: String(decoding: config.clientCertificate, as: UTF8.self),
            keyPEM: String(decoding: config.clientKey, as: UTF8.self))
        let transport = try HTTPTransport(config, on: loop, userAgent: "weft-test")
        let client = KubeClient(transport)
        let nodeGroup = try EventLoopGroup(count: 1, name: "node")
        let node = try MeshWorkloads(
            MeshNodeConfiguration(
                config, address: "127.0.0.1:\(control.meshPort)", recordDirectory: control.folder.path + "/records"),
            on: nodeGroup, metrics: MetricsRegistry(), log: Log.shared)
        let rotation = ClientCertificateRotation(
            client, first, .node, file: control.folder.path + "/current.pem", log: Log.shared)
        rotation.onChange { identity in
            do {
                try transport.show(identity)
                try node.use(identity)
            } catch { Issue.record(error) }
        }
        let rotating = Task(executorPreference: loop) { await rotation.run() }
        let following = Task { await node.run() }
        try await node.start(pod, folder: control.folder.path + "/volume")

        try await eventually("the first certificate is over, and there is another", on: loop) {
            first.leaf.notAfter < .now() && rotation.identity.leaf.serial != first.leaf.serial
        }
        let serial = await node.status().first?.serial
        // Each by a connection that began with the new one: those of the old one are refused by now.
        for _ in 0..<2 {
            let before = await node.status().first?.serial
            try await eventually("the pod has its next certificate", on: loop) {
                let now = await node.status().first
                return now?.serial != before && now?.failure == nil
            }
        }
        #expect(await node.status().first?.serial != serial)
        #expect(try await client.get(.pods, ObjectKey(namespace: "shop", name: "cart-1")).name == "cart-1")
        await node.stop(pod.uid)
        rotating.cancel()
        following.cancel()
        await rotating.value
        await following.value
        await nodeGroup.shutdown()
    }
}
