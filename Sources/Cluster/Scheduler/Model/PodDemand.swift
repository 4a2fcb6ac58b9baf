import ClusterAPI
import ClusterClient
import JSON

/// What the scheduler reads of a pod. A value of a few hundred bytes; the object itself is dropped.
struct PodDemand: APIDecodable, Hashable, Sendable {
    var key: ObjectKey
    var uid: String
    var labels: [String: String]
    /// The controller's uid: pods of one workload spread out.
    var owner: String?
    var priority: Int64
    var nodeName: String
    var schedulerName: String
    var isTerminating: Bool
    var isTerminal: Bool
    var isGated: Bool
    var requests: Resources
    var nodeSelector: [String: String]
    var affinity: NodeAffinity
    var podAffinity: [PodAffinityTerm]
    var podAntiAffinity: [PodAffinityTerm]
    var tolerations: [Toleration]
    var hostPorts: [HostPort]
    var spread: [SpreadConstraint]
    /// What the API says of the pod now, so that the same is not said again.
    var scheduledReason: String
    var resourceVersion: String

    init(_ pod: KubeObject) {
        key = pod.key
        uid = pod.uid
        labels = pod.labels
        owner = pod.controller?.uid
        priority = pod.spec["priority"]?.int ?? 0
        nodeName = pod.spec["nodeName"]?.string ?? ""
        schedulerName = pod.spec["schedulerName"]?.string ?? "default-scheduler"
        isTerminating = pod.isTerminating
        let phase = pod.status["phase"]?.string
        isTerminal = phase == "Succeeded" || phase == "Failed"
        isGated = pod.spec["schedulingGates"]?.array?.isEmpty == false
        requests = podRequests(pod)
        nodeSelector = pod.spec["nodeSelector"]?.stringMap ?? [:]
        affinity = NodeAffinity(pod.spec["affinity"]?["nodeAffinity"])
        podAffinity = PodAffinityTerm.required(pod.spec["affinity"]?["podAffinity"], in: pod.namespace)
        podAntiAffinity = PodAffinityTerm.required(pod.spec["affinity"]?["podAntiAffinity"], in: pod.namespace)
        tolerations = (pod.spec["tolerations"]?.array ?? []).map(Toleration.init)
        hostPorts = HostPort.all(pod)
        spread = (pod.spec["topologySpreadConstraints"]?.array ?? []).compactMap { SpreadConstraint($0, pod) }
        let condition = pod.status["conditions"]?.array?.first { $0["type"]?.string == "PodScheduled" }
        scheduledReason = condition?["message"]?.string ?? ""
        resourceVersion = pod.resourceVersion
    }
}

/// Required and preferred terms of a pod about its node.
struct NodeAffinity: Hashable, Sendable {
    struct Term: Hashable, Sendable {
        var labels: LabelSelector
        /// `matchFields`, which knows only `metadata.name`.
        var names: LabelSelector
        /// A term without any requirement chooses nothing.
        var isEmpty: Bool

        init(_ json: JSONValue) {
            let (expressions, fields) = (json["matchExpressions"]?.array ?? [], json["matchFields"]?.array ?? [])
            labels = LabelSelector(nodeRequirements: expressions)
            names = LabelSelector(nodeRequirements: fields)
            isEmpty = expressions.isEmpty && fields.isEmpty
        }

        func matches(_ node: NodeState) -> Bool {
            !isEmpty && labels.matches(node.labels) && names.matches(["metadata.name": node.name])
        }
    }

    /// nil asks for nothing; otherwise one of the terms must match.
    var required: [Term]?
    var preferred: [(term: Term, weight: Int64)]

    init(_ json: JSONValue?) {
        required = json?["requiredDuringSchedulingIgnoredDuringExecution"]?["nodeSelectorTerms"]?.array?.map(Term.init)
        preferred = (json?["preferredDuringSchedulingIgnoredDuringExecution"]?.array ?? []).map {
            (Term($0["preference"] ?? .null), $0["weight"]?.int ?? 0)
        }
    }

    static func == (a: Self, b: Self) -> Bool {
        a.required == b.required && a.preferred.elementsEqual(b.preferred) { $0 == $1 }
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(required)
        for (term, weight) in preferred {
            hasher.combine(term)
            hasher.combine(weight)
        }
    }
}

