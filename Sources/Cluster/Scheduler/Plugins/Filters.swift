import ClusterAPI

/// Why a node does not take a pod.
enum Refusal: Hashable, Sendable {
    /// Might be cured by other pods going away.
    case unschedulable(String)
    /// No pod's going would help.
    case unresolvable(String)

    var reason: String {
        switch self {
        case .unschedulable(let reason), .unresolvable(let reason): reason
        }
    }
}

/// What one placement needs to know of the whole cluster, counted once a pod and not once a node.
struct PlacementContext {
    var pod: PodDemand
    /// For each hard spread constraint: matching pods by domain, and the least of them.
    var spread: [(constraint: SpreadConstraint, counts: [String: Int64], least: Int64)] = []
    /// Domains (key, value) where a pod that required affinity asks for is; per term.
    var affinity: [(term: PodAffinityTerm, domains: Set<String>)] = []
    /// Domains that anti-affinity, of this pod or of one that is there, closes.
    var closed: [String: Set<String>] = [:]

    init(_ pod: PodDemand, nodes: some Collection<NodeState>) {
        self.pod = pod
        for constraint in pod.spread where constraint.isHard {
            var counts: [String: Int64] = [:]
            for node in nodes where NodeAffinityFilter.refusal(pod, node) == nil {
                guard let domain = node.domain(constraint.topologyKey) else { continue }
                counts[domain, default: 0] += node.countPods(in: pod.key.namespace, constraint.selector)
            }
            let least = Int64(counts.count) < constraint.minDomains ? 0 : counts.values.min() ?? 0
            spread.append((constraint, counts, least))
        }
        for term in pod.podAffinity {
            var domains: Set<String> = []
            for node in nodes where node.pods.values.contains(where: term.chooses) {
                if let domain = node.domain(term.topologyKey) { domains.insert(domain) }
            }
            affinity.append((term, domains))
        }
        for node in nodes {
            for term in pod.podAntiAffinity where node.pods.values.contains(where: term.chooses) {
                if let domain = node.domain(term.topologyKey) { closed[term.topologyKey, default: []].insert(domain) }
            }
            // Anti-affinity holds both ways: pods that are there keep this one away.
            for other in node.pods.values {
                for term in other.podAntiAffinity where term.chooses(pod) {
                    if let domain = node.domain(term.topologyKey) {
                        closed[term.topologyKey, default: []].insert(domain)
                    }
                }
            }
        }
    }
}

extension NodeState {
    func countPods(in namespace: String, _ selector: LabelSelector) -> Int64 {
        Int64(pods.values.count { !$0.isTerminating && $0.key.namespace == namespace && selector.matches($0.labels) })
    }
}

/// Every filter in the order that kube-scheduler has them; the first refusal counts.
func refusal(_ context: PlacementContext, _ node: NodeState) -> Refusal? {
    let pod = context.pod
    return UnschedulableFilter.refusal(pod, node) ?? NodeNameFilter.refusal(pod, node)
        ?? TaintFilter.refusal(pod, node) ?? NodeAffinityFilter.refusal(pod, node) ?? HostPortFilter.refusal(pod, node)
        ?? ResourcesFilter.refusal(pod, node) ?? SpreadFilter.refusal(context, node)
        ?? InterPodFilter.refusal(context, node)
}

enum UnschedulableFilter {
    static let taint = Taint(key: "node.kubernetes.io/unschedulable", effect: "NoSchedule")

    static func refusal(_ pod: PodDemand, _ node: NodeState) -> Refusal? {
        guard node.isUnschedulable, !pod.tolerations.contains(where: { $0.tolerates(taint) }) else { return nil }
        return .unresolvable("node(s) were unschedulable")
    }
}

enum NodeNameFilter {
    static func refusal(_ pod: PodDemand, _ node: NodeState) -> Refusal? {
        guard !pod.nodeName.isEmpty, pod.nodeName != node.name else { return nil }
        return .unresolvable("node(s) didn't match the requested node name")
    }
}

