import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Synchronization

/// Notices nodes that fell silent, taints what is not healthy, and tells of it on their pods.
final class NodeLifecycleController: Controller {
    let name = "node-lifecycle-controller"
    private let context: ControllerContext
    private let config: ControllersConfig
    private let nodes: Informer<KubeObject>
    private let pods: Informer<KubeObject>
    private let leases: Informer<KubeObject>
    private let queue: WorkQueue<ObjectKey>
    private let recorder: EventRecorder
    /// The last sign of life of each node, by our own clock: what it said, and when we first saw it say so.
    private let signs = Mutex<[String: (text: String, at: MonotonicTime)]>([:])

    init(_ context: ControllerContext, _ config: ControllersConfig) {
        self.context = context
        self.config = config
        nodes = context.informers[.nodes]
        pods = context.informers[.pods]
        leases = context.informers[.leases]
        recorder = context.recorder("node-controller")
        let queue = WorkQueue<ObjectKey>(loop: context.loop)
        self.queue = queue
        nodes.onEvent { event in
            switch event {
            case .added(let key, _), .updated(let key, _, _), .deleted(let key, _): queue.add(key)
            case .synced: break
            }
        }
    }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in await reconcile(name, queue, workers: 4, log: context.log, sync) }
            while !Task.isCancelled {
                try? await EventLoop.sleep(for: config.nodeMonitorPeriod)
                for key in nodes.keys { queue.add(key) }
            }
            group.cancelAll()
        }
    }

    private func sync(_ key: ObjectKey) async throws -> ReconcileResult {
        guard let node = nodes.get(key), !node.isTerminating else {
            signs.withLock { $0[key.name] = nil }
            return .done
        }
        var current = node
        if isSilent(node) {
            let status = statusOfSilentNode(node, now: context.now())
            if status != node.status {
                current = try await context.client.patch(
                    .nodes, key, .merge, ["status": ["conditions": status["conditions"] ?? []]], subresource: "status")
                recorder.normal(node, "NodeNotReady", "Node \(key.name) status is now: NodeNotReady")
            }
        }
        let taints = healthTaints(current, now: context.now())
        if taints != current.spec["taints"]?.array ?? [] {
            try await context.client.patch(
                .nodes, key, .merge,
                [
                    "metadata": ["resourceVersion": .string(current.resourceVersion)],
                    "spec": ["taints": taints.isEmpty ? .null : .array(taints)],
                ])
        }
        if current.condition("Ready")?["status"]?.string != "True" { try await markPodsNotReady(on: key.name) }
        return .done
    }

    private func isSilent(_ node: KubeObject) -> Bool {
        let lease = leases.get(ObjectKey(namespace: "kube-node-lease", name: node.name))
        let text =
            (lease?.spec["renewTime"]?.string ?? "") + " "
            + (node.condition("Ready")?["lastHeartbeatTime"]?.string ?? "")
        return signs.withLock { signs in
            if signs[node.name]?.text != text { signs[node.name] = (text, .now()) }
            guard let sign = signs[node.name] else { return false }
            return MonotonicTime.now().duration(since: sign.at) > config.nodeMonitorGracePeriod
        }
    }

    private func markPodsNotReady(on node: String) async throws {
        for pod in pods.indexed(SharedInformers.byNode, node) where pod.isReadyPod {
            var conditions = pod.status["conditions"]?.array ?? []
            conditions = settingCondition(
                conditions, "Ready", false, reason: "NodeNotReady", message: "", now: context.now())
            do {
                try await context.client.patch(
                    .pods, pod.key, .merge,
                    ["metadata": ["uid": .string(pod.uid)], "status": ["conditions": .array(conditions)]],
                    subresource: "status")
            } catch let error as StatusError where error.code == 404 || error.code == 409 || error.code == 422 {}
        }
    }
}

/// A node's status when nothing was heard of it for the grace period: what it said last is not known to hold. Pure.
func statusOfSilentNode(_ node: KubeObject, now: Timestamp) -> JSONValue {
    var status = node.status
    var conditions = status["conditions"]?.array ?? []
    for type in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        if let i = conditions.firstIndex(where: { $0["type"]?.string == type }) {
            guard conditions[i]["status"]?.string != "Unknown" else { continue }
            conditions[i]["status"] = "Unknown"
            conditions[i]["reason"] = "NodeStatusUnknown"
            conditions[i]["message"] = "Kubelet stopped posting node status."
            conditions[i]["lastTransitionTime"] = .string(now.rfc3339)
        } else {
            conditions.append([
                "type": .string(type), "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.", "lastTransitionTime": .string(now.rfc3339),
            ])
        }
    }
    status["conditions"] = .array(conditions)
    return status
}

/// A node's taints with those that its health calls for, in the order that it has them. Pure.
func healthTaints(_ node: KubeObject, now: Timestamp) -> [JSONValue] {
    struct Taint: Hashable {
        var key: String
        var effect: String
    }
    let ready = node.condition("Ready")?["status"]?.string
    var wanted: Set<Taint> = []
    func want(_ key: String, _ effects: [String], _ holds: Bool) {
        if holds { for effect in effects { wanted.insert(Taint(key: key, effect: effect)) } }
    }
    want("node.kubernetes.io/not-ready", ["NoSchedule", "NoExecute"], ready == "False" || ready == nil)
    want("node.kubernetes.io/unreachable", ["NoSchedule", "NoExecute"], ready == "Unknown")
    want("node.kubernetes.io/unschedulable", ["NoSchedule"], node.spec["unschedulable"]?.bool == true)
    for (condition, key) in [
        ("MemoryPressure", "memory-pressure"), ("DiskPressure", "disk-pressure"), ("PIDPressure", "pid-pressure"),
        ("NetworkUnavailable", "network-unavailable"),
    ] {
        want("node.kubernetes.io/\(key)", ["NoSchedule"], node.hasCondition(condition))
    }
    let managed: Set<String> = Set(
        [
            "not-ready", "unreachable", "unschedulable", "memory-pressure", "disk-pressure", "pid-pressure",
            "network-unavailable",
        ].map { "node.kubernetes.io/\($0)" })
    var result: [JSONValue] = []
    for taint in node.spec["taints"]?.array ?? [] {
        let this = Taint(key: taint["key"]?.string ?? "", effect: taint["effect"]?.string ?? "")
        guard !managed.contains(this.key) || wanted.contains(this) else { continue }
        wanted.remove(this)
        result.append(taint)
    }
    for taint in wanted.sorted(by: { ($0.key, $0.effect) < ($1.key, $1.effect) }) {
        var value: JSONValue = ["key": .string(taint.key), "effect": .string(taint.effect)]
        if taint.effect == "NoExecute" { value["timeAdded"] = .string(now.rfc3339) }
        result.append(value)
    }
    return result
}
