import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor

/// Rolls a Deployment's template out: one ReplicaSet a template, scaled step by step.
final class DeploymentController: Controller {
    let name = "deployment-controller"
    private let context: ControllerContext
    private let deployments: Informer<KubeObject>
    private let replicaSets: Informer<KubeObject>
    private let pods: Informer<KubeObject>
    private let queue: WorkQueue<ObjectKey>
    private let recorder: EventRecorder

    static let revision = "deployment.kubernetes.io/revision"
    static let revisionHistory = "deployment.kubernetes.io/revision-history"
    static let desiredReplicas = "deployment.kubernetes.io/desired-replicas"
    static let maxReplicas = "deployment.kubernetes.io/max-replicas"
    static let hashLabel = "pod-template-hash"
    /// Annotations of a Deployment that its ReplicaSets do not inherit.
    private static let ownAnnotations: Set<String> = [
        "kubectl.kubernetes.io/last-applied-configuration", "deprecated.deployment.rollback.to", revision,
        revisionHistory, desiredReplicas, maxReplicas,
    ]

    init(_ context: ControllerContext) {
        self.context = context
        let deployments = context.informers[.deployments]
        let replicaSets = context.informers[.replicaSets]
        self.deployments = deployments
        self.replicaSets = replicaSets
        pods = context.informers[.pods]
        recorder = context.recorder(name)
        let queue = WorkQueue<ObjectKey>(loop: context.loop)
        self.queue = queue
        deployments.onEvent { event in
            switch event {
            case .added(let key, _), .updated(let key, _, _), .deleted(let key, _): queue.add(key)
            case .synced: break
            }
        }
        replicaSets.onEvent { event in
            switch event {
            case .added(_, let set), .deleted(_, let set): Self.wake(set, deployments, queue)
            case .updated(_, let old, let set):
                if let before = Self.owner(of: old), before != Self.owner(of: set) { queue.add(before) }
                Self.wake(set, deployments, queue)
            case .synced: break
            }
        }
        // Recreate waits for the last old pod to be gone.
        pods.onEvent { event in
            guard case .deleted(_, let pod) = event, let owner = pod.controller, owner.kind == "ReplicaSet",
                let set = replicaSets.get(ObjectKey(namespace: pod.namespace, name: owner.name))
            else { return }
            Self.wake(set, deployments, queue)
        }
    }

    func run() async { await reconcile(name, queue, workers: 5, log: context.log, sync) }

    private static func owner(of set: KubeObject) -> ObjectKey? {
        guard let owner = set.controller, owner.kind == "Deployment" else { return nil }
        return ObjectKey(namespace: set.namespace, name: owner.name)
    }

    private static func wake(_ set: KubeObject, _ deployments: Informer<KubeObject>, _ queue: WorkQueue<ObjectKey>) {
        if let owner = owner(of: set) { return queue.add(owner) }
        guard set.controller == nil else { return }
        for deployment in deployments.list() where deployment.namespace == set.namespace {
            if LabelSelector(deployment.spec["selector"])?.matches(set.json["metadata"]?["labels"]) == true {
                queue.add(deployment.key)
            }
        }
    }

    private func sync(_ key: ObjectKey) async throws -> ReconcileResult {
        guard let deployment = deployments.get(key), let selector = LabelSelector(deployment.spec["selector"]) else {
            return .done
        }
        let sets = try await claim(deployment, selector)
        var (new, old) = split(sets, deployment)
        guard !deployment.isTerminating else { return try await report(deployment, new, old, failure: nil) }
        let bounds = RolloutPlan.Bounds(deployment)
        var failure: String?
        var plan = RolloutPlan.resize(new: new.map(planned), old: old.map(planned), bounds)
        if deployment.spec["paused"]?.bool != true {
            let isRecreate = deployment.spec["strategy"]?["type"]?.string == "Recreate"
            if let current = new {
                new = try await refreshRevision(deployment, current, old)
            } else if !isRecreate || old.allSatisfy({ planned($0).wanted == 0 && livePods(of: $0).isEmpty }) {
                (new, failure) = try await createNew(deployment, old, bounds, isRecreate: isRecreate)
            }
            if isRecreate {
                plan = .recreate(new: new.map(planned), old: old.map(planned), replicas: bounds.replicas)
            } else if plan == nil, let new {
                plan = .rolling(new: planned(new), old: old.map(planned), bounds)
            }
        }
        if failure == nil, let plan { try await carryOut(plan, deployment, old + (new.map { [$0] } ?? []), bounds) }
        let result = try await report(deployment, new, old, failure: failure)
        try await forgetHistory(deployment, old)
        if let failure { throw ControllerError(failure) }
        return result
    }

    private func planned(_ set: KubeObject) -> RolloutPlan.Set {
        RolloutPlan.Set(
            name: set.name, wanted: Int(clamping: set.spec["replicas"]?.int ?? 1),
            running: Int(clamping: set.status["replicas"]?.int ?? 0),
            available: Int(clamping: set.status["availableReplicas"]?.int ?? 0),
            created: set.creationTimestamp ?? "",
            desired: set.annotation(Self.desiredReplicas).flatMap { Int($0) },
            maxReplicas: set.annotation(Self.maxReplicas).flatMap { Int($0) } ?? 0)
    }

