import ArgumentParser
import HTTP
import JSON

struct ProxyExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "What happened to a request, in sentences.",
        usage: "weft proxy explain POD REQUEST-ID | --failed",
        discussion: """
            REQUEST-ID is its x-request-id, as access logs, weft tap and upstreams have it. A proxy remembers the last few hundred that \
            went well, and a quarter as many that did not. Exit status: 3 when it is not known any more.
            """)

    @Argument(help: "[NAMESPACE/][KIND/]NAME; of a workload its first ready pod.")
    var pod: String

    @Argument(help: "The request's x-request-id.")
    var request: String?

    @Flag(help: "The last requests that failed, a line each.")
    var failed = false

    @OptionGroup var options: AnswerOptions

    func validate() throws {
        guard (request == nil) == failed else { throw ValidationError("either REQUEST-ID, or --failed") }
    }

    func run() throws {
        try options.answering {
            let pod = pod
            let path = request.map { "/explain?id=\(PercentEncoding.encode($0))" } ?? "/explain?failed"
            let text = try options.asking { session in
                try await ProxyAdmin(try await session.pods(named: pod)[0], session).text("GET", path)
            }
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            try options.show(["lines": .array(lines.map { .string($0) })]) { lines }
        }
    }
}
