import ArgumentParser
import ClusterAPI
import JSON

struct ListRoutes: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Every HTTPRoute and GRPCRoute: for whom, and where it leads.")

    @OptionGroup var options: AnswerOptions

    @Flag(name: [.customShort("A"), .long], help: "Of all namespaces, which is the default without -n.")
    var allNamespaces = false

    func run() throws {
        try options.answering {
            let only = allNamespaces ? nil : options.namespace
            let routes = try options.asking { session in
                try await session.listIfServed(.httpRoutes, namespace: only)
                    + session.listIfServed(.grpcRoutes, namespace: only)
            }.sorted { $0.key < $1.key }
            let document: JSONValue = ["items": .array(routes.map(\.json))]
            try options.show(document) {
                guard !routes.isEmpty else {
                    return [
                        "no route: each Service leads to its own pods. weft route shift SERVICE VERSION=10% makes one"
                    ]
                }
                var table =
                    options.isWide
                    ? TextTable(
                        "NAMESPACE", "NAME", "KIND", "PARENTS", "HOSTNAMES", "MATCHES", "LEADS TO", "ALSO", "STATE")
                    : TextTable("NAMESPACE", "NAME", "PARENTS", "MATCHES", "LEADS TO", "STATE")
                for view in routes.map({ RouteView(object: $0) }) {
                    let state = view.isWell ? Style.good(view.state) : Style.doubtful(view.state)
                    for (index, rule) in view.rules.enumerated() {
                        let isFirst = index == 0
                        let parents = isFirst ? view.parents.joined(separator: ", ") : " "
                        let (matches, backends) = (RouteView.words(ofMatches: rule), RouteView.words(ofBackends: rule))
                        if options.isWide {
                            let fault = view.fault.isEmpty ? [] : ["fault \(view.fault)"]
                            table.add(
                                view.key.namespace, view.key.name, view.object.kind, parents,
                                view.hostnames.joined(separator: ", "), matches, backends,
                                (RouteView.extras(rule) + fault).joined(separator: "; "), isFirst ? state : " ")
                        } else {
                            table.add(
                                view.key.namespace, view.key.name, parents, matches, backends, isFirst ? state : " ")
                        }
                    }
                }
                return table.lines
            }
        }
    }
}

struct GetRoute: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "One route, or those of a Service: rules in words, and what became of it.",
        usage: "weft route get [NAMESPACE/]ROUTE_OR_SERVICE",
        discussion: "Exit status: 0 it is accepted; 1 it is not, or not wholly; 3 it cannot be told.")

    @Argument(help: "A route, or a Service that routes are for.")
    var name: String

    @OptionGroup var options: AnswerOptions

    func run() throws {
        try options.answering {
            let name = name
            let routes = try options.asking { session in
                let key = try RouteTarget(name, namespace: session.namespace).key
                let all =
                    try await session.listIfServed(.httpRoutes, namespace: key.namespace)
                    + session.listIfServed(.grpcRoutes, namespace: key.namespace)
                let named = all.filter { $0.name == key.name }
                let found = named.isEmpty ? all.filter { RouteView(object: $0).isOf(key) } : named
                guard !found.isEmpty else {
                    throw Refusal(
                        "there is no route \(key), and none for a Service of that name", hint: "weft route list -A")
                }
                return found.map { RouteView(object: $0) }
            }
            let document: JSONValue =
                routes.count == 1 ? routes[0].object.json : ["items": .array(routes.map(\.object.json))]
            try options.show(document) { routes.flatMap(Self.lines) }
            if routes.contains(where: { !$0.isWell && !$0.conditions.isEmpty }) { throw ExitCode(1) }
        }
    }

    private static func lines(_ view: RouteView) -> [String] {
        var lines = ["\(view.object.kind) \(view.key), for \(view.parents.joined(separator: ", "))"]
        if !view.hostnames.isEmpty { lines.append("  of hosts \(view.hostnames.joined(separator: ", "))") }
        for (index, rule) in view.rules.enumerated() {
            lines.append("  rule \(index): \(RouteView.words(ofMatches: rule)) -> \(RouteView.words(ofBackends: rule))")
            lines += RouteView.extras(rule).map { "    \($0)" }
        }
        if !view.fault.isEmpty { lines.append("  fault on purpose: \(view.fault)") }
        if view.conditions.isEmpty { lines.append("  no status yet: does a weft-control with a mesh run?") }
        for condition in view.conditions {
            let text =
                "\(condition.parent): \(condition.type)=\(condition.isTrue ? "True" : "False") (\(condition.reason))"
            lines.append("  \(text)\(condition.message.isEmpty ? "" : ": \(condition.message)")")
        }
        return lines
    }
}
