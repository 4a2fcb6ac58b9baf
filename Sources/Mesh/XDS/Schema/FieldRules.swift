/// What a field's value must satisfy beyond its type: the rules that Envoy's own API states (protoc-gen-validate).
///
/// An object, because few fields have any and all are passed along. It is written only while it is made, before anybody
/// else has it; so it may be shared.
final class FieldRules: @unchecked Sendable {
    /// A message must be there.
    private(set) var isRequired = false
    /// Nothing within the message is checked.
    private(set) var isSkipped = false
    /// Only numbers that the enum names.
    private(set) var isDefinedOnly = false
    /// All other rules hold only for a value that is not empty.
    private(set) var ignoresEmpty = false
    /// Elements differ.
    private(set) var isUnique = false
    /// Elements of a list, entries of a map.
    private(set) var items = Lengths()
    /// Characters of a text, bytes of bytes.
    private(set) var length = Lengths()
    /// Bytes of a text.
    private(set) var bytes = Lengths()
    /// Numbers; nanoseconds of durations.
    private(set) var lower: Bound?
    private(set) var upper: Bound?
    private(set) var constant: Double?
    private(set) var allowedNumbers: [Double] = []
    private(set) var forbiddenNumbers: [Double] = []
    private(set) var allowedTexts: [String] = []
    private(set) var forbiddenTexts: [String] = []
    private(set) var prefix: String?
    private(set) var suffix: String?
    private(set) var infix: String?
    private(set) var form: TextForm?
    /// Rules for each element, the keys and the values of a map.
    private(set) var each: FieldRules?
    private(set) var keys: FieldRules?
    private(set) var values: FieldRules?

    struct Lengths: Sendable {
        var min = 0
        var max = Int.max
    }

    struct Bound: Sendable {
        var value: Double
        var isInclusive: Bool
    }

    /// Nil for no rules. The generator says how they are written.
    convenience init?(_ text: String) {
        guard !text.isEmpty else { return nil }
        self.init(words: text.split(separator: " "))
    }

