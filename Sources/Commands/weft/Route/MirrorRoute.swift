import ArgumentParser
import ClusterAPI
import JSON

struct MirrorRoute: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mirror", abstract: "Send a copy of requests to another Service; its answers are thrown away.",
        usage: "weft route mirror SERVICE_OR_ROUTE BACKEND[=PERCENT%] | --off",
        discussion: """
              weft route mirror cart v2=10%   a tenth of the requests to cart go to cart-v2 as well
              weft route mirror cart --off
            """)

    @Argument(help: "[NAMESPACE/]NAME[:PORT] of a Service or HTTPRoute.")
    var target: String

    @Argument(help: "A Service of the namespace; v2 is short for cart-v2. Default share: 100%.")
    var mirror: String?

    @Flag(help: "No copies any more.")
    var off = false

    @Flag(help: "Only say what would be written.")
    var dryRun = false

    @OptionGroup var rules: RuleOptions
    @OptionGroup var options: AnswerOptions

    func validate() throws {
        guard (mirror == nil) == off else { throw ValidationError("either BACKEND[=PERCENT%], or --off") }
    }

    func run() throws {
        try options.answering {
            let (target, dryRun, rules, mirror) = (target, dryRun, rules.rule, try mirror.map(Self.wish))
            let (chosen, result) = try options.asking { session in
                let target = try RouteTarget(target, namespace: session.namespace)
                let chosen = try await ChosenRoute.find(target, session)
                guard !(chosen.isNew && mirror == nil) else {
                    throw Refusal("Service \(target.key) has no HTTPRoute", hint: "so nothing is mirrored")
                }
                var options = RuleOptions()
                options.rule = rules
                var changes: [(path: String, value: JSONValue?)] = []
                for place in try options.places(in: chosen.view) {
                    let rule = chosen.view.rules[place]
                    let filters = try Self.filters(rule, mirror, base: target.key.name, services: chosen.services)
                    let path = "/spec/rules/\(place)/filters"
                    if !filters.isEmpty { changes.append((path, .array(filters))) }
                    if filters.isEmpty, rule["filters"] != nil { changes.append((path, nil)) }
                }
                return (chosen, try await chosen.apply(changes, session, dryRun: dryRun))
            }
            try options.show(result.json) { RouteChange.lines(chosen, result, dryRun: dryRun) }
        }
    }

    struct Wish: Hashable, Sendable {
        var name: String
        var percent: Int64
    }

    static func wish(_ text: String) throws -> Wish {
        let parts = text.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
        guard parts.count < 3, !parts[0].isEmpty else { throw malformed(text) }
        guard parts.count == 2 else { return Wish(name: text, percent: 100) }
        guard parts[1].hasSuffix("%"), let percent = Int64(parts[1].dropLast()), (1...100).contains(percent) else {
            throw malformed(text)
        }
        return Wish(name: parts[0], percent: percent)
    }

    private static func malformed(_ text: String) -> Refusal {
        Refusal("\"\(text)\" is no share", hint: "BACKEND or BACKEND=PERCENT% is expected: v2=10%")
    }

    /// A rule's filters with this mirror and no other.
    static func filters(_ rule: JSONValue, _ wish: Wish?, base: String, services: [KubeObject]) throws -> [JSONValue] {
        let others = rule.list("filters").filter { $0.text("type") != "RequestMirror" }
        guard let wish else { return others }
        guard let service = WeightShift.service(wish.name, base, services) else {
            throw Refusal("there is no Service \(wish.name) nor \(base)-\(wish.name)", hint: "kubectl get services")
        }
        var mirror: JSONValue = [
            "backendRef": try WeightShift.reference(to: service, like: rule.list("backendRefs").first)
        ]
        if wish.percent < 100 { mirror["percent"] = .int(wish.percent) }
        return others + [["type": "RequestMirror", "requestMirror": mirror]]
    }
}
