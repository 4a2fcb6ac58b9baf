import Bytes
import Glibc
import JSON
import Synchronization

/// Structured lines to standard error: what happened, and the facts beside it. Any thread.
///
///     log.warning("pod is not restarted yet", ["pod": "shop/cart-7", "delay": "40s"])
///
/// A line is one `write`; it blocks when nobody reads standard error, so per-packet code counts instead of logging.
public struct Log: Sendable {
    public enum Level: Int, Sendable, Comparable, CaseIterable {
        case debug, info, warning, error

        public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
    }

    public enum Format: Sendable { case text, json }

    /// Facts in the order in which they were written.
    public struct Fields: ExpressibleByDictionaryLiteral, Sendable {
        public private(set) var entries: [(key: String, value: String)]

        public init(dictionaryLiteral elements: (String, String)...) { entries = elements.map { ($0.0, $0.1) } }
        public init(_ dictionary: [String: String]) {
            entries = dictionary.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        }
        init(_ first: Fields, _ second: Fields) { entries = first.entries + second.entries }
    }

    /// A line that would be longer is cut, so that one bad value does not flood the log.
    public static let maximumLine = 16 << 10

    /// Where lines go; the program's own log writes to standard error.
    final class Output: Sendable {
        struct Settings {
            var level = Level.info
            var format = Format.text
        }

        let settings = Mutex(Settings())
        let threshold = Atomic(Level.info.rawValue)
        let write: @Sendable ([UInt8]) -> Void

        init(_ write: @escaping @Sendable ([UInt8]) -> Void) { self.write = write }
    }

    private let output: Output
    private let fields: Fields

    init(_ output: Output, _ fields: Fields = [:]) { (self.output, self.fields) = (output, fields) }

    /// The program's log.
    public static let shared = Log(
        Output { line in
            line.withUnsafeBytes { bytes in
                var written = 0
                while written < bytes.count {
                    let count = Glibc.write(2, bytes.baseAddress.map { $0 + written }, bytes.count - written)
                    guard count > 0 || errno == EINTR else { return }
                    written += max(0, count)
                }
            }
        })

    /// What is written, and how. For the program's start; holds for all logs that were made from this one.
    public func configure(level: Level, format: Format) {
        output.threshold.store(level.rawValue, ordering: .relaxed)
        output.settings.withLock { $0 = Output.Settings(level: level, format: format) }
    }

    /// The same log with facts that stand on each of its lines.
    public func with(_ more: Fields) -> Log { Log(output, Fields(fields, more)) }

    public func debug(_ message: String, _ fields: @autoclosure () -> Fields = [:]) { write(.debug, message, fields) }
    public func info(_ message: String, _ fields: @autoclosure () -> Fields = [:]) { write(.info, message, fields) }
    public func warning(_ message: String, _ fields: @autoclosure () -> Fields = [:]) {
        write(.warning, message, fields)
    }
    public func error(_ message: String, _ fields: @autoclosure () -> Fields = [:]) { write(.error, message, fields) }

    /// Whether lines of this level are written at all.
    public func writes(_ level: Level) -> Bool { level.rawValue >= output.threshold.load(ordering: .relaxed) }

    private func write(_ level: Level, _ message: String, _ more: () -> Fields) {
        guard writes(level) else { return }
        let all = Fields(fields, more())
        let line =
            switch output.settings.withLock({ $0.format }) {
            case .text: Self.text(Timestamp.now(), level, message, all)
            case .json: Self.json(Timestamp.now(), level, message, all)
            }
        output.write(line)
    }

    static func text(_ time: Timestamp, _ level: Level, _ message: String, _ fields: Fields) -> [UInt8] {
        var line: [UInt8] = []
        time.appendRFC3339(to: &line, fraction: 3)
        line.append(utf8: " \(name(level)) ")
        // A line break in a message would look like another line.
        line.append(contentsOf: message.utf8.map { $0 < 32 ? 32 : $0 })
        for (key, value) in fields.entries {
            line.append(utf8: " \(key)=")
            let isPlain =
                !value.isEmpty && value.utf8.allSatisfy { $0 > 32 && $0 != 34 && $0 != 61 && $0 != 92 && $0 != 127 }
            if isPlain { line.append(utf8: value) } else { JSONValue.string(value).write(into: &line) }
        }
        return ended(line)
    }

    static func json(_ time: Timestamp, _ level: Level, _ message: String, _ fields: Fields) -> [UInt8] {
        var line: [UInt8] = []
        line.append(utf8: "{\"ts\":\"")
        time.appendRFC3339(to: &line, fraction: 6)
        line.append(utf8: "\",\"level\":\"\(name(level).lowercased())\",\"msg\":")
        // Values are cut rather than the line, which must stay JSON.
        JSONValue.string(cut(message)).write(into: &line)
        for (key, value) in fields.entries where line.count < maximumLine {
            line.append(UInt8(ascii: ","))
            JSONValue.string(key).write(into: &line)
            line.append(UInt8(ascii: ":"))
            JSONValue.string(cut(value)).write(into: &line)
        }
        line.append(UInt8(ascii: "}"))
        line.append(10)
        return line
    }

    private static func ended(_ line: [UInt8]) -> [UInt8] {
        var line = line
        if line.count >= maximumLine {
            line.removeLast(line.count - maximumLine + 4)
            line.append(utf8: "…")
        }
        line.append(10)
        return line
    }

    private static func cut(_ text: String) -> String {
        text.utf8.count <= maximumLine / 4
            ? text : String(decoding: text.utf8.prefix(maximumLine / 4), as: UTF8.self) + "…"
    }

    private static func name(_ level: Level) -> String {
        switch level {
        case .debug: "DEBUG"
        case .info: "INFO"
        case .warning: "WARNING"
        case .error: "ERROR"
        }
    }
}
