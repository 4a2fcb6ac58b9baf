import Bytes
import ClusterAPI
import ClusterClient
import Glibc
import JSON
import Netlink
import Reactor
import Synchronization
import Testing

@testable import PodRuntime

/// The API server as one node sees it, in memory: pods with their status merged in, the objects they refer to, and events.
final class ScriptedServer: PodObjects, PodEvents, PodNetworking, VolumeDriver {
    private struct State {
        var pods: [String: JSONValue] = [:]
        var configMaps: [ObjectKey: JSONValue] = [:]
        var secrets: [ObjectKey: JSONValue] = [:]
        var events: [String] = []
        var version: Int64 = 1
        var confirmed: Set<String> = []
        var attached: Set<String> = []
        var networkProblem: String?
        var volumeProblem: String?
        var published: Set<String> = []
    }
    private let state = Mutex(State())

    var events: [String] { state.withLock { $0.events } }
    var attached: Set<String> { state.withLock { $0.attached } }
    func status(_ uid: String) -> JSONValue? { state.withLock { $0.pods[uid]?["status"] } }
    func isConfirmed(_ uid: String) -> Bool { state.withLock { $0.confirmed.contains(uid) } }
    func pod(_ uid: String) -> JSONValue? { state.withLock { $0.pods[uid] } }

    func put(_ pod: JSONValue) -> JSONValue {
        state.withLock { state in
            var pod = pod
            state.version += 1
            pod["metadata"]?["resourceVersion"] = .string(String(state.version))
            if let uid = pod["metadata"]?["uid"]?.string {
                pod["status"] = state.pods[uid]?["status"] ?? pod["status"] ?? [:]
                state.pods[uid] = pod
            }
            return pod
        }
    }

    func putConfigMap(_ name: String, _ data: JSONValue) {
        state.withLock { $0.configMaps[ObjectKey(namespace: "shop", name: name)] = ["data": data] }
    }

    func setNetworkProblem(_ text: String?) { state.withLock { $0.networkProblem = text } }

    func configMap(_ key: ObjectKey) async throws -> JSONValue? { state.withLock { $0.configMaps[key] } }
    func secret(_ key: ObjectKey) async throws -> JSONValue? { state.withLock { $0.secrets[key] } }
    func token(for pod: PodSpec, audience: String, expiration: Int64) async throws -> String {
        "token-of-\(pod.identity.name)"
    }
    func services() async -> [ServiceVariables.Service] {
        [
            ServiceVariables.Service(
                key: ObjectKey(namespace: "default", name: "kubernetes"), clusterIP: "10.96.0.1",
                ports: [ServiceVariables.Port(name: "https", port: 443, transport: "TCP")])
        ]
    }

    func patchStatus(_ pod: PodIdentity, _ status: JSONValue) async throws -> JSONValue? {
        state.withLock { state in
            guard state.pods[pod.uid] != nil else { return nil }
            state.version += 1
            state.pods[pod.uid]?["metadata"]?["resourceVersion"] = .string(String(state.version))
            state.pods[pod.uid]?["status"] = status
            return state.pods[pod.uid]
        }
    }

    func confirmDeletion(_ pod: PodIdentity) async throws {
        state.withLock { state in
            state.confirmed.insert(pod.uid)
            state.pods[pod.uid] = nil
        }
    }

    func record(_ pod: JSONValue, _ report: PodLifecycle.Report) {
        state.withLock { $0.events.append("\(report.reason): \(report.message)") }
    }

    let name = "test.weft.dev"

    func publish(_ pod: PodSpec, folder: String) async throws {
        if let problem = state.withLock({ $0.volumeProblem }) { throw SandboxError(description: problem) }
        try Files.writeAtomically(folder + "/who", pod.identity.name)
        _ = state.withLock { $0.published.insert(pod.identity.uid) }
    }

    func unpublish(_ pod: PodIdentity) async { _ = state.withLock { $0.published.remove(pod.uid) } }

    func setVolumeProblem(_ text: String?) { state.withLock { $0.volumeProblem = text } }
    var published: Set<String> { state.withLock { $0.published } }

    func unavailable() async -> String? { state.withLock { $0.networkProblem } }

    /// As a pod network does it as far as the loopback, which is all that pods here have.
    func attach(sandbox: String, namespace: String, pod: PodSpec) async throws -> [String] {
        if let handle = try? NamespaceHandle.open(namespace) {
            let routes = try RouteConnection(namespace: handle.descriptor)
            for link in try routes.perform([.get(linkNamed: "lo")]).links {
                try routes.perform([.change(link.index, LinkChange(isUp: true))])
            }
        }
        return state.withLock { state in
            state.attached.insert(sandbox)
            return ["10.1.2.3"]
        }
    }

