import ClusterAPI

/// The outcome of looking for a node. Pure: pod and nodes in, node or reasons out.
enum Placement: Equatable {
    case node(String)
    /// Upstream's text: `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had …`.
    case none(message: String)

    init(_ pod: PodDemand, _ nodes: some Collection<NodeState>, using random: inout some RandomNumberGenerator) {
        let context = PlacementContext(pod, nodes: nodes)
        var feasible: [NodeState] = []
        var reasons: [String: Int] = [:]
        for node in nodes {
            if let refusal = refusal(context, node) {
                reasons[refusal.reason, default: 0] += 1
            } else {
                feasible.append(node)
            }
        }
        guard !feasible.isEmpty else {
            self = .none(message: Self.message(reasons, of: nodes.count))
            return
        }
        let values = scores(pod, feasible)
        let best = values.max() ?? 0
        let ties = feasible.indices.filter { values[$0] >= best - 1e-9 }
        self = .node(feasible[ties.randomElement(using: &random) ?? 0].name)
    }

    private static func message(_ reasons: [String: Int], of count: Int) -> String {
        guard count > 0 else { return "no nodes available to schedule pods" }
        let texts = reasons.map { "\($0.value) \($0.key)" }.sorted()
        return "0/\(count) nodes are available: \(texts.joined(separator: ", "))."
    }
}
