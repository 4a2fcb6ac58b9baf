import Netlink

/// A packet's way through one table, or why it cannot be told.
struct TableWalk: Sendable {
    let table: TableSnapshot
    let result: Result<[RuleInterpreter.Path], RuleInterpreter.Fault>

    init(_ packet: TracedPacket, through interpreter: RuleInterpreter) {
        table = interpreter.table
        result = Result { () throws(RuleInterpreter.Fault) in try interpreter.paths(of: packet) }
    }

    /// nil when the table cannot be followed.
    var fate: PacketFate? { try? PacketFate(result.get().map { ($0.outcome, $0.share) }) }

    var fault: RuleInterpreter.Fault? { if case .failure(let fault) = result { fault } else { nil } }

    /// A rule that held, in nft's words, with the elements that it found on any way: a load balancing rule has one a slot.
    struct Line: Sendable {
        var chain: String
        /// From 1, within the chain.
        var number: Int
        var rule: String
        var elements: [(set: String, element: String)]
    }

    /// The rules of the first way, which the others share but for what chance decides.
    var lines: [Line] {
        guard let paths = try? result.get(), let first = paths.first else { return [] }
        return first.steps.indices.map { index in
            let step = first.steps[index]
            var line = Line(
                chain: step.rule.chain.name, number: step.number, rule: RuleText.of(step.rule, in: table), elements: [])
            var seen: Set<NFElement> = []
            for path in paths where index < path.steps.count && path.steps[index].rule == step.rule {
                for (set, element) in path.steps[index].elements where seen.insert(element).inserted {
                    guard let definition = table.sets[set] else { continue }
                    line.elements.append((set, ElementText.of(element, in: definition)))
                }
            }
            return line
        }
    }
}
