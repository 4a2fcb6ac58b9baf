import CLinux
import Glibc
import HTTP
import XDS

/// What a text must be (`envoy.type.matcher.v3.StringMatcher`).
struct StringMatcher: Sendable {
    enum Pattern: Sendable {
        case exact([UInt8])
        case prefix([UInt8])
        case suffix([UInt8])
        case contains([UInt8])
        /// All of the text.
        case regex(Regex)
    }

    let pattern: Pattern
    /// The pattern's letters are in lower case then.
    let ignoresCase: Bool

    init(_ pattern: Pattern, ignoresCase: Bool = false) {
        self.ignoresCase = ignoresCase
        guard ignoresCase else {
            self.pattern = pattern
            return
        }
        self.pattern =
            switch pattern {
            case .exact(let text): .exact(text.map(lowercase))
            case .prefix(let text): .prefix(text.map(lowercase))
            case .suffix(let text): .suffix(text.map(lowercase))
            case .contains(let text): .contains(text.map(lowercase))
            case .regex: pattern
            }
    }

    init(exact text: String) { self.init(.exact(Array(text.utf8))) }

    func matches(_ text: UnsafeRawBufferPointer) -> Bool {
        switch pattern {
        case .exact(let wanted): return text.count == wanted.count && isSame(text, wanted)
        case .prefix(let wanted):
            return text.count >= wanted.count
                && isSame(UnsafeRawBufferPointer(rebasing: text[..<wanted.count]), wanted)
        case .suffix(let wanted):
            return text.count >= wanted.count
                && isSame(UnsafeRawBufferPointer(rebasing: text[(text.count - wanted.count)...]), wanted)
        case .contains(let wanted):
            guard !wanted.isEmpty else { return true }
            guard text.count >= wanted.count else { return false }
            guard ignoresCase else {
                return wanted.withUnsafeBytes {
                    weft_contains(text.baseAddress, text.count, $0.baseAddress, $0.count) != 0
                }
            }
            return (0...(text.count - wanted.count)).contains { start in
                isSame(UnsafeRawBufferPointer(rebasing: text[start..<start + wanted.count]), wanted)
            }
        case .regex(let regex): return regex.matches(text)
        }
    }

    func matches(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { matches(UnsafeRawBufferPointer($0)) }
    }

    /// Both of one length.
    private func isSame(_ text: UnsafeRawBufferPointer, _ wanted: [UInt8]) -> Bool {
        wanted.withUnsafeBytes { wanted in
            guard let base = wanted.baseAddress, let start = text.baseAddress, !wanted.isEmpty else { return true }
            guard ignoresCase else { return memcmp(start, base, wanted.count) == 0 }
            for index in 0..<wanted.count where lowercase(text[index]) != wanted[index] { return false }
            return true
        }
    }
}

extension StringMatcher {
    /// An `envoy.type.matcher.v3.StringMatcher`.
    init(_ node: ConfigNode) throws(ConfigError) {
        let ignoresCase = node.bool("ignore_case")
        let pattern: Pattern
        switch node.choice("match_pattern") {
        case "exact": pattern = .exact(Array(node.string("exact").utf8))
        case "prefix": pattern = .prefix(Array(node.string("prefix").utf8))
        case "suffix": pattern = .suffix(Array(node.string("suffix").utf8))
        case "contains": pattern = .contains(Array(node.string("contains").utf8))
        case "safe_regex":
            guard let regex = try node.message("safe_regex", Regex.init(config:)) else {
                throw node.error("safe_regex", "is missing")
            }
            pattern = .regex(regex)
        case let other: throw node.error("string match \(other ?? "") is not supported")
        }
        self.init(pattern, ignoresCase: ignoresCase)
    }
}

extension Regex {
    /// An `envoy.type.matcher.v3.RegexMatcher`, or one of `xds.type.matcher.v3`.
    convenience init(config node: ConfigNode) throws(ConfigError) {
        if let engine = node.message("google_re2"), engine.typeName.hasPrefix("envoy.") {
            engine.ignore("max_program_size")
        }
        do throws(Invalid) {
            try self.init(node.string("regex"))
        } catch {
            throw node.error("regex", error.description)
        }
    }
}

/// An `envoy.type.matcher.v3.RegexMatchAndSubstitute`.
struct RegexSubstitution: Sendable {
    let regex: Regex
    let replacement: [UInt8]

    init(_ regex: Regex, _ replacement: [UInt8]) {
        self.regex = regex
        self.replacement = replacement
    }

    init(_ node: ConfigNode) throws(ConfigError) {
        guard let regex = try node.message("pattern", Regex.init(config:)) else {
            throw node.error("pattern", "is missing")
        }
        let text = node.string("substitution")
        if let objection = regex.objection(to: text) { throw node.error("substitution", objection) }
        self.regex = regex
        replacement = Array(text.utf8)
    }
}
