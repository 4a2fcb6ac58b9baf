import ClusterAPI

#if canImport(Glibc)
    import Glibc
#endif

/// How good each node that may take a pod is for it: the weighted sum of kube-scheduler's default scores, each 0 to 100.
func scores(_ pod: PodDemand, _ nodes: [NodeState]) -> [Double] {
    var total = [Double](repeating: 0, count: nodes.count)
    func add(_ weight: Double, _ values: [Double]) { for i in values.indices { total[i] += weight * values[i] } }
    add(3, TaintScore.values(pod, nodes))
    add(2, AffinityScore.values(pod, nodes))
    add(1, nodes.map { LeastAllocatedScore.value(pod, $0) })
    add(1, nodes.map { BalancedScore.value(pod, $0) })
    add(2, SpreadScore.values(pod, nodes))
    return total
}

/// Raises the largest value to 100 and the rest in proportion; `reversed` makes the smallest the best.
private func normalized(_ values: [Double], reversed: Bool = false) -> [Double] {
    guard let largest = values.max(), largest > 0 else { return values.map { _ in reversed ? 100 : 0 } }
    return values.map { reversed ? 100 - $0 * 100 / largest : $0 * 100 / largest }
}

enum TaintScore {
    static func values(_ pod: PodDemand, _ nodes: [NodeState]) -> [Double] {
        normalized(
            nodes.map { node in
                Double(
                    node.taints.count { taint in
                        taint.effect == "PreferNoSchedule" && !pod.tolerations.contains { $0.tolerates(taint) }
                    })
            }, reversed: true)
    }
}

enum AffinityScore {
    static func values(_ pod: PodDemand, _ nodes: [NodeState]) -> [Double] {
        guard !pod.affinity.preferred.isEmpty else { return nodes.map { _ in 0 } }
        return normalized(
            nodes.map { node in
                pod.affinity.preferred.reduce(0) { $0 + ($1.term.matches(node) ? Double($1.weight) : 0) }
            })
    }
}

/// The share of CPU and memory that would be left, half each.
enum LeastAllocatedScore {
    static func value(_ pod: PodDemand, _ node: NodeState) -> Double {
        let want = pod.requestsForScore
        func left(_ has: Int64, _ used: Int64, _ request: Int64) -> Double {
            guard has > 0 else { return 0 }
            return max(0, Double(has) - Double(used) - Double(request)) * 100 / Double(has)
        }
        return
            (left(node.allocatable.milliCPU, node.requestedForScore.milliCPU, want.milliCPU)
            + left(node.allocatable.memory, node.requestedForScore.memory, want.memory)) / 2
    }
}

/// How much more evenly CPU and memory would be used with the pod than without: 50 is neutral.
enum BalancedScore {
    static func value(_ pod: PodDemand, _ node: NodeState) -> Double {
        guard pod.requests.milliCPU > 0 || pod.requests.memory > 0 else { return 0 }
        func share(_ used: Int64, _ has: Int64) -> Double { has > 0 ? min(1, Double(used) / Double(has)) : 0 }
        func evenness(_ cpu: Int64, _ memory: Int64) -> Double {
            let difference = share(cpu, node.allocatable.milliCPU) - share(memory, node.allocatable.memory)
            return (1 - abs(difference) / 2) * 100
        }
        let before = evenness(node.requested.milliCPU, node.requested.memory)
        let after = evenness(
            node.requested.milliCPU + pod.requests.milliCPU, node.requested.memory + pod.requests.memory)
        return 50 + (50 + after - before) / 2
    }
}

/// Fewer pods of the same kind in a node's domains is better: soft constraints of the pod, or, when it has none, its
/// workload spread over hosts (skew 3) and zones (skew 5).
enum SpreadScore {
    static func values(_ pod: PodDemand, _ nodes: [NodeState]) -> [Double] {
        let soft = pod.spread.filter { !$0.isHard }
        var crowd = [Double](repeating: 0, count: nodes.count)
        func count(_ key: String, maxSkew: Int64, _ matches: (PodDemand) -> Bool) {
            var byDomain: [String: Int] = [:]
            for node in nodes {
                guard let domain = node.domain(key) else { continue }
                byDomain[domain, default: 0] += node.pods.values.count { !$0.isTerminating && matches($0) }
            }
            guard !byDomain.isEmpty else { return }
            // Many domains make a pod more or less matter more, as upstream weighs them.
            let weight = log(Double(byDomain.count + 2))
            for (i, node) in nodes.enumerated() {
                guard let domain = node.domain(key) else { continue }
                crowd[i] += Double(byDomain[domain] ?? 0) * weight + Double(maxSkew - 1)
            }
        }
        if !soft.isEmpty {
            for constraint in soft {
                count(constraint.topologyKey, maxSkew: constraint.maxSkew) {
                    $0.key.namespace == pod.key.namespace && constraint.selector.matches($0.labels)
                }
            }
        } else if pod.spread.isEmpty, let owner = pod.owner {
            count("kubernetes.io/hostname", maxSkew: 3) { $0.owner == owner }
            count("topology.kubernetes.io/zone", maxSkew: 5) { $0.owner == owner }
        } else {
            return crowd
        }
        guard let largest = crowd.max(), let least = crowd.min(), largest > 0 else { return crowd.map { _ in 100 } }
        return crowd.map { 100 * (largest + least - $0) / largest }
    }
}
