import ClusterAPI
import ClusterClient
import JSON

/// A node as the scheduler sees it: what it offers, and the pods that are or will be on it.
struct NodeState: APIDecodable, Sendable {
    var name: String
    var labels: [String: String]
    var taints: [Taint]
    var isUnschedulable: Bool
    var allocatable: Resources
    var podLimit: Int
    /// Everything below follows from pods, not from the Node object.
    var requested = Resources()
    /// As `requested`, with a small amount for pods that ask for nothing, so that they spread too.
    var requestedForScore = Resources()
    var pods: [String: PodDemand] = [:]

    /// What a container that asks for nothing counts in scores: 100 m and 200 MB.
    static let defaultMilliCPU: Int64 = 100
    static let defaultMemory: Int64 = 200 * 1024 * 1024

    init(_ node: KubeObject) {
        name = node.name
        labels = node.labels
        taints = (node.spec["taints"]?.array ?? []).map(Taint.init)
        isUnschedulable = node.spec["unschedulable"]?.bool ?? false
        let list = node.status["allocatable"] ?? node.status["capacity"]
        allocatable = Resources(list)
        podLimit = list?["pods"].flatMap(Quantity.init(json:)).map { Int(clamping: $0.value) } ?? 110
    }

    /// Takes over what the Node object says, and keeps the pods.
    mutating func refresh(from fresh: NodeState) {
        var fresh = fresh
        fresh.requested = requested
        fresh.requestedForScore = requestedForScore
        fresh.pods = pods
        self = fresh
    }

    mutating func add(_ pod: PodDemand) {
        if let old = pods.updateValue(pod, forKey: pod.uid) { forget(old) }
        requested += pod.requests
        requestedForScore += pod.requestsForScore
    }

    mutating func remove(_ uid: String) {
        if let old = pods.removeValue(forKey: uid) { forget(old) }
    }

    private mutating func forget(_ pod: PodDemand) {
        requested -= pod.requests
        requestedForScore -= pod.requestsForScore
    }

    /// The value of a topology key; `kubernetes.io/hostname` is the node's name where the label is missing.
    func domain(_ key: String) -> String? {
        labels[key] ?? (key == "kubernetes.io/hostname" ? name : nil)
    }
}

extension PodDemand {
    var requestsForScore: Resources {
        var result = requests
        if result.milliCPU == 0 { result.milliCPU = NodeState.defaultMilliCPU }
        if result.memory == 0 { result.memory = NodeState.defaultMemory }
        return result
    }
}
