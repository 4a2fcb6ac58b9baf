import ClusterAPI
import ClusterClient
import JSON
import Reactor

/// Keeps as many pods of a template as a ReplicaSet says.
final class ReplicaSetController: Controller {
    let name = "replicaset-controller"
    private let context: ControllerContext
    private let replicaSets: Informer<KubeObject>
    private let pods: Informer<KubeObject>
    private let queue: WorkQueue<ObjectKey>
    private let expectations = Expectations()
    private let recorder: EventRecorder

    init(_ context: ControllerContext) {
        self.context = context
        replicaSets = context.informers[.replicaSets]
        pods = context.informers[.pods]
        let queue = WorkQueue<ObjectKey>(loop: context.loop)
        self.queue = queue
        recorder = context.recorder("replicaset-controller")
        let expectations = expectations
        let replicaSets = replicaSets
        replicaSets.onEvent { event in
            switch event {
            case .added(let key, _), .updated(let key, _, _): queue.add(key)
            case .deleted(let key, _):
                expectations.forget(key)
                queue.add(key)
            case .synced: break
            }
        }
        pods.onEvent { event in
            switch event {
            case .added(_, let pod):
                guard let owner = Self.owner(of: pod) else { return Self.offer(pod, to: replicaSets, queue) }
                expectations.sawCreation(pod.uid, of: owner)
                if pod.isTerminating { expectations.sawDeletion(pod.uid, of: owner) }
                queue.add(owner)
            case .updated(_, let old, let pod):
                let (before, owner) = (Self.owner(of: old), Self.owner(of: pod))
                if let before, before != owner { queue.add(before) }
                guard let owner else { return Self.offer(pod, to: replicaSets, queue) }
                if pod.isTerminating { expectations.sawDeletion(pod.uid, of: owner) }
                queue.add(owner)
            case .deleted(_, let pod):
                guard let owner = Self.owner(of: pod) else { return }
                expectations.sawDeletion(pod.uid, of: owner)
                queue.add(owner)
            case .synced: break
            }
        }
    }

    func run() async { await reconcile(name, queue, workers: 5, log: context.log, sync) }

    private static func owner(of pod: KubeObject) -> ObjectKey? {
        guard let owner = pod.controller, owner.kind == "ReplicaSet" else { return nil }
        return ObjectKey(namespace: pod.namespace, name: owner.name)
    }

    /// A pod that nobody controls may be adopted by any ReplicaSet that selects it.
    private static func offer(_ pod: KubeObject, to replicaSets: Informer<KubeObject>, _ queue: WorkQueue<ObjectKey>) {
        guard pod.controller == nil, !pod.isTerminating else { return }
        for candidate in replicaSets.indexed(SharedInformers.byNamespace, pod.namespace)
        where LabelSelector(candidate.spec["selector"])?.matches(pod.json["metadata"]?["labels"]) == true {
            queue.add(candidate.key)
        }
    }

    private func sync(_ key: ObjectKey) async throws -> ReconcileResult {
        guard let replicaSet = replicaSets.get(key), let selector = LabelSelector(replicaSet.spec["selector"]) else {
            return .done
        }
        // Their events bring the key back; the time limit is for an event that was never seen.
        guard expectations.areFulfilled(for: key) else { return .again(after: Expectations.lifetime) }
        let owned = try await claim(replicaSet, selector)
        let replicas = Int(clamping: replicaSet.spec["replicas"]?.int ?? 1)
        var failure: String?
        if !replicaSet.isTerminating {
            let plan = ReplicaSetPlan(
                replicas: replicas, pods: owned, siblings: siblings(of: replicaSet, owned), now: context.now())
            failure = await carryOut(plan, replicaSet)
        }
        let status = replicaSetStatus(replicaSet, pods: owned, failure: failure, now: context.now())
        if status != replicaSet.status {
            var updated = replicaSet
            updated.status = status
            do {
                try await context.client.updateStatus(.replicaSets, updated)
            } catch let error as StatusError where error.code == 404 {
                return .done
            }
        }
        if let failure { throw ControllerError(failure) }
        return availabilityRecheck(replicaSet, status)
    }

    /// Pods become available by the mere passing of time when `minReadySeconds` is set.
    private func availabilityRecheck(_ replicaSet: KubeObject, _ status: JSONValue) -> ReconcileResult {
        let minReady = replicaSet.spec["minReadySeconds"]?.int ?? 0
        guard minReady > 0, status["readyReplicas"] != status["availableReplicas"] else { return .done }
        return .again(after: .seconds(1))
    }

