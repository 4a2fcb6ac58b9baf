import Bytes
import ClusterAPI
import JSON

/// What a ReplicaSet's pods call for. Pure.
struct ReplicaSetPlan {
    /// Pods to make.
    var creations = 0
    /// Pods to delete, most dispensable first.
    var deletions: [KubeObject] = []

    /// Pods made or deleted in one go at most; the rest follows when these are seen.
    static let burst = 500

    /// - Parameters:
    ///   - pods: those that the ReplicaSet controls.
    ///   - siblings: active pods of replica sets with the same owner, to count how crowded a node is.
    init(replicas: Int, pods: [KubeObject], siblings: [KubeObject], now: Timestamp) {
        let active = pods.filter(\.isActivePod)
        let excess = active.count - replicas
        if excess < 0 {
            creations = min(-excess, Self.burst)
        } else if excess > 0 {
            var crowd: [String: Int] = [:]
            for pod in siblings { if let node = pod.spec["nodeName"]?.string { crowd[node, default: 0] += 1 } }
            deletions = Array(
                active.map { (pod: $0, rank: Rank($0, crowd: crowd, now: now)) }
                    .sorted { $0.rank < $1.rank }
                    .prefix(min(excess, Self.burst)).map(\.pod))
        }
    }

    /// Which pod goes first: the smaller rank. The order of kube-controller-manager.
    struct Rank: Comparable {
        private var keys: [Int64]

        init(_ pod: KubeObject, crowd: [String: Int], now: Timestamp) {
            let node = pod.spec["nodeName"]?.string ?? ""
            let phaseRank: Int64 = ["Pending": 0, "Unknown": 1][pod.phase] ?? 2
            let cost = pod.annotation("controller.kubernetes.io/pod-deletion-cost").flatMap { Int64($0) } ?? 0
            let restarts =
                (pod.status["containerStatuses"]?.array ?? []).map { $0["restartCount"]?.int ?? 0 }.max() ?? 0
            let readySince = pod.condition("Ready")?["lastTransitionTime"]?.string.flatMap(Timestamp.init(rfc3339:))
            let created = pod.creationTimestamp.flatMap(Timestamp.init(rfc3339:))
            // Ages count by their order of magnitude, so that pods started together are equal.
            func magnitude(_ since: Timestamp?) -> Int64 {
                guard let since else { return -1 }
                return Int64(64 - max(0, now.seconds - since.seconds).leadingZeroBitCount)
            }
            keys = [
                node.isEmpty ? 0 : 1, phaseRank, pod.isReadyPod ? 1 : 0, cost, -Int64(crowd[node] ?? 0),
                pod.isReadyPod ? magnitude(readySince) : 0, -restarts, magnitude(created),
            ]
        }

        static func < (a: Rank, b: Rank) -> Bool { a.keys.lexicographicallyPrecedes(b.keys) }
    }
}

/// A ReplicaSet's status from the pods that it controls. Pure.
func replicaSetStatus(_ replicaSet: KubeObject, pods: [KubeObject], failure: String?, now: Timestamp) -> JSONValue {
    let minReady = replicaSet.spec["minReadySeconds"]?.int ?? 0
    let templateLabels = LabelSelector(matchLabels: replicaSet.spec["template"]?["metadata"]?["labels"])
    let active = pods.filter(\.isActivePod)
    let terminating = pods.count { $0.isTerminating && !$0.isTerminal }
    var status = replicaSet.status.object ?? JSONObject()
    status["replicas"] = .int(Int64(active.count))
    status["fullyLabeledReplicas"] = .int(
        Int64(active.count { templateLabels.matches($0.json["metadata"]?["labels"]) }))
    status["readyReplicas"] = .int(Int64(active.count(where: \.isReadyPod)))
    status["availableReplicas"] = .int(Int64(active.count { $0.isAvailablePod(minReadySeconds: minReady, now: now) }))
    status["terminatingReplicas"] = .int(Int64(terminating))
    status["observedGeneration"] = .int(replicaSet.generation)
    var conditions = status["conditions"]?.array ?? []
    if let failure {
        conditions = settingCondition(
            conditions, "ReplicaFailure", true, reason: "FailedCreate", message: failure, now: now)
    } else {
        conditions.removeAll { $0["type"]?.string == "ReplicaFailure" }
    }
    status["conditions"] = conditions.isEmpty ? nil : .array(conditions)
    return .object(status)
}
