import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Synchronization

/// Deletes pods from nodes whose NoExecute taints they do not tolerate, or tolerate for so long only.
final class TaintEvictionController: Controller {
    let name = "taint-eviction-controller"
    private let context: ControllerContext
    private let nodes: Informer<KubeObject>
    private let pods: Informer<KubeObject>
    private let queue: WorkQueue<ObjectKey>
    private let recorder: EventRecorder
    /// When a pod was first seen on a tainted node: a taint need not say since when it is there.
    private let noticed = Mutex<[ObjectKey: (uid: String, since: Timestamp)]>([:])

    init(_ context: ControllerContext) {
        self.context = context
        let nodes = context.informers[.nodes]
        let pods = context.informers[.pods]
        self.nodes = nodes
        self.pods = pods
        recorder = context.recorder("taint-eviction-controller")
        let queue = WorkQueue<ObjectKey>(loop: context.loop)
        self.queue = queue
        nodes.onEvent { event in
            switch event {
            case .added(_, let node), .updated(_, _, let node):
                guard !noExecuteTaints(node).isEmpty else { return }
                for pod in pods.indexed(SharedInformers.byNode, node.name) { queue.add(pod.key) }
            case .deleted, .synced: break
            }
        }
        pods.onEvent { event in
            switch event {
            case .added(let key, let pod), .updated(let key, _, let pod):
                guard let name = pod.spec["nodeName"]?.string, let node = nodes.get(ObjectKey(name: name)),
                    !noExecuteTaints(node).isEmpty
                else { return }
                queue.add(key)
            case .deleted(let key, _): queue.add(key)
            case .synced: break
            }
        }
    }

    func run() async { await reconcile(name, queue, workers: 8, log: context.log, sync) }

    private func sync(_ key: ObjectKey) async throws -> ReconcileResult {
        guard let pod = pods.get(key), !pod.isTerminating, !pod.isTerminal,
            let node = pod.spec["nodeName"]?.string.flatMap({ nodes.get(ObjectKey(name: $0)) })
        else {
            noticed.withLock { $0[key] = nil }
            return .done
        }
        // The taints are looked at anew each time, so a taint that goes away cancels the eviction.
        let (now, taints) = (context.now(), noExecuteTaints(node))
        let since = noticed.withLock { noticed -> Timestamp in
            let known = noticed[key]
            let since = known?.uid == pod.uid ? known?.since ?? now : now
            noticed[key] = taints.isEmpty ? nil : (pod.uid, since)
            return since
        }
        switch evictionDelay(pod, taints: taints, noticed: since, now: now) {
        case nil: return .done
        case .some(let seconds) where seconds > 0: return .again(after: .seconds(seconds))
        default: break
        }
        let conditions = settingCondition(
            pod.status["conditions"]?.array ?? [], "DisruptionTarget", true, reason: "DeletionByTaintManager",
            message: "Taint manager: deleting due to NoExecute taint", now: context.now())
        do {
            try await context.client.patch(
                .pods, key, .merge,
                ["metadata": ["uid": .string(pod.uid)], "status": ["conditions": .array(conditions)]],
                subresource: "status")
            try await context.client.delete(.pods, key, uid: pod.uid)
            recorder.normal(pod, "TaintManagerEviction", "Marking for deletion Pod \(key)")
        } catch let error as StatusError where error.code == 404 || error.code == 409 {}
        return .done
    }
}

/// The taints of a node that drive pods away.
func noExecuteTaints(_ node: KubeObject) -> [JSONValue] {
    (node.spec["taints"]?.array ?? []).filter { $0["effect"]?.string == "NoExecute" }
}

/// Seconds until a pod must go because of `taints`; nil when it may stay, 0 or less when it must go now. Pure.
///
/// - Parameter noticed: since when the pod is known to be exposed, for taints that do not say since when they are there.
func evictionDelay(_ pod: KubeObject, taints: [JSONValue], noticed: Timestamp, now: Timestamp) -> Int64? {
    let tolerations = pod.spec["tolerations"]?.array ?? []
    var shortest: Int64?
    for taint in taints {
        let matching = tolerations.filter { tolerates($0, taint) }
        guard !matching.isEmpty else { return 0 }
        let added = taint["timeAdded"]?.string.flatMap(Timestamp.init(rfc3339:)) ?? noticed
        for seconds in matching.compactMap({ $0["tolerationSeconds"]?.int }) {
            let left = added.seconds + max(0, seconds) - now.seconds
            shortest = min(shortest ?? left, left)
        }
    }
    return shortest
}

private func tolerates(_ toleration: JSONValue, _ taint: JSONValue) -> Bool {
    if let effect = toleration["effect"]?.string, !effect.isEmpty, effect != taint["effect"]?.string { return false }
    let key = toleration["key"]?.string ?? ""
    let exists = toleration["operator"]?.string == "Exists"
    if key.isEmpty { return exists }
    guard key == taint["key"]?.string else { return false }
    return exists || (toleration["value"]?.string ?? "") == (taint["value"]?.string ?? "")
}
