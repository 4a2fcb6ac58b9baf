import ArgumentParser
import JSON

struct WhyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why", abstract: "The whole way from a pod to a Service or pod, with what stands in it.",
        usage: "weft why SRC → DST[:PORT]",
        discussion: """
              weft why shop/web → shop/cart:80
              weft why deployment/web '->' shop/pod/cart-1:8080

            Name to address, NetworkPolicies, the service proxy's rules, route and weights, endpoints with their health, identities and \
            certificates, PeerAuthentication, AuthorizationPolicies, the last errors. SRC and DST are [NAMESPACE/][KIND/]NAME, DST also \
            an address; of a workload the first ready pod sends. What sidecars know is asked of the sidecars themselves; without a mesh those lines say so.

            Exit status: 0 it works, as far as can be told; 1 it does not, and what to change is said; 3 it cannot be told.
            """)

    @Argument(help: "SRC → DST[:PORT]; -> will do for the arrow.")
    var words: [String]

    @OptionGroup var options: AnswerOptions

    private var ends: [String] { QuestionEnds.split(words) }

    func validate() throws {
        guard ends.count == 2, words.last != "-" else {
            throw ValidationError(
                "one SRC and one DST are expected: shop/web → shop/cart:80\(QuestionEnds.hint(words))")
        }
    }

    func run() throws {
        try options.answering {
            let ends = ends
            let answer = try options.asking { session in
                let evidence = try await WhyEvidence.gather(from: ends[0], to: ends[1], session)
                return WhyAnswer(evidence)
            }
            try options.show(answer.document) { answer.lines(isWide: options.isWide) }
            if !answer.works { throw ExitCode(1) }
        }
    }
}

/// All findings together.
struct WhyAnswer: Sendable {
    let title: String
    let findings: [Finding]

    init(_ evidence: WhyEvidence) {
        title = "\(evidence.source.key) → \(evidence.destination)"
        findings = evidence.clusterFindings + evidence.meshFindings
    }

    var works: Bool { !findings.contains { $0.verdict == .bad } }

    func lines(isWide: Bool = false) -> [String] {
        var lines = ["\(title):"] + findings.flatMap { $0.lines(isWide: isWide) }
        let broken = findings.filter { $0.verdict == .bad }
        guard !broken.isEmpty else {
            let unsure = findings.filter { $0.verdict == .doubtful }
            let rest =
                unsure.isEmpty ? "" : "; it depends on the request: \(unsure.map(\.topic).joined(separator: ", "))"
            let advice = unsure.compactMap(\.remedy).map { "- \($0)" }
            return lines + ["", "It works, as far as can be told\(rest)."] + advice
        }
        lines += ["", "It does not work: \(broken.map(\.topic).joined(separator: ", ")). What to change:"]
        return lines + broken.map { "- \($0.remedy ?? $0.sentences.first ?? $0.topic)" }
    }

    var document: JSONValue {
        ["question": .string(title), "works": .bool(works), "findings": .array(findings.map(\.json))]
    }
}
