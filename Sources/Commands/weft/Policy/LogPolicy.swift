import ArgumentParser
import Bytes
import ClusterAPI
import JSON
import Policy

struct LogPolicy: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "Who was refused lately, and how much was judged, on the nodes that can be reached.",
        discussion: """
            Each node's kernel remembers up to 4096 refused ways of each family for ten minutes after their last packet. Nodes on \
            other machines are not seen: run it there.
            """)

    @OptionGroup var options: AnswerOptions
    @OptionGroup var nodes: ReachableNodes

    private struct Entry {
        var node: String
        var flow: DeniedFlow
        var answer: PolicyEvaluator.Answer?
    }

    func run() throws {
        try options.answering {
            let cluster = try options.readPolicies().cluster
            let evaluator = cluster.evaluator()
            var entries: [Entry] = []
            var counts: [(node: String, counts: [PolicyVerdictCount])] = []
            var silent: [String] = []
            for (name, namespace) in try nodes.open(options.access) {
                guard let report = try PolicyKernelReport(namespace: namespace.descriptor) else {
                    silent.append(name)
                    continue
                }
                counts.append((name, report.verdicts))
                for flow in report.denied {
                    let traffic = PolicyEvaluator.Traffic(Transport(rawValue: flow.transport), flow.port)
                    let answer = evaluator.answer(
                        from: cluster.party(at: flow.client), to: cluster.party(at: flow.server), traffic)
                    entries.append(Entry(node: name, flow: flow, answer: answer))
                }
            }
            entries.sort { $0.flow.age < $1.flow.age }
            try options.show(document(entries, counts, cluster)) { lines(entries, counts, silent, cluster) }
        }
    }

    private func lines(
        _ entries: [Entry], _ counts: [(node: String, counts: [PolicyVerdictCount])], _ silent: [String],
        _ cluster: PolicyCluster
    ) -> [String] {
        var lines = silent.map { "\($0) has no table of policies: no weft-node with the role policy runs there" }
        for (node, counts) in counts {
            let words = counts.filter { $0.allowed + $0.denied > 0 || options.output == .wide }.map {
                "\($0.direction.rawValue) \($0.family) \($0.allowed) allowed \($0.denied) denied"
            }
            lines.append(
                "\(node): \(words.isEmpty ? "no packet was judged yet" : words.joined(separator: "; ")) (packets)")
        }
        for entry in entries {
            let flow = entry.flow
            let (from, to) = (cluster.party(at: flow.client), cluster.party(at: flow.server))
            let traffic = PolicyEvaluator.Traffic(Transport(rawValue: flow.transport), flow.port)
            lines.append(
                "\(flow.age / 1000) s ago on \(entry.node): \(cluster.name(of: from)) -> \(cluster.name(of: to)) \(traffic): "
                    + Self.why(entry.answer))
        }
        return lines
    }

    private static func why(_ answer: PolicyEvaluator.Answer?) -> String {
        guard let answer, !answer.isAllowed else { return "would be allowed now" }
        let verdict = answer.egress.isDenied ? answer.egress : answer.ingress
        return (answer.egress.isDenied ? "out of the sender, " : "into the receiver, ") + verdict.words
    }

    private func document(
        _ entries: [Entry], _ counts: [(node: String, counts: [PolicyVerdictCount])], _ cluster: PolicyCluster
    ) -> JSONValue {
        [
            "packets": .array(
                counts.flatMap { node, counts in
                    counts.map { count in
                        [
                            "node": .string(node), "direction": .string(count.direction.rawValue),
                            "ipFamily": .string(count.family), "allowed": .int(Int64(clamping: count.allowed)),
                            "denied": .int(Int64(clamping: count.denied)),
                        ]
                    }
                }),
            "denied": .array(
                entries.map { entry in
                    [
                        "node": .string(entry.node), "secondsAgo": .int(Int64(entry.flow.age / 1000)),
                        "from": .string(cluster.name(of: cluster.party(at: entry.flow.client))),
                        "fromAddress": .string("\(entry.flow.client)"),
                        "to": .string(cluster.name(of: cluster.party(at: entry.flow.server))),
                        "toAddress": .string("\(entry.flow.server)"),
                        "protocol": .int(Int64(entry.flow.transport)),
                        "port": .int(Int64(entry.flow.port.rawValue)), "why": .string(Self.why(entry.answer)),
                    ]
                }),
        ]
    }
}
