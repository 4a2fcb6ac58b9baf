import JSON

/// How plain scalars become values, and which text can be written as one.
enum YAMLScalar {
    static func value(_ text: String) -> JSONValue {
        guard let first = text.utf8.first else { return .null }
        switch first {
        case UInt8(ascii: "~"), UInt8(ascii: "n"), UInt8(ascii: "N"):
            if ["~", "null", "Null", "NULL"].contains(text) { return .null }
        case UInt8(ascii: "t"), UInt8(ascii: "T"): if ["true", "True", "TRUE"].contains(text) { return .bool(true) }
        case UInt8(ascii: "f"), UInt8(ascii: "F"):
            if ["false", "False", "FALSE"].contains(text) { return .bool(false) }
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."):
            return number(text) ?? .string(text)
        default: break
        }
        return .string(text)
    }

    private static func number(_ text: String) -> JSONValue? {
        // Most of what begins like a number is none: addresses, durations, versions.
        var isWhole = true
        for (position, byte) in text.utf8.enumerated() {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): continue
            case UInt8(ascii: "+"), UInt8(ascii: "-"): if position > 0 { isWhole = false }
            case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"): isWhole = false
            case UInt8(ascii: "x") where text.hasPrefix("0x"):
                return Int64(text.dropFirst(2), radix: 16).map(JSONValue.int)
            case UInt8(ascii: "o") where text.hasPrefix("0o"):
                return Int64(text.dropFirst(2), radix: 8).map(JSONValue.int)
            default: return nil
            }
        }
        if isWhole, let int = Int64(text) { return .int(int) }
        guard let double = Double(text), double.isFinite else { return nil }
        return .double(double)
    }

    /// Whether a text that is written without quotes is read back as itself.
    static func isPlainString(_ text: String) -> Bool {
        guard case .string = value(text), let first = text.utf8.first, let last = text.utf8.last else { return false }
        return !" !&*-?|>@`\"'%#{}[],:=~".utf8.contains(first) && last != UInt8(ascii: " ")
            && last != UInt8(ascii: ":") && !text.contains(": ") && !text.contains(" #")
            && !yaml11Words.contains(text.lowercased()) && !isYAML11Number(text)
    }

    /// Words that older readers take for booleans and numbers: always quoted when written, never read as such.
    private static let yaml11Words: Set<String> = [
        "y", "n", "yes", "no", "on", "off", ".inf", "-.inf", "+.inf", ".nan",
    ]

    /// Days and moments (`2026-11-26T20:00:59Z`), numbers to the base of 60 (`12:30`) and those with lines in them (`1_000`) are more
    /// than text to older readers, PyYAML and kubectl's among them.
    private static func isYAML11Number(_ text: String) -> Bool {
        let bytes = Array(text.utf8.prefix(6))
        func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
        if bytes.count == 6, bytes[..<4].allSatisfy(isDigit), bytes[4] == UInt8(ascii: "-"), isDigit(bytes[5]) {
            return true
        }
        return text.utf8.contains { $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "_") }
            && text.utf8.allSatisfy { isDigit($0) || "+-.:_".utf8.contains($0) }
    }
}
