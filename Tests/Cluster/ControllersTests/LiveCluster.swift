import APIServer
import Bytes
import ClusterClient

import Glibc
import JSON
import Reactor
import Store
import TLS
import Testing

@testable import ClusterAPI
@testable import Controllers

/// A real store, a real API server and all controllers in this process; pods are run by `Kubelet` below.
struct LiveCluster {
    let client: KubeClient
    let loop: EventLoop
    let store: SQLiteStore
    let server: APIServer

    /// Runs `body` on a cluster of its own and takes it down after, whatever happened.
    static func run(
        config change: @escaping @Sendable (inout ControllersConfig) -> Void = { _ in },
        _ body: @escaping @Sendable (LiveCluster) async throws -> Void
    ) async throws {
        var template = Array("/tmp/weft-controllers-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        let group = try EventLoopGroup(count: 1, name: "controllers-test")
        let store = try SQLiteStore(path: directory + "/state.db")
        defer {
            store.close()
            for suffix in ["", "-wal", "-shm"] { unlink(directory + "/state.db" + suffix) }
            rmdir(directory)
        }
        let server = APIServer(
            store: store,
            config: APIServerConfig(
                serviceCIDRs: [try #require(CIDR("10.96.0.0/16"))], advertiseAddress: IPAddress(v4: 172, 30, 0, 1),
                serviceAccountIssuer: "https://kubernetes.default.svc", serviceAccountKey: try PrivateKey.generate()))
        let loop = group.all[0]
        let result: Result<Void, any Error>
        do {
            try await loop.perform {
                try await server.prepare()
                let cluster = LiveCluster(
                    client: KubeClient(server.transport()), loop: loop, store: store, server: server)
                var config = ControllersConfig()
                config.clusterCIDRs = [CIDR("10.244.0.0/16")].compactMap { $0 }
                config.rootCA = "-----BEGIN CERTIFICATE-----"
                change(&config)
                let settled = config
                try await withThrowingTaskGroup(of: Void.self) { tasks in
                    tasks.addTask {
                        await runControllers(ControllerContext(client: cluster.client, loop: loop), settled)
                    }
                    tasks.addTask { await Kubelet(cluster: cluster).run() }
                    defer { tasks.cancelAll() }
                    try await body(cluster)
                }
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        server.beginStopping()
        await group.shutdown()
        try result.get()
    }

    /// Waits until `condition` holds; after 20 s records an issue with what it saw last.
    func eventually(
        _ what: String, sourceLocation: SourceLocation = #_sourceLocation,
        _ condition: () async throws -> (holds: Bool, seen: String)
    ) async throws {
        var seen = ""
        let started = MonotonicTime.now()
        while MonotonicTime.now().duration(since: started) < .seconds(60) {
            let state = try await condition()
            if state.holds { return }
            seen = state.seen
            try await loop.sleep(for: .milliseconds(10))
        }
        Issue.record("\(what): last seen \(seen)", sourceLocation: sourceLocation)
        throw StatusError.timeout(what)
    }

    func pods(_ labels: String = "", namespace: String = "default") async throws -> [KubeObject] {
        try await client.list(.pods, namespace: namespace, Selection(labels: labels)).items
    }

    func addNode(_ name: String) async throws {
        var node = KubeObject(apiVersion: "v1", kind: "Node", name: name)
        node.json["spec"] = [:]
        try await client.create(.nodes, node)
        try await client.patch(
            .nodes, ObjectKey(name: name), .merge,
            ["status": ["conditions": [["type": "Ready", "status": "True", "reason": "KubeletReady"]]]],
            subresource: "status")
    }
}

/// Binds every pod to a node, says that it runs and is ready, and lets it go when it is deleted.
struct Kubelet: Sendable {
    let cluster: LiveCluster
    /// Pods with this label stay pending.
    static let hold = "test.weft.dev/hold"

    func run() async {
        var next = 1
        while !Task.isCancelled {
            try? await EventLoop.sleep(for: .milliseconds(15))
            guard let pods = try? await cluster.client.list(.pods).items else { continue }
            for pod in pods where pod.label(Self.hold) == nil {
                do {
                    if pod.isTerminating {
                        try await cluster.client.delete(.pods, pod.key, uid: pod.uid, gracePeriodSeconds: 0)
                    } else if pod.spec["nodeName"] == nil {
                        var binding = KubeObject(
                            apiVersion: "v1", kind: "Binding", namespace: pod.namespace, name: pod.name)
                        binding.json["target"] = ["apiVersion": "v1", "kind": "Node", "name": "n1"]
                        try await cluster.client.create(.pods, binding, subresource: "binding")
                    } else if pod.status["podIP"] == nil {
                        next += 1
                        let address = IPAddress(v4: 0x0AF4_0000 + UInt32(next)).description
                        try await cluster.client.patch(
                            .pods, pod.key, .merge,
                            [
                                "status": [
                                    "phase": "Running", "podIP": .string(address), "podIPs": [["ip": .string(address)]],
                                    "conditions": [
                                        [
                                            "type": "Ready", "status": "True",
                                            "lastTransitionTime": .string(Timestamp.now().rfc3339),
                                        ]
                                    ],
                                ]
                            ], subresource: "status")
                    }
                } catch {}
            }
        }
    }
}
