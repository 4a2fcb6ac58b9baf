import ArgumentParser
import ClusterAPI
import JSON
import Policy

struct CheckPolicy: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "May FROM speak with TO? By which policies, and if not, for which.",
        usage: "weft policy check FROM [->] TO[:PORT][/PROTOCOL]",
        discussion: """
            FROM and TO are [NAMESPACE/][KIND/]NAME of a pod or workload, node:NAME, or an address; TO may also be a Service, which \
            stands for the pods behind it. PORT is a number or a container port's name.

            Exit status: 0 it may; 1 it may not; 3 it cannot be told.
            """)

    @Argument(help: "FROM -> TO:PORT")
    var words: [String]

    @OptionGroup var options: AnswerOptions

    private var parts: [String] { QuestionEnds.split(words) }

    func validate() throws {
        guard parts.count == 2, words.last != "-" else {
            throw ValidationError("one FROM and one TO:PORT, not \(words.count) words\(QuestionEnds.hint(words))")
        }
    }

    /// One question with its answer.
    private struct Row {
        var client: PolicyEvaluator.Party
        var server: PolicyEvaluator.Party
        var traffic: PolicyEvaluator.Traffic
        var answer: PolicyEvaluator.Answer
    }

    func run() throws {
        try options.answering {
            let (cluster, ends, allRemarks) = try options.readAllPolicies()
            let evaluator = cluster.evaluator()
            let clients = try ends.clients(parts[0]).flatMap { try cluster.parties($0, namespace: ends.namespace) }
            let servers = try ends.destinations(parts[1]).flatMap {
                try cluster.destinations($0, namespace: ends.namespace)
            }
            var rows: [Row] = []
            for (server, traffic) in servers {
                for client in clients where client.address.family == server.address.family {
                    rows.append(
                        Row(
                            client: client, server: server, traffic: traffic,
                            answer: evaluator.answer(from: client, to: server, traffic)))
                }
            }
            guard !rows.isEmpty else {
                throw Refusal("\(parts[0]) and \(parts[1]) have no address family in common", hint: "nothing to judge")
            }
            let isAllowed = rows.allSatisfy(\.answer.isAllowed)
            // The mesh's policies are asked request by request (weft why); those that do nothing are worth a word here.
            let namespaces = Set(
                rows.compactMap { cluster.name(of: $0.server).split(separator: "/").first.map(String.init) })
            let remarks = allRemarks.filter { $0.isAbout(namespaces) }
            let document: JSONValue = [
                "allowed": .bool(isAllowed), "answers": .array(rows.map { Self.document($0, cluster) }),
                "meshPolicies": .array(remarks.map(\.document)),
            ]
            try options.show(document) {
                rows.flatMap { Self.lines($0, cluster) } + remarks.map { "  mesh: " + Style.doubtful($0.sentence) }
            }
            if !isAllowed { throw ExitCode(1) }
        }
    }

    private static func lines(_ row: Row, _ cluster: PolicyCluster) -> [String] {
        let (from, to) = (cluster.name(of: row.client), cluster.name(of: row.server))
        return [
            "\(from) (\(row.client.address)) -> \(to) (\(row.server.address)) \(row.traffic): "
                + (row.answer.isAllowed ? "allowed" : "DENIED"),
            "  out of \(from): \(row.answer.egress.words)", "  into \(to): \(row.answer.ingress.words)",
        ]
    }

    private static func document(_ row: Row, _ cluster: PolicyCluster) -> JSONValue {
        func verdict(_ verdict: PolicyEvaluator.Verdict) -> JSONValue {
            ["verdict": .string(verdict.kind), "policies": .array(verdict.policies.map { .string("\($0)") })]
        }
        return [
            "from": .string(cluster.name(of: row.client)), "fromAddress": .string("\(row.client.address)"),
            "to": .string(cluster.name(of: row.server)), "toAddress": .string("\(row.server.address)"),
            "protocol": .string(row.traffic.transport.map { "\($0)" } ?? ""),
            "port": .int(Int64(row.traffic.port.rawValue)), "allowed": .bool(row.answer.isAllowed),
            "egress": verdict(row.answer.egress), "ingress": verdict(row.answer.ingress),
        ]
    }
}
