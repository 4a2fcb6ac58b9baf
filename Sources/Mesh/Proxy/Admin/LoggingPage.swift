/// `/logging`: the levels of the proxy's own log, told and set.
enum LoggingPage {
    static func answer(_ request: AdminRequest) -> AdminAnswer {
        guard request.parameters.count <= 1 else { return refusal("invalid number of parameters") }
        guard let parameter = request.parameters.first else { return AdminAnswer(levels) }
        switch parameter.name {
        case "level":
            guard let level = ProxyLog.Level(parameter.value) else { return refusal("unknown logger level") }
            ProxyLog.shared.set(level)
        case "paths":
            guard let changes = changes(parameter.value) else {
                return refusal(
                    parameter.value.split(separator: ",").contains { !$0.contains(":") }
                        ? "empty logger name or empty logger level" : "unknown logger level")
            }
            for (name, level) in changes {
                guard let component = ProxyLog.Component(rawValue: name) else { return refusal("unknown logger name") }
                ProxyLog.shared.set(component, level)
            }
        case "group":
            // Envoy's groups are names with wildcards.
            guard let changes = changes(parameter.value) else { return refusal("unknown logger level") }
            for (pattern, level) in changes {
                let members = ProxyLog.Component.allCases.filter { matches($0.rawValue, pattern) }
                guard !members.isEmpty else { return refusal("unknown logger group") }
                for component in members { ProxyLog.shared.set(component, level) }
            }
        default:
            guard let component = ProxyLog.Component(rawValue: parameter.name) else {
                return refusal("unknown logger name")
            }
            guard let level = ProxyLog.Level(parameter.value) else { return refusal("unknown logger level") }
            ProxyLog.shared.set(component, level)
        }
        return AdminAnswer(levels)
    }

    /// A star at the end, or the beginning, stands for any letters.
    private static func matches(_ name: String, _ pattern: String) -> Bool {
        if pattern.hasSuffix("*") { return name.hasPrefix(pattern.dropLast()) }
        if pattern.hasPrefix("*") { return name.hasSuffix(pattern.dropFirst()) }
        return name == pattern
    }

    /// `name:level,name:level`, as the command line has it, too; nil when a level is none.
    static func changes(_ text: String) -> [(name: String, level: ProxyLog.Level)]? {
        var changes: [(String, ProxyLog.Level)] = []
        for pair in text.split(separator: ",") {
            let parts = pair.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, !parts[0].isEmpty, let level = ProxyLog.Level(parts[1]) else { return nil }
            changes.append((parts[0], level))
        }
        return changes
    }

    private static var levels: String {
        "active loggers:\n"
            + ProxyLog.Component.allCases.map { "  \($0.rawValue): \(ProxyLog.shared.level($0))\n" }.joined() + "\n"
    }

    private static func refusal(_ reason: String) -> AdminAnswer {
        let usage = """
            error: \(reason)

            usage: /logging?<name>=<level> (change single level)
            usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
            usage: /logging?level=<level> (change all levels)
            usage: /logging?group=<group_name>:<level> (change group of loggers)
            levels: trace debug info warning error critical off \n
            """
        return AdminAnswer(usage + levels, status: 400)
    }
}
