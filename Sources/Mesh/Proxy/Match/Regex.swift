// Match: what configuration asks of text, headers and addresses, as values that answer without allocating. Knows nothing of
// routes or filters, which are made of these.

import CRE2
import Glibc

/// A regular expression in RE2's syntax, which matches in time linear to the text, so that nobody can send what takes long.
///
/// `@unchecked Sendable`: RE2 guards what it caches, so that threads may share one.
final class Regex: @unchecked Sendable {
    struct Invalid: Error, CustomStringConvertible { let description: String }

    /// RE2's measure of an expression's cost up to which Envoy warns of nothing.
    static let programSizeLimit = 100 << 10

    let pattern: String
    private let raw: OpaquePointer

    init(_ pattern: String, ignoresCase: Bool = false) throws(Invalid) {
        self.pattern = pattern
        var pattern = pattern
        var reason = ""
        let raw = pattern.withUTF8 { bytes -> OpaquePointer? in
            withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { error in
                error[0] = 0
                let regex = bytes.withMemoryRebound(to: CChar.self) {
                    weft_regex_new($0.baseAddress, $0.count, ignoresCase, error.baseAddress, error.count)
                }
                if regex == nil, let text = error.baseAddress { reason = String(cString: text) }
                return regex
            }
        }
        guard let raw else { throw Invalid(description: "\"\(self.pattern)\" is no regular expression: \(reason)") }
        guard weft_regex_program_size(raw) <= Self.programSizeLimit else {
            weft_regex_free(raw)
            throw Invalid(description: "\"\(self.pattern)\" is too costly a regular expression")
        }
        self.raw = raw
    }

    deinit { weft_regex_free(raw) }

    /// Whether all of the text matches.
    func matches(_ text: UnsafeRawBufferPointer) -> Bool { weft_regex_matches(raw, text.baseAddress, text.count) }

    /// Whether some part of the text matches.
    func finds(_ text: UnsafeRawBufferPointer) -> Bool { weft_regex_finds(raw, text.baseAddress, text.count) }

    /// Shows the text with every match replaced, `\0` … `\9` in the replacement being groups; nothing without a match.
    func replacing(
        _ text: UnsafeRawBufferPointer, with replacement: [UInt8], _ body: (UnsafeRawBufferPointer) -> Void
    ) {
        var count = 0
        let result = replacement.withUnsafeBytes { bytes in
            weft_regex_replace(
                raw, text.baseAddress, text.count, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count,
                &count)
        }
        guard let result else { return }
        body(UnsafeRawBufferPointer(start: result, count: count))
        free(result)
    }

    /// Why a replacement cannot be used with the expression; nil when it can.
    func objection(to replacement: String) -> String? {
        var replacement = replacement
        let reason = replacement.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { weft_regex_check_replacement(raw, $0.baseAddress, $0.count) }
        }
        guard let reason else { return nil }
        defer { free(reason) }
        return String(cString: reason)
    }
}
