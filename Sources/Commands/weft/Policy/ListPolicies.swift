import ArgumentParser
import ClusterAPI
import JSON
import Policy

struct ListPolicies: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Every policy: whom it selects, and what it allows, in words.")

    @OptionGroup var options: AnswerOptions

    @Flag(name: [.customShort("A"), .long], help: "Of all namespaces; without -n that is the default.")
    var allNamespaces = false

    func run() throws {
        try options.answering {
            let (cluster, _, allRemarks) = try options.readAllPolicies()
            let wanted = allNamespaces ? nil : options.namespace
            let remarks = allRemarks.filter { wanted == nil || $0.key.namespace == wanted }
            let entries = cluster.policies.filter { wanted == nil || $0.key.namespace == wanted }.map { policy in
                (
                    policy: policy,
                    pods: cluster.pods.filter {
                        $0.key.namespace == policy.key.namespace && policy.pods.matches($0.labels)
                    }
                )
            }
            let document: JSONValue = [
                "policies": .array(
                    entries.map { entry in
                        [
                            "namespace": .string(entry.policy.key.namespace), "name": .string(entry.policy.key.name),
                            "selects": .string(entry.policy.subjectWords),
                            "pods": .array(entry.pods.map { .string("\($0.key)") }),
                            "isolates": .array(entry.policy.directions.map { .string($0.rawValue) }),
                            "allows": .array(entry.policy.sentences.map { .string($0) }),
                        ]
                    }),
                "meshPolicies": .array(remarks.map(\.document)),
            ]
            try options.show(document) {
                var lines = entries.isEmpty ? ["no NetworkPolicy: every pod may speak with every other"] : []
                for (policy, pods) in entries {
                    let count = pods.count == 1 ? "1 pod" : "\(pods.count) pods"
                    lines.append(
                        "\(policy.key)  \(policy.subjectWords) (\(pods.isEmpty ? "selects no pod now" : count))")
                    if options.output == .wide { lines += pods.map { "    selects \($0.key)" } }
                    lines += policy.sentences.map { "  allows \($0)" }
                }
                return lines + remarks.map { Style.doubtful($0.sentence) }
            }
        }
    }
}
