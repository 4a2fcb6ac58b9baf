import ArgumentParser
import ClusterAPI
import JSON

/// Which rules of a route a command changes.
struct RuleOptions: ParsableArguments {
    @Option(help: "Which rule, by its number (weft route get) or name. Default: those that everything else falls to.")
    var rule: String?

    /// Places of the rules that are meant: the one that is named; else those that have several backends and ask no header; else the last.
    func places(in view: RouteView) throws -> [Int] {
        let rules = view.rules
        if let rule {
            if let number = Int(rule), rules.indices.contains(number) { return [number] }
            if let named = rules.firstIndex(where: { $0.text("name") == rule }) { return [named] }
            throw Refusal("HTTPRoute \(view.key) has no rule \(rule)", hint: "weft route get \(view.key)")
        }
        let open = rules.indices.filter { place in
            rules[place].list("matches").allSatisfy { $0.list("headers").isEmpty && $0.list("queryParams").isEmpty }
                && !rules[place].list("backendRefs").isEmpty
        }
        let split = open.filter { rules[$0].list("backendRefs").count > 1 }
        guard let last = open.last else {
            throw Refusal(
                "no rule of HTTPRoute \(view.key) is for everybody",
                hint: "--rule says which; weft route get \(view.key)")
        }
        return split.isEmpty ? [last] : split
    }
}

struct ShiftRoute: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shift", abstract: "Move traffic between the backends of a Service's or Gateway's route.",
        usage: "weft route shift SERVICE_OR_ROUTE BACKEND=SHARE…",
        discussion: """
              weft route shift cart v2=50%             cart-v2 gets half, the others share the rest as they do now
              weft route shift cart cart=90 cart-v2=10 weights as they are

            Where the Service has no HTTPRoute one is made. What is written is what was read with other weights; if somebody else has \
            changed the route meanwhile nothing is.
            """)

    @Argument(help: "[NAMESPACE/]NAME[:PORT] of a Service or HTTPRoute.")
    var target: String

    @Argument(help: "BACKEND=PERCENT% or BACKEND=WEIGHT; v2 is short for cart-v2.")
    var shares: [String]

    @Flag(help: "Only say what would be written.")
    var dryRun = false

    @OptionGroup var rules: RuleOptions
    @OptionGroup var options: AnswerOptions

    func validate() throws {
        guard !shares.isEmpty else { throw ValidationError("which share? weft route shift cart v2=50%") }
    }

    func run() throws {
        try options.answering {
            let shift = try WeightShift(shares)
            let (target, dryRun, rules) = (target, dryRun, rules.rule)
            let (chosen, result) = try options.asking { session in
                let target = try RouteTarget(target, namespace: session.namespace)
                let chosen = try await ChosenRoute.find(target, session)
                var options = RuleOptions()
                options.rule = rules
                var changes: [(path: String, value: JSONValue?)] = []
                for place in try options.places(in: chosen.view) {
                    let backends = try shift.applied(
                        to: chosen.view.rules[place].list("backendRefs"), base: target.key.name,
                        services: chosen.services)
                    changes.append(("/spec/rules/\(place)/backendRefs", .array(backends)))
                }
                return (chosen, try await chosen.apply(changes, session, dryRun: dryRun))
            }
            try options.show(result.json) { RouteChange.lines(chosen, result, dryRun: dryRun) }
        }
    }
}

extension ChosenRoute {
    func apply(
        _ changes: [(path: String, value: JSONValue?)], _ session: ClusterSession, dryRun: Bool
    ) async throws -> KubeObject {
        guard dryRun else { return try await write(changes, session) }
        var object = object
        for (path, value) in changes {
            object.json = Self.setting(object.json, path.split(separator: "/"), value)
        }
        return object
    }
}

/// What a change came to, for people.
enum RouteChange {
    static func lines(_ chosen: ChosenRoute, _ result: KubeObject, dryRun: Bool) -> [String] {
        let (before, after) = (chosen.view, RouteView(object: result))
        var lines: [String] = []
        if chosen.isNew {
            let verb = dryRun ? "would be made" : "was made"
            lines.append("HTTPRoute \(result.key) \(verb): \(after.parents.joined(separator: ", ")) had none")
        } else {
            lines.append("HTTPRoute \(result.key)\(dryRun ? " would become" : ""):")
        }
        for (index, rule) in after.rules.enumerated() {
            let old = before.rules.indices.contains(index) ? before.rules[index] : .null
            guard old != rule || chosen.isNew else { continue }
            let (was, now) = (RouteView.words(ofBackends: old), RouteView.words(ofBackends: rule))
            let words = chosen.isNew || was == now ? now : "\(was)  ->  \(now)"
            lines.append("  \(RouteView.words(ofMatches: rule)): \(words)")
            let (oldExtras, extras) = (RouteView.extras(old), RouteView.extras(rule))
            lines += extras.filter { !oldExtras.contains($0) }.map { "    + \($0)" }
            lines += oldExtras.filter { !extras.contains($0) }.map { "    - \($0)" }
        }
        if before.fault != after.fault {
            lines.append(
                "  fault: \(before.fault.isEmpty ? "none" : before.fault)  ->  \(after.fault.isEmpty ? "none" : after.fault)"
            )
        }
        if lines.count == 1, !chosen.isNew { lines = ["HTTPRoute \(result.key) is so already"] }
        return lines
    }
}