enum TaintFilter {
    static func refusal(_ pod: PodDemand, _ node: NodeState) -> Refusal? {
        for taint in node.taints where taint.effect == "NoSchedule" || taint.effect == "NoExecute" {
            if !pod.tolerations.contains(where: { $0.tolerates(taint) }) {
                return .unresolvable("node(s) had untolerated taint {\(taint.text)}")
            }
        }
        return nil
    }
}

enum NodeAffinityFilter {
    static func refusal(_ pod: PodDemand, _ node: NodeState) -> Refusal? {
        let matchesSelector = pod.nodeSelector.allSatisfy { node.labels[$0.key] == $0.value }
        let matchesTerms = pod.affinity.required?.contains { $0.matches(node) } ?? true
        guard !matchesSelector || !matchesTerms else { return nil }
        return .unresolvable("node(s) didn't match Pod's node affinity/selector")
    }
}

enum HostPortFilter {
    static func refusal(_ pod: PodDemand, _ node: NodeState) -> Refusal? {
        guard !pod.hostPorts.isEmpty else { return nil }
        let taken = node.pods.values.flatMap(\.hostPorts)
        guard pod.hostPorts.contains(where: { wanted in taken.contains(where: wanted.conflicts) }) else { return nil }
        return .unschedulable("node(s) didn't have free ports for the requested pod ports")
    }
}

enum ResourcesFilter {
    static func refusal(_ pod: PodDemand, _ node: NodeState) -> Refusal? {
        if node.pods.count + 1 > node.podLimit { return .unschedulable("Too many pods") }
        func check(_ name: String, _ request: Int64, _ used: Int64, _ has: Int64) -> Refusal? {
            guard request > 0, request > has - used else { return nil }
            return request > has ? .unresolvable("Insufficient \(name)") : .unschedulable("Insufficient \(name)")
        }
        let (want, used, has) = (pod.requests, node.requested, node.allocatable)
        if let refusal = check("cpu", want.milliCPU, used.milliCPU, has.milliCPU)
            ?? check("memory", want.memory, used.memory, has.memory)
            ?? check("ephemeral-storage", want.ephemeralStorage, used.ephemeralStorage, has.ephemeralStorage)
        {
            return refusal
        }
        for (name, amount) in want.others {
            if let refusal = check(name, amount, used.others[name] ?? 0, has.others[name] ?? 0) { return refusal }
        }
        return nil
    }
}

enum SpreadFilter {
    static func refusal(_ context: PlacementContext, _ node: NodeState) -> Refusal? {
        for (constraint, counts, least) in context.spread {
            guard let domain = node.domain(constraint.topologyKey) else {
                return .unresolvable("node(s) didn't match pod topology spread constraints (missing required label)")
            }
            let own: Int64 = constraint.selector.matches(context.pod.labels) ? 1 : 0
            if (counts[domain] ?? 0) + own - least > constraint.maxSkew {
                return .unschedulable("node(s) didn't match pod topology spread constraints")
            }
        }
        return nil
    }
}

enum InterPodFilter {
    static func refusal(_ context: PlacementContext, _ node: NodeState) -> Refusal? {
        // The first pod of a group that wants to be together has nobody to join: it may go anywhere.
        let isFirst =
            context.affinity.allSatisfy { $0.domains.isEmpty && $0.term.chooses(context.pod) }
        for (term, domains) in context.affinity {
            guard let domain = node.domain(term.topologyKey) else {
                return .unresolvable("node(s) didn't match pod affinity rules")
            }
            if !isFirst, !domains.contains(domain) {
                return .unresolvable("node(s) didn't match pod affinity rules")
            }
        }
        for (key, domains) in context.closed {
            if let domain = node.domain(key), domains.contains(domain) {
                return .unschedulable("node(s) didn't match pod anti-affinity rules")
            }
        }
        return nil
    }
}
