extension LabelSelector {
    /// From the text of `?labelSelector=`: `app=web,tier in (a, b),!old,count>3`.
    /// - Throws: `StatusError` 400 that says what was found and what was expected.
    public init(parsing text: String) throws(StatusError) {
        var parser = LabelSelectorParser(text)
        self.init(try parser.requirements())
    }
}

/// Reads the grammar of label selectors. One token of look-ahead; every error is a 400.
private struct LabelSelectorParser {
    enum Token: Equatable {
        case word(String)
        case symbol(String)
        case end

        var text: String {
            switch self {
            case .word(let text), .symbol(let text): text
            case .end: ""
            }
        }
    }

    private let bytes: [UInt8]
    private var position = 0
    private var token = Token.end

    init(_ text: String) {
        bytes = Array(text.utf8)
        advance()
    }

    mutating func requirements() throws(StatusError) -> [LabelSelector.Requirement] {
        var result: [LabelSelector.Requirement] = []
        while token != .end {
            result.append(try requirement())
            guard result.count <= LabelSelector.requirementLimit else {
                throw .badRequest("a label selector may have at most \(LabelSelector.requirementLimit) requirements")
            }
            switch token {
            case .end: break
            case .symbol(","):
                advance()
                guard case .word = token else {
                    if token == .symbol("!") { continue }
                    throw expected("identifier after ','")
                }
            default: throw expected("',' or 'end of string'")
            }
        }
        return result
    }

    private mutating func requirement() throws(StatusError) -> LabelSelector.Requirement {
        if token == .symbol("!") {
            advance()
            return LabelSelector.Requirement(try key(), .absent)
        }
        let key = try key()
        switch token {
        case .end, .symbol(","): return LabelSelector.Requirement(key, .exists)
        case .symbol("="), .symbol("=="):
            return LabelSelector.Requirement(key, .equals, [try value()])
        case .symbol("!="):
            return LabelSelector.Requirement(key, .notEquals, [try value()])
        case .symbol(">"), .symbol("<"):
            let operation: LabelSelector.Requirement.Operation = token == .symbol(">") ? .greater : .less
            let bound = try value()
            guard Int64(bound) != nil else {
                throw .badRequest(
                    "unable to parse requirement: values[0][\(key)]: Invalid value: \(quoted(bound)): for 'Gt', 'Lt' operators, the value must be an integer"
                )
            }
            return LabelSelector.Requirement(key, operation, [bound])
        case .word("in"): return LabelSelector.Requirement(key, .within, try values())
        case .word("notin"): return LabelSelector.Requirement(key, .notWithin, try values())
        default: throw expected("in, notin, =, ==, !=, gt, lt")
        }
    }

    private mutating func key() throws(StatusError) -> String {
        guard case .word(let key) = token else { throw expected("!, identifier, or ','") }
        if let problem = Names.qualifiedName(key).first {
            throw .badRequest("unable to parse requirement: key: Invalid value: \(quoted(key)): \(problem)")
        }
        advance()
        return key
    }

    /// The value after an operator; nothing there is the empty value.
    private mutating func value() throws(StatusError) -> String {
        advance()
        guard case .word(let text) = token else {
            if token == .end || token == .symbol(",") { return "" }
            throw expected("identifier")
        }
        advance()
        return try checked(text)
    }

    private mutating func values() throws(StatusError) -> [String] {
        advance()
        guard token == .symbol("(") else { throw expected("'('") }
        var result: [String] = []
        repeat {
            advance()
            if case .word(let text) = token {
                result.append(try checked(text))
                advance()
            } else {
                result.append("")
            }
            guard result.count <= LabelSelector.requirementLimit else {
                throw .badRequest("a label selector may have at most \(LabelSelector.requirementLimit) values")
            }
        } while token == .symbol(",")
        guard token == .symbol(")") else { throw expected("',' or ')'") }
        advance()
        return Array(Set(result))
    }

    private func checked(_ value: String) throws(StatusError) -> String {
        if let problem = Names.labelValue(value).first {
            throw .badRequest("unable to parse requirement: values[0]: Invalid value: \(quoted(value)): \(problem)")
        }
        return value
    }

    private func expected(_ what: String) -> StatusError {
        .badRequest("unable to parse requirement: found '\(token.text)', expected: \(what)")
    }

    private mutating func advance() {
        while position < bytes.count, Self.isSpace(bytes[position]) { position += 1 }
        guard position < bytes.count else {
            token = .end
            return
        }
        let start = position
        let isPair = position + 1 < bytes.count && bytes[position + 1] == UInt8(ascii: "=")
        switch bytes[position] {
        case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: ","), UInt8(ascii: ">"), UInt8(ascii: "<"):
            position += 1
        case UInt8(ascii: "="), UInt8(ascii: "!"):
            position += isPair ? 2 : 1
        default:
            while position < bytes.count, !Self.isSpecial(bytes[position]) { position += 1 }
            token = .word(String(decoding: bytes[start..<position], as: UTF8.self))
            return
        }
        token = .symbol(String(decoding: bytes[start..<position], as: UTF8.self))
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }
    private static func isSpecial(_ byte: UInt8) -> Bool { isSpace(byte) || "(),><=!".utf8.contains(byte) }
}