    private func livePods(of set: KubeObject) -> [KubeObject] {
        pods.indexed(SharedInformers.byController, set.uid).filter { !$0.isTerminal }
    }

    // MARK: Which ReplicaSets

    private func claim(_ deployment: KubeObject, _ selector: LabelSelector) async throws -> [KubeObject] {
        var sets: [KubeObject] = []
        for set in replicaSets.indexed(SharedInformers.byNamespace, deployment.namespace) {
            let isSelected = selector.matches(set.json["metadata"]?["labels"])
            if let controller = set.controller {
                guard controller.uid == deployment.uid else { continue }
                if isSelected || set.isTerminating {
                    sets.append(set)
                } else {
                    _ = try await setOwners(set.ownerReferences.filter { $0.uid != deployment.uid }, on: set)
                }
            } else if isSelected, !set.isTerminating, !deployment.isTerminating,
                // The object in the informer may be an old one of the same name: only a live one of the same uid adopts.
                try await context.client.find(.deployments, deployment.key)?.uid == deployment.uid
            {
                sets.append(
                    try await setOwners(set.ownerReferences + [OwnerReference(controller: deployment)], on: set))
            }
        }
        return sets
    }

    private func setOwners(_ references: [OwnerReference], on set: KubeObject) async throws -> KubeObject {
        try await context.client.patch(
            .replicaSets, set.key, .merge,
            ["metadata": ["uid": .string(set.uid), "ownerReferences": .array(references.map(\.json))]])
    }

    /// The set of the Deployment's present template, the oldest of several, and all the others.
    private func split(_ sets: [KubeObject], _ deployment: KubeObject) -> (new: KubeObject?, old: [KubeObject]) {
        let template = comparableTemplate(deployment.spec["template"])
        let ordered = sets.sorted { ($0.creationTimestamp ?? "", $0.name) < ($1.creationTimestamp ?? "", $1.name) }
        let new = ordered.first { comparableTemplate($0.spec["template"]) == template }
        return (new, ordered.filter { $0.uid != new?.uid })
    }

    // MARK: The new ReplicaSet

    private func createNew(
        _ deployment: KubeObject, _ old: [KubeObject], _ bounds: RolloutPlan.Bounds, isRecreate: Bool
    ) async throws -> (KubeObject?, failure: String?) {
        let collisions = deployment.status["collisionCount"]?.int ?? 0
        let hash = templateHash(deployment.spec["template"] ?? .null, collisions: collisions)
        let others = old.reduce(0) { $0 + planned($1).wanted }
        let replicas =
            isRecreate ? bounds.replicas : max(0, min(bounds.replicas, bounds.replicas + bounds.maxSurge - others))
        let set = newReplicaSet(
            deployment, hash: hash, replicas: replicas, revision: nextRevision(old), bounds: bounds)
        do {
            let created = try await context.client.create(.replicaSets, set)
            if replicas > 0 {
                recorder.normal(
                    deployment, "ScalingReplicaSet", "Scaled up replica set \(created.name) from 0 to \(replicas)")
            }
            try await annotate(deployment, revision: created.annotation(Self.revision))
            return (created, nil)
        } catch let error as StatusError where error.code == 409 {
            // Either an earlier try of ours that the informer has not shown yet, or a collision of hashes.
            if let existing = try await context.client.find(.replicaSets, set.key),
                existing.controller?.uid == deployment.uid,
                comparableTemplate(existing.spec["template"]) == comparableTemplate(deployment.spec["template"])
            {
                return (existing, nil)
            }
            try await context.client.patch(
                .deployments, deployment.key, .merge, ["status": ["collisionCount": .int(collisions + 1)]],
                subresource: "status")
            throw error
        } catch let error as StatusError where error.code == 403 || error.code == 422 {
            recorder.warning(deployment, "ReplicaSetCreateError", "Failed to create new replica set: \(error)")
            return (nil, "\(error)")
        }
    }

    private func newReplicaSet(
        _ deployment: KubeObject, hash: String, replicas: Int, revision: Int, bounds: RolloutPlan.Bounds
    ) -> KubeObject {
        var set = KubeObject(
            apiVersion: "apps/v1", kind: "ReplicaSet", namespace: deployment.namespace,
            name: "\(deployment.name)-\(hash)")
        var template = deployment.spec["template"] ?? .object(JSONObject())
        if template["metadata"] == nil { template["metadata"] = .object(JSONObject()) }
        var labels = template["metadata"]?["labels"]?.stringMap ?? [:]
        labels[Self.hashLabel] = hash
        template["metadata"]?["labels"] = JSONValue(stringMap: labels)
        var selector = deployment.spec["selector"] ?? .object(JSONObject())
        var matchLabels = selector["matchLabels"]?.stringMap ?? [:]
        matchLabels[Self.hashLabel] = hash
        selector["matchLabels"] = JSONValue(stringMap: matchLabels)
        set.labels = labels
        set.ownerReferences = [OwnerReference(controller: deployment)]
        set.annotations = inherited(deployment).merging([
            Self.revision: String(revision), Self.desiredReplicas: String(bounds.replicas),
            Self.maxReplicas: String(bounds.replicas + bounds.maxSurge),
        ]) { $1 }
        set.spec = ["replicas": .int(Int64(replicas)), "selector": selector, "template": template]
        if let minReady = deployment.spec["minReadySeconds"] { set.spec["minReadySeconds"] = minReady }
        return set
    }

