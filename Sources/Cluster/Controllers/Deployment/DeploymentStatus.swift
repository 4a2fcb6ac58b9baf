import Bytes
import ClusterAPI
import JSON

/// A Deployment's status from its ReplicaSets. Pure.
func deploymentStatus(
    _ deployment: KubeObject, new: KubeObject?, old: [KubeObject], failure: String?, now: Timestamp
) -> JSONValue {
    let bounds = RolloutPlan.Bounds(deployment)
    let all = old + (new.map { [$0] } ?? [])
    func sum(_ field: String) -> Int64 { all.reduce(0) { $0 + ($1.status[field]?.int ?? 0) } }
    let before = deployment.status
    var status = before.object ?? JSONObject()
    let (replicas, ready, available) = (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"))
    let updated = new?.status["replicas"]?.int ?? 0
    status["observedGeneration"] = .int(deployment.generation)
    for (field, value) in [
        ("replicas", replicas), ("updatedReplicas", updated), ("readyReplicas", ready),
        ("availableReplicas", available),
        ("unavailableReplicas", max(0, all.reduce(0) { $0 + ($1.spec["replicas"]?.int ?? 1) } - available)),
        ("terminatingReplicas", sum("terminatingReplicas")),
    ] {
        // Counts of zero are left out, as upstream encodes them.
        status[field] = value > 0 ? .int(value) : nil
    }
    var conditions = status["conditions"]?.array ?? []
    func set(_ type: String, _ value: ConditionStatus, _ reason: String, _ message: String) {
        conditions = settingCondition(
            conditions, type, value, reason: reason, message: message, now: now, updateTimeField: "lastUpdateTime")
    }
    if available >= Int64(bounds.replicas - bounds.maxUnavailable) {
        set("Available", true, "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        set("Available", false, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    }

    let wanted = Int64(bounds.replicas)
    let isComplete = new != nil && updated == wanted && replicas == wanted && available == wanted
    let (updatedBefore, replicasBefore) = (before["updatedReplicas"]?.int ?? 0, before["replicas"]?.int ?? 0)
    let hasProgressed =
        updated > updatedBefore || replicas - updated < replicasBefore - updatedBefore
        || ready > (before["readyReplicas"]?.int ?? 0) || available > (before["availableReplicas"]?.int ?? 0)
    let progressing = conditions.first { $0["type"]?.string == "Progressing" }
    let reason = progressing?["reason"]?.string
    // A rollout that is through stays so when pods come and go or their number changes; only another template ends it.
    let isThrough = reason == "NewReplicaSetAvailable" && updated == replicas
    let isResting = progressing == nil || reason == "DeploymentPaused" || reason == "NewReplicaSetAvailable"
    if deployment.spec["paused"]?.bool == true {
        set("Progressing", .unknown, "DeploymentPaused", "Deployment is paused")
    } else if isComplete, let new {
        set("Progressing", true, "NewReplicaSetAvailable", "ReplicaSet \"\(new.name)\" has successfully progressed.")
    } else if let new, !isThrough, hasProgressed || isResting {
        if updated == 0 {
            set("Progressing", true, "NewReplicaSetCreated", "Created new replica set \"\(new.name)\"")
        } else {
            set("Progressing", true, "ReplicaSetUpdated", "ReplicaSet \"\(new.name)\" is progressing.")
        }
        // Progress restarts the deadline even when the words stay the same.
        if hasProgressed, let i = conditions.firstIndex(where: { $0["type"]?.string == "Progressing" }) {
            conditions[i]["lastUpdateTime"] = .string(now.rfc3339)
        }
    } else if let seconds = secondsUntilDeadline(deployment, progressing, now: now), seconds <= 0 {
        set(
            "Progressing", false, "ProgressDeadlineExceeded",
            "ReplicaSet \"\(new?.name ?? deployment.name)\" has timed out progressing.")
    }
    if let failure {
        set("ReplicaFailure", true, "FailedCreate", failure)
    } else {
        conditions.removeAll { $0["type"]?.string == "ReplicaFailure" }
    }
    status["conditions"] = .array(conditions)
    return .object(status)
}

/// Seconds until a rollout that stands still counts as failed; nil when no deadline runs.
func secondsUntilDeadline(_ deployment: KubeObject, _ progressing: JSONValue?, now: Timestamp) -> Int64? {
    guard let deadline = deployment.spec["progressDeadlineSeconds"]?.int, deadline != Int64(Int32.max),
        let progressing, progressing["status"]?.string == "True",
        progressing["reason"]?.string != "NewReplicaSetAvailable",
        let since = progressing["lastUpdateTime"]?.string.flatMap(Timestamp.init(rfc3339:))
    else { return nil }
    return since.seconds + deadline - now.seconds
}