    private init(words: [Substring]) {
        var nested: [String: [Substring]] = [:]
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1)
            let name = parts[0]
            let value = parts.count > 1 ? String(parts[1]) : ""
            if let dot = name.firstIndex(of: "."), ["each", "keys", "values"].contains(name[..<dot]) {
                nested[String(name[..<dot]), default: []].append(word[word.index(after: dot)...])
            } else {
                set(name, value)
            }
        }
        each = nested["each"].map { FieldRules(words: $0) }
        keys = nested["keys"].map { FieldRules(words: $0) }
        values = nested["values"].map { FieldRules(words: $0) }
    }

    private func set(_ name: Substring, _ value: String) {
        switch name {
        case "required": isRequired = true
        case "skip": isSkipped = true
        case "defined": isDefinedOnly = true
        case "ignoreempty": ignoresEmpty = true
        case "unique": isUnique = true
        case "minitems": items.min = Int(value)!
        case "maxitems": items.max = Int(value)!
        case "min": length.min = Int(value)!
        case "max": length.max = Int(value)!
        case "len": length = Lengths(min: Int(value)!, max: Int(value)!)
        case "minbytes": bytes.min = Int(value)!
        case "maxbytes": bytes.max = Int(value)!
        case "bytes": bytes = Lengths(min: Int(value)!, max: Int(value)!)
        case "gt": lower = Bound(value: Double(value)!, isInclusive: false)
        case "ge": lower = Bound(value: Double(value)!, isInclusive: true)
        case "lt": upper = Bound(value: Double(value)!, isInclusive: false)
        case "le": upper = Bound(value: Double(value)!, isInclusive: true)
        case "const": constant = Double(value)!
        case "in", "notin":
            let words = value.split(separator: "|", omittingEmptySubsequences: false).map { Self.plain(String($0)) }
            let numbers = words.compactMap(Double.init)
            switch (name, numbers.count == words.count) {
            case ("in", true): allowedNumbers = numbers
            case ("in", false): allowedTexts = words
            case (_, true): forbiddenNumbers = numbers
            case (_, false): forbiddenTexts = words
            }
        case "prefix": prefix = Self.plain(value)
        case "suffix": suffix = Self.plain(value)
        case "contains": infix = Self.plain(value)
        case "headername": form = .headerName
        case "headervalue": form = .headerValue
        case "headernamelax", "headervaluelax": form = .laxHeader
        case "uri": form = .uri
        case "pattern": form = TextForm(pattern: Self.plain(value))
        default: preconditionFailure("the schema has a rule \(name)")
        }
    }

    /// `%20` and the like as what they stand for.
    private static func plain(_ text: String) -> String {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return text }
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), let value = UInt8(String(rest.prefix(2)) ?? "", radix: 16) {
                bytes.append(value)
                rest.removeFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The shapes of text that the API's rules know.
enum TextForm: Sendable {
    /// RFC 9110 field names, also with a colon in front.
    case headerName
    /// RFC 9110 field values: no control characters but the tab.
    case headerValue
    /// Neither NUL nor line ends.
    case laxHeader
    case uri
    /// No control characters at all.
    case printable
    /// Letters, digits and `_-./~:`.
    case pathPrefix
    /// Without query and fragment, and not ending in a slash.
    case pathWithoutSlash
    /// Nothing, or what RFC 6265 lets a cookie's name and value be made of.
    case cookieWord
    /// Nothing, or a path of such characters.
    case cookiePath

    /// The few regular expressions in the API's rules.
    init(pattern: String) {
        switch pattern {
        case #"^[^\x00-\x1f\x7f]*$"#: self = .printable
        case #"^[0-9a-zA-Z_\-\./~:]+$"#: self = .pathPrefix
        case #"^[^?#]+[^?#/]$"#: self = .pathWithoutSlash
        case #"^$|^[^\x00-\x1f\x7f ",;<>\\]+$"#: self = .cookieWord
        case #"^$|^/[^\x00-\x1f\x7f ",;<>\\]*$"#: self = .cookiePath
        default: preconditionFailure("the schema has a pattern \(pattern)")
        }
    }

    /// What a text must be, for a sentence.
    var description: String {
        switch self {
        case .headerName: "a header's name"
        case .headerValue: "a header's value, without control characters"
        case .laxHeader: "without NUL and line ends"
        case .uri: "a URI"
        case .printable: "without control characters"
        case .pathPrefix: "letters, digits and _-./~: only"
        case .pathWithoutSlash: "a path without query and fragment that does not end in a slash"
        case .cookieWord: "without control characters, blanks and \",;<>\\"
        case .cookiePath: "a path without control characters, blanks and \",;<>\\"
        }
    }

    func matches(_ text: String) -> Bool {
        let bytes = text.utf8
        switch self {
        case .headerName:
            let name = bytes.first == UInt8(ascii: ":") ? bytes.dropFirst() : bytes[...]
            // `^` to `z` and `+` to `.` are ranges in the expression that the rules are checked with elsewhere.
            return !name.isEmpty && name.allSatisfy { Self.isAlphanumeric($0) || "!#$%&'*+,-.^_`|~".utf8.contains($0) }
        case .headerValue: return bytes.allSatisfy { $0 == 9 || ($0 >= 32 && $0 != 127) }
        case .laxHeader: return !bytes.contains { $0 == 0 || $0 == 10 || $0 == 13 }
        case .uri: return bytes.contains(UInt8(ascii: ":"))
        case .printable: return bytes.allSatisfy { $0 >= 32 && $0 != 127 }
        case .pathPrefix:
            return !bytes.isEmpty && bytes.allSatisfy { Self.isAlphanumeric($0) || "_-./~:".utf8.contains($0) }
        case .cookieWord: return bytes.allSatisfy(Self.isCookieCharacter)
        case .cookiePath:
            return bytes.isEmpty || (bytes.first == UInt8(ascii: "/") && bytes.allSatisfy(Self.isCookieCharacter))
        case .pathWithoutSlash:
            return bytes.count >= 2 && bytes.last != UInt8(ascii: "/")
                && !bytes.contains { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
        }
    }

    private static func isCookieCharacter(_ byte: UInt8) -> Bool {
        byte > 32 && byte != 127 && !"\",;<>\\".utf8.contains(byte)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122: true
        default: false
        }
    }
}
