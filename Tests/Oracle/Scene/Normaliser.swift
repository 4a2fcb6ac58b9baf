/// Replaces what differs between two runs of the same thing: ports, dates, identifiers, durations.
struct Normaliser {
    private let ports: [(UInt16, String)]
    private let texts: [(String, String)]

    init(ports: [(UInt16, String)], texts: [(String, String)]) {
        self.ports = ports
        self.texts = texts
    }

    func apply(_ lines: [String]) -> [String] { lines.map(apply) }

    private func apply(_ line: String) -> String {
        var line = line
        for (text, name) in texts { line = line.replacing(text, with: name) }
        // A port stands behind a colon, and behind a blank in a PROXY line.
        let isProxyLine = line.contains("PROXY TCP")
        for (number, name) in ports {
            line = Self.replacePort(line, ":\(number)", ":<\(name)>")
            if isProxyLine { line = Self.replacePort(line, " \(number)", " <\(name)>") }
        }
        // Where a UUID says its version, a proxy that traces says why.
        line = line.replacing(Self.uuid) { "<uuid\($0.output.1 == "4" ? "" : " \($0.output.1)")>" }
        line = line.replacing(Self.traceparent) { match in
            let isCallers = match.output.1.hasPrefix("0123456789abcdef") || match.output.2 == "1122334455667788"
            return isCallers && match.output.2 == "1122334455667788"
                ? String(match.output.0) : "00-\(isCallers ? String(match.output.1) : "<trace>")-<span>"
        }
        line = line.replacing(Self.traceID) { $0.output.hasPrefix("0123456789abcdef") ? String($0.output) : "<trace>" }
        line = line.replacing(Self.time, with: "<time>")
        line = line.replacing(Self.date, with: "<date>")
        line = line.replacing(Self.milliseconds) { "\($0.output.1)<ms>" }
        // What is left of a time-out shrinks with each retry.
        line = line.replacing(Self.expectedTimeout) { match in
            let left = Int(match.output.2) ?? 0
            return "\(match.output.1)\(left > 1000 ? (left + 999) / 1000 * 1000 : left)"
        }
        return Self.defaultLogLine(line)
    }

    /// A port's digits must not go on.
    private static func replacePort(_ line: String, _ text: String, _ name: String) -> String {
        var out = ""
        var rest = line[...]
        while let found = rest.firstRange(of: text) {
            out += rest[..<found.lowerBound]
            rest = rest[found.upperBound...]
            out += rest.first?.isNumber == true ? text : name
        }
        return out + rest
    }

    /// Envoy's own format holds two bare durations behind flags and byte counts.
    private static func defaultLogLine(_ line: String) -> String {
        guard line.contains("[<time>] \"") else { return line }
        var parts = line.split(separator: "\"", omittingEmptySubsequences: false).map(String.init)
        guard parts.count > 2 else { return line }
        var words = parts[2].split(separator: " ").map(String.init)
        for index in words.indices where index >= 4 && words[index].allSatisfy(\.isNumber) { words[index] = "<ms>" }
        parts[2] = " " + words.joined(separator: " ") + " "
        return parts.joined(separator: "\"")
    }

    nonisolated(unsafe) private static let uuid =
        /[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/
    nonisolated(unsafe) private static let traceparent = /00-([0-9a-f]{32})-([0-9a-f]{16})/
    nonisolated(unsafe) private static let traceID = /\b[0-9a-f]{32}\b/
    nonisolated(unsafe) private static let time = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/
    nonisolated(unsafe) private static let date =
        /(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT/
    nonisolated(unsafe) private static let expectedTimeout = /(x-envoy-expected-rq-timeout-ms: )(\d+)/
    /// `ms=12` in a log line that a scene writes, and the headers that carry a duration.
    nonisolated(unsafe) private static let milliseconds =
        /(\bms=|"ms":|"ext_authz_duration":|(?i)x-envoy-upstream-service-time: )\d+/
}
