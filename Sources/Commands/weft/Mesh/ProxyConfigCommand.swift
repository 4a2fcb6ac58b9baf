import ArgumentParser
import JSON

struct ProxyConfigCommand: ParsableCommand {
    enum Part: String, CaseIterable, ExpressibleByArgument { case listeners, routes, clusters, endpoints, secrets, all }

    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "What a proxy has been told: listeners, routes, clusters, endpoints, secrets.",
        usage: "weft proxy config POD [listeners|routes|clusters|endpoints|secrets|all]",
        discussion: """
            As the proxy itself tells it (its /config_dump and /clusters). Without a part: a summary of all. -o json prints the proxy's own \
            messages. Private keys are never told.
            """)

    @Argument(help: "[NAMESPACE/][KIND/]NAME; of a workload its first ready pod.")
    var pod: String

    @Argument(help: "listeners, routes, clusters, endpoints, secrets or all.")
    var part = Part.all

    @Option(help: "Only what has this text in its name.")
    var name: String?

    @OptionGroup var options: AnswerOptions

    func run() throws {
        try options.answering {
            let pod = pod
            let tables = try options.asking { session in
                let admin = try ProxyAdmin(try await session.pods(named: pod)[0], session)
                return ProxyTables(
                    dump: try await admin.json("/config_dump?include_eds"),
                    clusters: try await admin.json("/clusters?format=json"),
                    certificates: try await admin.json("/certs"))
            }
            let parts = part == .all ? Part.allCases.filter { $0 != .all } : [part]
            try options.show(part == .all ? tables.dump : tables.document(part)) {
                parts.flatMap { one -> [String] in
                    let lines = tables.table(one, containing: name ?? "", isWide: options.isWide)
                    return part == .all ? ["\(one.rawValue):"] + lines.map { "  " + $0 } + [""] : lines
                }
            }
        }
    }
}