extension LabelSelector {
    /// Node selector requirements: a label selector's, plus Gt and Lt.
    init(nodeRequirements: [JSONValue]) {
        self.init(
            nodeRequirements.map { json in
                let values = (json["values"]?.array ?? []).compactMap(\.string)
                let operation: Requirement.Operation =
                    switch json["operator"]?.string {
                    case "In": .within
                    case "NotIn": .notWithin
                    case "DoesNotExist": .absent
                    case "Gt": .greater
                    case "Lt": .less
                    default: .exists
                    }
                return Requirement(json["key"]?.string ?? "", operation, values)
            })
    }
}

/// One required term about other pods.
struct PodAffinityTerm: Hashable, Sendable {
    var selector: LabelSelector?
    var namespaces: Set<String>
    var topologyKey: String

    static func required(_ json: JSONValue?, in namespace: String) -> [PodAffinityTerm] {
        (json?["requiredDuringSchedulingIgnoredDuringExecution"]?.array ?? []).map { term in
            let named = (term["namespaces"]?.array ?? []).compactMap(\.string)
            return PodAffinityTerm(
                selector: LabelSelector(term["labelSelector"]), namespaces: named.isEmpty ? [namespace] : Set(named),
                topologyKey: term["topologyKey"]?.string ?? "")
        }
    }

    func chooses(_ pod: PodDemand) -> Bool {
        namespaces.contains(pod.key.namespace) && selector?.matches(pod.labels) == true
    }
}

struct Toleration: Hashable, Sendable {
    var key: String
    var exists: Bool
    var value: String
    var effect: String

    init(_ json: JSONValue) {
        key = json["key"]?.string ?? ""
        exists = json["operator"]?.string == "Exists"
        value = json["value"]?.string ?? ""
        effect = json["effect"]?.string ?? ""
    }

    func tolerates(_ taint: Taint) -> Bool {
        guard effect.isEmpty || effect == taint.effect else { return false }
        if key.isEmpty { return exists }
        return key == taint.key && (exists || value == taint.value)
    }
}

struct Taint: Hashable, Sendable {
    var key: String
    var value: String
    var effect: String

    init(_ json: JSONValue) {
        key = json["key"]?.string ?? ""
        value = json["value"]?.string ?? ""
        effect = json["effect"]?.string ?? ""
    }

    init(key: String, value: String = "", effect: String) {
        self.key = key
        self.value = value
        self.effect = effect
    }

    var text: String { value.isEmpty ? key : "\(key): \(value)" }
}

/// A port of the node that a pod takes.
struct HostPort: Hashable, Sendable {
    var address: String
    var transport: String
    var port: Int64

    static func all(_ pod: KubeObject) -> [HostPort] {
        (pod.spec["containers"]?.array ?? []).flatMap { container in
            (container["ports"]?.array ?? []).compactMap { port in
                guard let number = port["hostPort"]?.int, number > 0 else { return nil }
                return HostPort(
                    address: port["hostIP"]?.string ?? "0.0.0.0", transport: port["protocol"]?.string ?? "TCP",
                    port: number)
            }
        }
    }

    /// The unspecified address conflicts with all.
    func conflicts(with other: HostPort) -> Bool {
        port == other.port && transport == other.transport
            && (address == other.address || Self.isAny(address) || Self.isAny(other.address))
    }

    private static func isAny(_ address: String) -> Bool { address.isEmpty || address == "0.0.0.0" || address == "::" }
}

/// One entry of `topologySpreadConstraints`.
struct SpreadConstraint: Hashable, Sendable {
    var topologyKey: String
    var maxSkew: Int64
    var isHard: Bool
    var minDomains: Int64
    var selector: LabelSelector

    init?(_ json: JSONValue, _ pod: KubeObject) {
        guard let key = json["topologyKey"]?.string, var selector = LabelSelector(json["labelSelector"]) else {
            return nil
        }
        // Keys whose values are the pod's own: different revisions of a workload spread apart.
        let extra = (json["matchLabelKeys"]?.array ?? []).compactMap(\.string).compactMap { key in
            pod.label(key).map { LabelSelector.Requirement(key, .equals, [$0]) }
        }
        if !extra.isEmpty { selector = LabelSelector(selector.requirements + extra) }
        topologyKey = key
        maxSkew = max(1, json["maxSkew"]?.int ?? 1)
        isHard = json["whenUnsatisfiable"]?.string != "ScheduleAnyway"
        minDomains = json["minDomains"]?.int ?? 1
        self.selector = selector
    }
}