    func detach(sandbox: String, namespace: String, pod: PodIdentity) async throws {
        _ = state.withLock { $0.attached.remove(sandbox) }
    }
}

/// A node in folders of its own, whose agent can be ended as by kill -9 and begun again.
final class TestNode: Sendable {
    let root: String
    let paths: NodePaths
    let server = ScriptedServer()
    private struct Running {
        var group: EventLoopGroup
        var agent: NodeAgent
    }
    private let running = Mutex<Running?>(nil)
    /// Of this test alone, so that all of it can be taken away.
    var cgroupRoot: String { "/" + root.split(separator: "/").joined(separator: "-") }

    init() throws {
        var template = Array("/tmp/weft-node-XXXXXX".utf8CString)
        root = String(cString: try #require(mkdtemp(&template)))
        paths = NodePaths(state: root + "/state", run: root + "/run", log: root + "/log")
    }

    /// Runs `body` with a node whose agent is up, and takes all of it away afterwards.
    static func with(_ body: @escaping @Sendable (TestNode) async throws -> Void) async throws {
        let node = try TestNode()
        do {
            try await node.beginAgent()
            try await body(node)
        } catch {
            await node.cleanUp()
            throw error
        }
        await node.cleanUp()
    }

    func beginAgent() async throws {
        let group = try EventLoopGroup(count: 1, name: "node")
        var context = NodeContext(
            nodeName: "node-1", hostIPs: ["192.0.2.1"], paths: paths, clusterDNS: ["10.96.0.10"],
            clusterDomain: "cluster.local", cgroupRoot: cgroupRoot, hiddenPaths: [],
            capacity: ResourceRequirements.Amounts(milliCPU: 2000, memory: 8 << 30), network: server, objects: server,
            events: server, loop: group.next)
        context.volumeDrivers = [server]
        let agent = try NodeAgent(context)
        running.withLock { $0 = Running(group: group, agent: agent) }
        try await perform { await $0.recover() }
    }

    /// Ends the agent's loop at once: whatever it was doing stays undone.
    func killAgent() async {
        let old = running.withLock { running in
            defer { running = nil }
            return running
        }
        await old?.group.shutdown()
    }

    func perform<R: Sendable>(_ body: @escaping @Sendable (NodeAgent) async throws -> R) async throws -> R {
        let (group, agent) = try #require(running.withLock { $0.map { ($0.group, $0.agent) } })
        return try await group.next.perform { try await body(agent) }
    }

    /// The watch tells of a pod.
    func apply(_ pod: JSONValue) async throws {
        let pod = server.put(pod)
        try await perform { await $0.take(pod) }
    }

    /// The watch has told of everything.
    func sync() async throws { try await perform { await $0.handle(.synced) } }

    /// Someone asks for the pod's deletion.
    func delete(_ uid: String, grace: Int64) async throws {
        var pod = try #require(server.pod(uid))
        pod["metadata"]?["deletionTimestamp"] = .string(Timestamp.now().adding(seconds: grace).rfc3339)
        pod["metadata"]?["deletionGracePeriodSeconds"] = .int(grace)
        try await apply(pod)
    }

    /// Waits until the pod's status at the server is as wanted, and gives it.
    @discardableResult
    func status(
        _ uid: String, within seconds: Double = 10, _ what: String, _ holds: @Sendable (JSONValue) -> Bool
    ) async throws -> JSONValue {
        let deadline = MonotonicTime.now().adding(.nanoseconds(Int64(seconds * 1e9)))
        var last: JSONValue = .null
        while MonotonicTime.now() < deadline {
            last = server.status(uid) ?? .null
            if holds(last) { return last }
            try await Task.sleep(for: .milliseconds(2))
        }
        throw SandboxError(description: "\(what) did not come; last seen: \(last); events: \(server.events)")
    }

    func until(_ what: String, within seconds: Double = 10, _ holds: @Sendable () -> Bool) async throws {
        let deadline = MonotonicTime.now().adding(.nanoseconds(Int64(seconds * 1e9)))
        while !holds() {
            guard MonotonicTime.now() < deadline else {
                throw SandboxError(description: "\(what) did not come; events: \(server.events)")
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    func cleanUp() async {
        await killAgent()
        do {
            let group = try EventLoopGroup(count: 1, name: "clean-up")
            try await NodeAgent.removeEverything(paths: paths, cgroupRoot: cgroupRoot, on: group.next)
            await group.shutdown()
            try Files.removeTree(root)
        } catch {
            Issue.record("the node left something behind: \(error)")
        }
        #expect(!MountPoint.all().contains { $0.hasPrefix(root + "/") })
    }
}

extension JSONValue {
    var isReady: Bool { condition("Ready")?["status"]?.string == "True" }
    /// The status of the only container.
    var container: JSONValue? { self["containerStatuses"]?.array?.first }
}
