import Bytes
import Reactor

/// How moments of the monotonic clock are dated.
struct ExplanationClock: Sendable {
    private let now = Timestamp.now()
    private let monotonic = MonotonicTime.now().nanoseconds

    func date(_ moment: UInt64) -> String {
        let at = now.adding(.nanoseconds(-Int64(clamping: monotonic &- moment)))
        let time = CalendarTime(seconds: at.seconds)
        func padded(_ value: some BinaryInteger, _ width: Int = 2) -> String {
            let text = "\(value)"
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        return "\(time.year)-\(padded(time.month))-\(padded(time.day))T\(padded(time.hour)):\(padded(time.minute))"
            + ":\(padded(time.second)).\(padded(at.nanoseconds / 1_000_000, 3))Z"
    }
}

/// What happened to a request, in sentences. A value that other threads may have.
struct Explanation: Sendable {
    /// When it came in.
    let began: UInt64
    /// One line: when, what, how it ended and under which ID more is told.
    let summary: String
    let text: String

    init(_ record: borrowing RequestRecord, _ clock: ExplanationClock) {
        began = record.began
        let what = "\(record.method.string) \(record.host.string)\(record.path.string)"
        summary =
            "\(clock.date(record.began)) \(record.status) \(Self.flags(record.flags, \.short)) \(Self.details(record))"
            + " \(what) \(record.id.string)"
        var lines = ["\(what)", "", Self.arrival(record, clock), Self.route(record)]
        lines += Self.attempts(record)
        lines.append(Self.end(record))
        let advice = Advice.about(record)
        if !advice.isEmpty { lines += ["", "What to look at:"] + advice.map { "- \($0)" } }
        text = lines.joined(separator: "\n") + "\n"
    }

    static func milliseconds(_ nanoseconds: UInt64) -> String {
        let microseconds = nanoseconds / 1000
        let part = "\(microseconds % 1000)"
        return "\(microseconds / 1000).\(String(repeating: "0", count: 3 - part.count))\(part) ms"
    }

    private static func arrival(_ record: borrowing RequestRecord, _ clock: ExplanationClock) -> String {
        var line = "It came at \(clock.date(record.began)) from \(record.client.map { "\($0)" } ?? "nobody known")"
        if record.isInternal { line += ", one of our own" }
        line += " over \(record.version.map { "\($0.text)" } ?? "HTTP")"
        if !record.listener.isEmpty { line += ", by listener \"\(record.listener)\"" }
        if !record.chain.isEmpty { line += ", filter chain \"\(record.chain)\"" }
        if record.requestEnded > 0 {
            line += ", and was whole after \(milliseconds(record.requestEnded &- record.began))"
        } else {
            line += ", and never became whole"
        }
        return line + (record.requestBytes > 0 ? " with \(record.requestBytes) bytes of body." : ".")
    }

    private static func route(_ record: borrowing RequestRecord) -> String {
        guard let route = record.route else {
            return "No route matched: no virtual host is for this host, or none of its routes is for this request."
        }
        let name = route.name.isEmpty ? "a route without a name" : "route \"\(route.name)\""
        var line = "Virtual host \"\(route.host.name)\", \(name) matched by \(route.match.words)"
        switch route.action {
        case .forward:
            line += record.cluster.map { "; it leads to cluster \"\($0.name)\"." } ?? "; its cluster is not there."
        case .redirect: line += "; it redirects."
        case .direct: line += "; it answers by itself."
        case .nonForwarding: line += "; it leads nowhere."
        }
        return line
    }

    private static func attempts(_ record: borrowing RequestRecord) -> [String] {
        guard record.attempts.count > 0 else {
            return record.cluster == nil ? [] : ["No attempt was made."]
        }
        var lines: [String] = []
        for index in 0..<record.attempts.kept {
            lines.append(attempt(record.attempts[index], index + 1, record))
        }
        let more = record.attempts.count - record.attempts.kept
        if more > 0 { lines.append("\(more) more attempts followed.") }
        return lines
    }

    private static func attempt(
        _ entry: AttemptTrail.Entry, _ number: Int, _ record: borrowing RequestRecord
    ) -> String {
        let start = milliseconds(entry.began &- record.began)
        var line = "Attempt \(number), after \(start), at \(entry.host.map { "\($0)" } ?? "an unknown host")"
        if entry.ready > 0 {
            let wait = milliseconds(entry.ready &- entry.began)
            line += entry.isReused ? ", on a kept connection" : ", on a connection that took \(wait)"
        } else {
            line += ", got no connection"
        }
        let end = milliseconds((entry.ended > 0 ? entry.ended : record.ended) &- entry.began)
        let isLast = number == record.attempts.count
        switch entry.outcome {
        case .answered:
            line += ": status \(entry.status) came after \(end)"
            if !isLast { line += ", which the retry policy does not take for an answer" }
        case .timedOut: line += ": nothing came within \(end) (per_try_timeout)"
        case .failed:
            line += ": \(UpstreamFailure(reason: entry.failure).words) after \(end)"
            if isLast, !record.attempts.failure.isEmpty { line += " (\(record.attempts.failure))" }
        case .dropped: line += ": given up after \(end)"
        }
        return line + (isLast ? "." : "; tried again.")
    }

    private static func end(_ record: borrowing RequestRecord) -> String {
        let total = milliseconds(record.ended &- record.began)
        guard record.status > 0 else { return "It was over after \(total), without an answer (\(details(record)))." }
        var line = "The client got \(record.status)\(record.isLocalReply ? " from this proxy" : "")"
        if record.responseBegan > record.began {
            line += " after \(milliseconds(record.responseBegan &- record.began))"
        }
        line += ", \(record.responseBytes) bytes of body"
        line += record.clientIsGone ? ", and not all of it" : ""
        line += "; all was over after \(total). Details: \(details(record))"
        return line + (record.flags.isEmpty ? "." : "; flags: \(flags(record.flags, \.long)).")
    }

    static func details(_ record: borrowing RequestRecord) -> String {
        if let text = record.detailText { return text }
        return record.details.utf8CodeUnitCount > 0 ? "\(record.details)" : "-"
    }

    private static func flags(
        _ flags: ResponseFlags, _ form: KeyPath<(short: StaticString, long: StaticString), StaticString>
    ) -> String {
        let set = ResponseFlags.names.enumerated().filter { flags.rawValue & 1 << UInt64($0.offset) != 0 }
        return set.isEmpty ? "-" : set.map { "\($0.element[keyPath: form])" }.joined(separator: ",")
    }
}

extension RouteMatch {
    /// What it asks, in words.
    var words: String {
        func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
        var words =
            switch path {
            case .prefix(let prefix): "prefix \"\(text(prefix))\""
            case .segments(let prefix): "path_separated_prefix \"\(text(prefix))\""
            case .exact(let path): "path \"\(text(path))\""
            case .regex(let regex): "safe_regex \"\(regex.pattern)\""
            case .template: "path template"
            case .connect: "connect_matcher"
            }
        guard let conditions else { return words }
        let names = conditions.headers.map { "\($0.key)" }
        if !names.isEmpty { words += ", headers \(names.joined(separator: ", "))" }
        if !conditions.parameters.isEmpty { words += ", \(conditions.parameters.count) query parameters" }
        if !conditions.cookies.isEmpty { words += ", \(conditions.cookies.count) cookies" }
        if conditions.isGRPC { words += ", gRPC" }
        return words
    }
}
