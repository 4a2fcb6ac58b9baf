/// A Corefile as it is written: blocks of directives, with the lines they stand on. Knows no plugin.
struct CorefileSyntax {
    struct Block {
        /// `cluster.local:53`, `.`, as written.
        var keys: [String]
        var line: Int
        var directives: [Directive]
    }

    struct Directive {
        var name: String
        var arguments: [String]
        var line: Int
        /// What stands in its own braces.
        var properties: [Directive]
    }

    /// Bytes of a Corefile at most.
    static let sizeLimit = 1 << 20

    var blocks: [Block]

    /// - Parameter environment: for `{$NAME}` and `{%NAME%}`.
    init(_ text: String, file: String, environment: [String: String]) throws(CorefileError) {
        guard text.utf8.count <= Self.sizeLimit else {
            throw CorefileError(file: file, line: 1, "longer than \(Self.sizeLimit) bytes")
        }
        var tokens = try Tokens(text, file: file, environment: environment)
        var snippets: [String: [Directive]] = [:]
        blocks = []
        while let first = tokens.next() {
            var keys = [first.text]
            // Keys go on over line ends after a comma.
            while let next = tokens.peek(), next.text != "{",
                next.line == first.line || keys.last?.hasSuffix(",") == true
            {
                keys.append(next.text)
                _ = tokens.next()
            }
            keys = keys.flatMap { $0.split(separator: ",").map(String.init) }
            guard tokens.next()?.text == "{" else {
                throw CorefileError(file: file, line: first.line, "expected { after \"\(keys.joined(separator: " "))\"")
            }
            let directives = try Self.directives(&tokens, file, opened: first.line, snippets)
            if keys.count == 1, first.text.hasPrefix("("), first.text.hasSuffix(")") {
                snippets[String(first.text.dropFirst().dropLast())] = directives
            } else {
                blocks.append(Block(keys: keys, line: first.line, directives: directives))
            }
        }
    }

    private static func directives(
        _ tokens: inout Tokens, _ file: String, opened: Int, _ snippets: [String: [Directive]]
    ) throws(CorefileError) -> [Directive] {
        var result: [Directive] = []
        while let token = tokens.next() {
            if token.text == "}" { return result }
            guard token.text != "{" else {
                throw CorefileError(file: file, line: token.line, "a { without a name before it")
            }
            var directive = Directive(name: token.text, arguments: [], line: token.line, properties: [])
            while let next = tokens.peek(), next.line == token.line, next.text != "}" {
                _ = tokens.next()
                if next.text == "{" {
                    directive.properties = try directives(&tokens, file, opened: token.line, snippets)
                    break
                }
                directive.arguments.append(next.text)
            }
            if directive.name == "import" {
                guard let name = directive.arguments.first, let snippet = snippets[name] else {
                    throw CorefileError(
                        file: file, line: token.line,
                        "import takes the name of a snippet that stands above; importing files is not supported")
                }
                result += snippet
            } else {
                result.append(directive)
            }
        }
        throw CorefileError(file: file, line: opened, "the { opened here is never closed")
    }
}

/// Why a Corefile cannot be used: file, line and reason.
public struct CorefileError: Error, CustomStringConvertible, Sendable {
    public var file: String
    public var line: Int
    public var reason: String

    init(file: String, line: Int, _ reason: String) {
        self.file = file
        self.line = line
        self.reason = reason
    }

    public var description: String { "\(file):\(line): \(reason)" }
}

/// Words of a Corefile.
private struct Tokens {
    struct Token {
        var text: String
        var line: Int
    }

    private var tokens: [Token] = []
    private var index = 0

    init(_ text: String, file: String, environment: [String: String]) throws(CorefileError) {
        var line = 1
        var word = ""
        var hasWord = false
        var quoteLine: Int?
        var characters = Array(text)[...]
        func substituted(_ word: String) -> String {
            var result = word
            for (open, close) in [("{$", "}"), ("{%", "%}")] {
                while let start = result.firstRange(of: open),
                    let end = result[start.upperBound...].firstRange(of: close)
                {
                    let name = String(result[start.upperBound..<end.lowerBound])
                    result.replaceSubrange(start.lowerBound..<end.upperBound, with: environment[name] ?? "")
                }
            }
            return result
        }
        while let character = characters.popFirst() {
            if quoteLine != nil {
                switch character {
                case "\"": quoteLine = nil
                case "\\" where characters.first == "\"": word.append(characters.removeFirst())
                default:
                    if character == "\n" { line += 1 }
                    word.append(character)
                }
                continue
            }
            switch character {
            case "\"" where !hasWord:
                quoteLine = line
                hasWord = true
            case "#" where !hasWord:
                while let next = characters.first, next != "\n" { characters.removeFirst() }
            case " ", "\t", "\r", "\n", "\r\n":
                if hasWord { tokens.append(Token(text: substituted(word), line: line)) }
                (word, hasWord) = ("", false)
                if character == "\n" || character == "\r\n" { line += 1 }
            default:
                word.append(character)
                hasWord = true
            }
        }
        if let quoteLine { throw CorefileError(file: file, line: quoteLine, "the quote opened here is never closed") }
        if hasWord { tokens.append(Token(text: substituted(word), line: line)) }
    }

    func peek() -> Token? { index < tokens.count ? tokens[index] : nil }

    mutating func next() -> Token? {
        defer { index += 1 }
        return peek()
    }
}