    /// The pods that this ReplicaSet controls, after taking on orphans that it selects and letting go of what it does not.
    private func claim(_ replicaSet: KubeObject, _ selector: LabelSelector) async throws -> [KubeObject] {
        var owned: [KubeObject] = []
        for pod in pods.indexed(SharedInformers.byController, replicaSet.uid) {
            if selector.matches(pod.json["metadata"]?["labels"]) || pod.isTerminating {
                owned.append(pod)
            } else {
                try await setController(nil, replicaSet, on: pod)
            }
        }
        guard !replicaSet.isTerminating else { return owned }
        for pod in pods.indexed(SharedInformers.byNamespace, replicaSet.namespace)
        where pod.controller == nil && pod.isActivePod && selector.matches(pod.json["metadata"]?["labels"]) {
            // The object in the informer may be an old one of the same name: only a live one of the same uid adopts.
            guard try await context.client.find(.replicaSets, replicaSet.key)?.uid == replicaSet.uid else { break }
            try await setController(OwnerReference(controller: replicaSet), replicaSet, on: pod)
            owned.append(pod)
        }
        return owned
    }

    private func setController(_ reference: OwnerReference?, _ replicaSet: KubeObject, on pod: KubeObject) async throws
    {
        var references = pod.ownerReferences.filter { $0.uid != replicaSet.uid }
        if let reference { references.append(reference) }
        do {
            try await context.client.patch(
                .pods, pod.key, .merge,
                ["metadata": ["uid": .string(pod.uid), "ownerReferences": .array(references.map(\.json))]])
        } catch let error as StatusError where error.code == 404 || error.code == 422 {
            // The pod is gone, or another one has its name.
        }
    }

    private func siblings(of replicaSet: KubeObject, _ owned: [KubeObject]) -> [KubeObject] {
        guard let owner = replicaSet.controller else { return owned.filter(\.isActivePod) }
        return replicaSets.indexed(SharedInformers.byController, owner.uid)
            .flatMap { pods.indexed(SharedInformers.byController, $0.uid) }.filter(\.isActivePod)
    }

    private enum Creation {
        case made
        case failed(String)
        /// The namespace is being deleted and takes the set with it: nothing to tell, nothing to retry.
        case pointless
    }

    private func create(_ replicaSet: KubeObject) async -> Creation {
        let key = replicaSet.key
        do {
            let pod = try await context.client.create(.pods, podFromTemplate(of: replicaSet))
            expectations.created(pod.uid, by: key)
            if pods.get(pod.key)?.uid == pod.uid { expectations.sawCreation(pod.uid, of: key) }
            recorder.normal(replicaSet, "SuccessfulCreate", "Created pod: \(pod.name)")
            return .made
        } catch let error as StatusError where error.hasCause("NamespaceTerminating") {
            return .pointless
        } catch {
            recorder.warning(replicaSet, "FailedCreate", "Error creating: \(error)")
            return .failed("\(error)")
        }
    }

    /// - Returns: what went wrong, if something did.
    private func carryOut(_ plan: ReplicaSetPlan, _ replicaSet: KubeObject) async -> String? {
        let key = replicaSet.key
        // Batches double, so that a template that cannot be created fails once and not five hundred times.
        var (made, batch) = (0, 1)
        while made < plan.creations {
            let size = min(batch, plan.creations - made)
            let outcomes = await withTaskGroup(of: Creation.self) { group in
                for _ in 0..<size { group.addTask { [self] in await create(replicaSet) } }
                return await group.reduce(into: [Creation]()) { $0.append($1) }
            }
            for case .failed(let why) in outcomes { return why }
            if outcomes.contains(where: { if case .pointless = $0 { true } else { false } }) { return nil }
            made += size
            batch *= 2
        }
        do {
            try await concurrently(plan.deletions) { [self] pod in
                expectations.deleting(pod.uid, by: key)
                do {
                    try await context.client.delete(.pods, pod.key, uid: pod.uid)
                    recorder.normal(replicaSet, "SuccessfulDelete", "Deleted pod: \(pod.name)")
                } catch {
                    expectations.sawDeletion(pod.uid, of: key)
                    if (error as? StatusError)?.code == 404 { return }
                    recorder.warning(replicaSet, "FailedDelete", "Error deleting: \(error)")
                    throw error
                }
            }
            return nil
        } catch {
            return "\(error)"
        }
    }
}

/// A pod as a controller makes it from `spec.template`.
func podFromTemplate(of owner: KubeObject) -> KubeObject {
    let template = owner.spec["template"] ?? .null
    var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: owner.namespace)
    pod.generateName = "\(owner.name)-"
    for field in ["labels", "annotations", "finalizers"] {
        if let value = template["metadata"]?[field] { pod.json["metadata"]?[field] = value }
    }
    pod.ownerReferences = [OwnerReference(controller: owner)]
    pod.spec = template["spec"] ?? .object(JSONObject())
    return pod
}

/// A sentence about what a controller could not do.
struct ControllerError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
