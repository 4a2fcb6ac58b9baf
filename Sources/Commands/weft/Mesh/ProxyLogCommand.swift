import ArgumentParser
import HTTP

struct ProxyLogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "The levels of a proxy's own log, told and set.",
        usage: "weft proxy log POD [--level LEVEL | --level NAME=LEVEL,…]",
        discussion: """
            Levels: trace, debug, info, warning, error, critical, off. A level without a name is for all loggers. The lines themselves: \
            kubectl logs POD -c weft-proxy.
            """)

    @Argument(help: "[NAMESPACE/][KIND/]NAME; of a workload all its pods.")
    var pod: String

    @Option(help: "debug, or upstream=debug,admin=error.")
    var level: String?

    @OptionGroup var options: AnswerOptions

    func run() throws {
        try options.answering {
            let (pod, path) = (pod, try Self.path(level))
            let answers = try options.asking { session in
                var answers: [(name: String, levels: String)] = []
                for pod in try await session.pods(named: pod) {
                    let admin = try ProxyAdmin(pod, session)
                    do { answers.append(("\(pod.key)", try await admin.text("POST", path))) } catch let error as Refusal
                        where error.reason.contains("unknown logger")
                    { throw Refusal(error.reason, hint: Self.hint) }
                }
                return answers
            }
            let levels = answers.map { ($0.name, Self.levels($0.levels)) }
            try options.show(.object(.init(levels.map { ($0.0, .object(.init($0.1.map { ($0.0, .string($0.1)) }))) })))
            {
                levels.flatMap { name, levels -> [String] in
                    var table = TextTable("LOGGER", "LEVEL")
                    for (logger, level) in levels { table.add(logger, level) }
                    return ["\(name):"] + table.lines
                }
            }
        }
    }

    private static let hint =
        "levels are trace, debug, info, warning, error, critical and off; weft proxy log POD tells the loggers' names"

    static func path(_ level: String?) throws -> String {
        guard let level else { return "/logging" }
        guard level.contains("=") || level.contains(":") else {
            return "/logging?level=\(PercentEncoding.encode(level))"
        }
        let pairs = level.split(separator: ",").map { $0.replacing("=", with: ":") }
        return "/logging?paths=\(PercentEncoding.encode(pairs.joined(separator: ",")))"
    }

    /// From `  name: level` a line.
    static func levels(_ text: String) -> [(String, String)] {
        text.split(separator: "\n").compactMap { line in
            let parts = line.split(separator: ":").map { $0.trimmed }
            return parts.count == 2 && line.hasPrefix(" ") ? (parts[0], parts[1]) : nil
        }
    }
}

extension Substring {
    var trimmed: String { String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed()) }
}
