// YAML text to JSON values and back, over libyaml. The only room that sees it.

public import JSON

/// YAML 1.2 documents as Kubernetes reads them: the JSON schema plus YAML 1.1's plain booleans for `true` and `false` only.
///
/// A key that is there twice is refused. Aliases are expanded, and count as often as they are used.
public enum YAML {
    /// Every document of a stream, empty ones left out.
    public static func parseAll(_ text: String, limits: YAMLLimits = .default) throws(YAMLError) -> [JSONValue] {
        var composer = try YAMLComposer(text, limits: limits, keepsLines: false)
        var values: [JSONValue] = []
        while let (value, _) = try composer.document() {
            if value != .null { values.append(value) }
        }
        return values
    }

    /// The one document of a text.
    public static func parse(_ text: String, limits: YAMLLimits = .default) throws(YAMLError) -> JSONValue {
        let documents = try parseAll(text, limits: limits)
        guard documents.count == 1 else { throw YAMLError("expected one YAML document, found \(documents.count)") }
        return documents[0]
    }

    /// The one document of a text, with the line of each of its values: for errors of those who understand the document.
    /// Costs more than `parse`, so it is for when there is an error.
    public static func parseLocated(_ text: String, limits: YAMLLimits = .default) throws(YAMLError) -> (
        value: JSONValue, lines: YAMLLines
    ) {
        var composer = try YAMLComposer(text, limits: limits, keepsLines: true)
        var found: (value: JSONValue, lines: YAMLLines)?
        while let (value, lines) = try composer.document() {
            if value == .null { continue }
            guard found == nil else { throw YAMLError("expected one YAML document, found more") }
            found = (value, lines)
        }
        guard let found else { throw YAMLError("expected one YAML document, found 0") }
        return found
    }

    /// Block style text, keys in the value's order.
    public static func text(_ value: JSONValue) throws(YAMLError) -> String {
        var emitter = YAMLEmitter()
        return try emitter.document(value)
    }
}

/// Bounds of what is read; beyond any of them the text is refused.
public struct YAMLLimits: Sendable {
    /// Bytes of text. The default is the Kubernetes API's own limit for a request body.
    public var size = 3 << 20
    /// Nodes of a document after aliases are expanded; a small text must not become a big value ("billion laughs").
    public var nodes = 1_000_000
    /// Levels of nesting.
    public var depth = 128

    public init(size: Int = 3 << 20, nodes: Int = 1_000_000, depth: Int = 128) {
        self.size = size
        self.nodes = nodes
        self.depth = depth
    }

    public static let `default` = YAMLLimits()
}

/// The line of a value and of all that is in it, in the order of the value's own elements or members.
public struct YAMLLines: Sendable {
    /// Counted from 1; of a member the line of its key.
    public var line: Int
    public var children: [YAMLLines]
}

/// Why a YAML text cannot be read, with the line where it is known.
public struct YAMLError: Error, CustomStringConvertible, Sendable {
    public let reason: String
    /// Counted from 1.
    public let line: Int?

    init(_ reason: String, line: Int? = nil) {
        self.reason = reason
        self.line = line
    }

    public var description: String { line.map { "line \($0): \(reason)" } ?? reason }
}
