import XDS

/// A path with variables (`envoy.path.match.uri_template`): `/videos/{id=v*}/**`. Segments are literals, `*` for one segment
/// and `**` for the rest, at most one, last; a variable names what a segment, or several, matched.
struct PathTemplate: Sendable {
    struct Invalid: Error, CustomStringConvertible { let description: String }

    struct Rewrite: Sendable {
        enum Piece: Sendable {
            case text([UInt8])
            case variable([UInt8])
        }
        var pieces: [Piece]
    }

    /// Of a full match.
    private let regex: Regex
    private let captures: [(name: [UInt8], extraction: RegexSubstitution)]

    func matches(_ path: UnsafeRawBufferPointer) -> Bool { regex.matches(path) }

    /// What a variable stands for in a path that matches.
    func value(_ name: [UInt8], _ path: UnsafeRawBufferPointer) -> [UInt8]? {
        guard let capture = captures.first(where: { $0.name == name }) else { return nil }
        var value: [UInt8]?
        capture.extraction.regex.replacing(path, with: capture.extraction.replacement) { value = Array($0) }
        return value
    }

    var variables: [[UInt8]] { captures.map(\.name) }

    private static let segmentCharacters = "[a-zA-Z0-9\\-._~%!$&'()+,;:@]"

    /// Compiled into one regular expression with a group for each variable.
    init(_ template: String) throws(Invalid) {
        guard template.hasPrefix("/") else { throw Invalid(description: "\"\(template)\" does not begin with /") }
        var pattern = ""
        var names: [[UInt8]] = []
        var sawRest = false
        var rest = template[...]
        while !rest.isEmpty {
            guard rest.first == "/" else { throw Invalid(description: "\"\(template)\" lacks a / before \"\(rest)\"") }
            rest.removeFirst()
            guard !sawRest else { throw Invalid(description: "nothing may follow ** in \"\(template)\"") }
            pattern += "/"
            if rest.first == "{" {
                guard let end = rest.firstIndex(of: "}") else {
                    throw Invalid(description: "\"\(template)\" lacks a }")
                }
                let inside = rest[rest.index(after: rest.startIndex)..<end]
                let equals = inside.firstIndex(of: "=") ?? inside.endIndex
                let name = inside[..<equals]
                guard !name.isEmpty, name.first?.isLetter == true,
                    name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "_" })
                else { throw Invalid(description: "\"\(name)\" is no name of a variable in \"\(template)\"") }
                guard !names.contains(Array(name.utf8)) else {
                    throw Invalid(description: "variable \(name) comes twice in \"\(template)\"")
                }
                names.append(Array(name.utf8))
                let inner = equals < inside.endIndex ? inside[inside.index(after: equals)...] : "*"
                pattern += "("
                for (index, segment) in inner.split(separator: "/", omittingEmptySubsequences: false).enumerated() {
                    guard !sawRest else { throw Invalid(description: "nothing may follow ** in \"\(template)\"") }
                    if index > 0 { pattern += "/" }
                    pattern += try Self.pattern(segment, &sawRest, template)
                }
                pattern += ")"
                rest = rest[rest.index(after: end)...]
            } else {
                let end = rest.firstIndex(of: "/") ?? rest.endIndex
                pattern += try Self.pattern(rest[..<end], &sawRest, template)
                rest = rest[end...]
            }
        }
        do throws(Regex.Invalid) {
            regex = try Regex(pattern)
            var captures: [(name: [UInt8], extraction: RegexSubstitution)] = []
            for (index, name) in names.enumerated() {
                let anchored = try Regex("^" + pattern + "$")
                captures.append((name, RegexSubstitution(anchored, Array("\\\(index + 1)".utf8))))
            }
            self.captures = captures
        } catch {
            throw Invalid(description: error.description)
        }
    }

    private static func pattern(
        _ segment: Substring, _ sawRest: inout Bool, _ template: String
    ) throws(Invalid) -> String {
        if segment == "*" { return segmentCharacters + "+" }
        if segment == "**" {
            sawRest = true
            return "(?:" + segmentCharacters + "|/)*"
        }
        guard !segment.contains("*"), !segment.contains("{"), !segment.contains("}") else {
            throw Invalid(description: "segment \"\(segment)\" of \"\(template)\" mixes a wildcard with text")
        }
        return segment.map { $0.isLetter || $0.isNumber ? String($0) : "\\\($0)" }.joined()
    }
}

extension PathTemplate.Rewrite {
    init(_ text: String) throws(PathTemplate.Invalid) {
        guard text.hasPrefix("/") else { throw PathTemplate.Invalid(description: "\"\(text)\" does not begin with /") }
        var pieces: [Piece] = []
        var rest = text[...]
        while !rest.isEmpty {
            let open = rest.firstIndex(of: "{") ?? rest.endIndex
            if open > rest.startIndex { pieces.append(.text(Array(rest[..<open].utf8))) }
            guard open < rest.endIndex else { break }
            guard let close = rest[open...].firstIndex(of: "}") else {
                throw PathTemplate.Invalid(description: "\"\(text)\" lacks a }")
            }
            pieces.append(.variable(Array(rest[rest.index(after: open)..<close].utf8)))
            rest = rest[rest.index(after: close)...]
        }
        self.pieces = pieces
    }

    func path(_ path: UnsafeRawBufferPointer, _ template: PathTemplate) -> [UInt8]? {
        var made: [UInt8] = []
        for piece in pieces {
            switch piece {
            case .text(let text): made += text
            case .variable(let name):
                guard let value = template.value(name, path) else { return nil }
                made += value
            }
        }
        return made
    }
}
