import JSON

/// A choice of objects by the fields that their kind allows to select by.
public struct FieldSelector: Hashable, Sendable {
    /// How many terms a selector may have; beyond, it is refused.
    public static let termLimit = 100

    /// One comparison of one field with a text.
    public struct Term: Hashable, Sendable {
        public var field: String
        public var value: String
        public var equal: Bool

        public init(_ field: String, _ value: String, equal: Bool = true) {
            self.field = field
            self.value = value
            self.equal = equal
        }
    }

    public let terms: [Term]

    public init(_ terms: [Term] = []) { self.terms = terms }

    public static let everything = FieldSelector()

    public var isEmpty: Bool { terms.isEmpty }

    /// From the text of `?fieldSelector=`: `spec.nodeName=n1,status.phase!=Running`; a backslash escapes `,`, `=` and itself.
    ///
    /// Only says whether it is well formed; `SelectableFields` says whether a kind has the fields.
    /// - Throws: `StatusError` 400.
    public init(parsing text: String) throws(StatusError) {
        var terms: [Term] = []
        for part in Self.split(text) where !part.isEmpty {
            terms.append(try Self.term(part, in: text))
            guard terms.count <= Self.termLimit else {
                throw .badRequest("a field selector may have at most \(Self.termLimit) terms")
            }
        }
        self.init(terms)
    }

    /// The value that the selector demands of `field`, when it demands exactly one: lists by `metadata.name` become gets.
    public func required(_ field: String) -> String? {
        terms.first { $0.equal && $0.field == field }?.value
    }

    private static func split(_ text: String) -> [String] {
        var parts = [""]
        var escaped = false
        for character in text {
            if !escaped, character == "," {
                parts.append("")
                continue
            }
            parts[parts.count - 1].append(character)
            escaped = !escaped && character == "\\"
        }
        return parts
    }

    private static func term(_ part: String, in text: String) throws(StatusError) -> Term {
        for (index, character) in zip(part.indices, part) where character == "!" || character == "=" {
            let rest = part[index...]
            let length = rest.hasPrefix("!=") || rest.hasPrefix("==") ? 2 : 1
            guard character == "=" || length == 2 else { continue }
            let value = try unescaped(rest.dropFirst(length))
            return Term(String(part[..<index]), value, equal: character == "=")
        }
        throw .badRequest("invalid selector: '\(text)'; can't understand '\(part)'")
    }

    private static func unescaped(_ text: Substring) throws(StatusError) -> String {
        var result = ""
        var escaped = false
        for character in text {
            if escaped {
                guard "\\,=".contains(character) else {
                    throw .badRequest("invalid field selector: invalid escape sequence: \\\(character)")
                }
                result.append(character)
                escaped = false
            } else if character == "\\" {
                escaped = true
            } else if character == "," || character == "=" {
                throw .badRequest("invalid field selector: unescaped character in value: \(character)")
            } else {
                result.append(character)
            }
        }
        guard !escaped else { throw .badRequest("invalid field selector: invalid escape sequence: \\") }
        return result
    }
}