    /// A set that is the newest again (a rollback) gets the next revision, and the Deployment shows it.
    private func refreshRevision(
        _ deployment: KubeObject, _ set: KubeObject, _ old: [KubeObject]
    ) async throws -> KubeObject {
        let wanted = nextRevision(old)
        let current = set.annotation(Self.revision).flatMap { Int($0) } ?? 0
        var annotations = set.annotations.merging(inherited(deployment)) { $1 }
        if current < wanted {
            if current > 0 {
                let history = annotations[Self.revisionHistory].map { "\($0)," } ?? ""
                annotations[Self.revisionHistory] = history + String(current)
            }
            annotations[Self.revision] = String(wanted)
        }
        var result = set
        let minReady = deployment.spec["minReadySeconds"]?.int ?? 0
        if annotations != set.annotations || (set.spec["minReadySeconds"]?.int ?? 0) != minReady {
            result.annotations = annotations
            result.spec["minReadySeconds"] = minReady == 0 ? nil : .int(minReady)
            result = try await context.client.update(.replicaSets, result)
        }
        try await annotate(deployment, revision: annotations[Self.revision])
        return result
    }

    private func annotate(_ deployment: KubeObject, revision: String?) async throws {
        guard let revision, deployment.annotation(Self.revision) != revision else { return }
        try await context.client.patch(
            .deployments, deployment.key, .merge, ["metadata": ["annotations": [Self.revision: .string(revision)]]])
    }

    private func inherited(_ deployment: KubeObject) -> [String: String] {
        deployment.annotations.filter { !Self.ownAnnotations.contains($0.key) }
    }

    private func nextRevision(_ old: [KubeObject]) -> Int {
        (old.compactMap { $0.annotation(Self.revision).flatMap { Int($0) } }.max() ?? 0) + 1
    }

    // MARK: Effects

    private func carryOut(
        _ plan: RolloutPlan, _ deployment: KubeObject, _ sets: [KubeObject], _ bounds: RolloutPlan.Bounds
    ) async throws {
        for (name, replicas) in plan.scale.sorted(by: { $0.key < $1.key }) {
            guard let set = sets.last(where: { $0.name == name }) else { continue }
            let before = planned(set).wanted
            var updated = set
            updated.spec["replicas"] = .int(Int64(replicas))
            updated.annotations[Self.desiredReplicas] = String(bounds.replicas)
            updated.annotations[Self.maxReplicas] = String(bounds.replicas + bounds.maxSurge)
            guard updated != set else { continue }
            try await context.client.update(.replicaSets, updated)
            guard before != replicas else { continue }
            recorder.normal(
                deployment, "ScalingReplicaSet",
                "Scaled \(replicas > before ? "up" : "down") replica set \(name) from \(before) to \(replicas)")
        }
    }

    private func report(
        _ deployment: KubeObject, _ new: KubeObject?, _ old: [KubeObject], failure: String?
    ) async throws -> ReconcileResult {
        let now = context.now()
        let status = deploymentStatus(deployment, new: new, old: old, failure: failure, now: now)
        if status != deployment.status {
            try await context.client.patch(
                .deployments, deployment.key, .merge, ["status": mergePatch(from: deployment.status, to: status)],
                subresource: "status")
        }
        let progressing = status["conditions"]?.array?.first { $0["type"]?.string == "Progressing" }
        if let seconds = secondsUntilDeadline(deployment, progressing, now: now), seconds > 0 {
            return .again(after: .seconds(seconds + 1))
        }
        return .done
    }

    /// Old sets without pods are kept for rollbacks up to `revisionHistoryLimit`.
    private func forgetHistory(_ deployment: KubeObject, _ old: [KubeObject]) async throws {
        guard let limit = deployment.spec["revisionHistoryLimit"]?.int else { return }
        let idle = old.filter {
            planned($0).wanted == 0 && planned($0).running == 0 && !$0.isTerminating
                && ($0.status["observedGeneration"]?.int ?? 0) >= $0.generation
        }
        func revision(_ set: KubeObject) -> Int { set.annotation(Self.revision).flatMap { Int($0) } ?? 0 }
        let oldestFirst = idle.sorted { revision($0) < revision($1) }
        for set in oldestFirst.prefix(max(0, idle.count - Int(clamping: limit))) {
            try await context.client.delete(.replicaSets, set.key, uid: set.uid)
        }
    }
}

/// A merge patch (RFC 7386) that turns one object into another, one level deep: what is gone is null.
func mergePatch(from old: JSONValue, to new: JSONValue) -> JSONValue {
    var patch = new
    for (key, _) in old.object ?? [:] where new[key] == nil { patch[key] = .null }
    return patch
}
