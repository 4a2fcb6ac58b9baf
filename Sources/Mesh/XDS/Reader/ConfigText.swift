import JSON
import YAML

/// Where a configuration came from: the name for messages, and the text when there is one.
///
/// Lines are looked for only when there is an error to report, so reading a configuration costs nothing for them.
public struct ConfigText: Sendable {
    /// A file's path, or what else the user knows it by: `--config-yaml`, `cds`.
    public let name: String
    /// YAML, of which JSON is a part.
    let text: String?
    /// Bytes of a text at most.
    static let sizeLimit = 256 << 20
    static let limits = YAMLLimits(size: sizeLimit, nodes: 50_000_000, depth: 128)

    public init(name: String, text: String? = nil) {
        self.name = name
        self.text = text
    }

    /// The text as a value: JSON when it begins as JSON does and is, YAML otherwise. A text without any value is an empty
    /// object.
    public func value() throws(ConfigError) -> JSONValue {
        let text = text ?? ""
        guard text.utf8.count <= Self.sizeLimit else {
            throw ConfigError(ConfigPath(), "longer than \(Self.sizeLimit) bytes", source: name)
        }
        if text.utf8.first(where: { ![9, 10, 13, 32].contains($0) }) == UInt8(ascii: "{") {
            var duplicates: [String] = []
            let limits = JSONLimits(depth: Self.limits.depth, size: Self.sizeLimit)
            // What begins so and is no JSON may still be YAML in flow style, whose reader then has the better words.
            if let json = try? JSONValue.parse(text, limits: limits, onDuplicateKey: { duplicates.append($0) }) {
                if let path = duplicates.first {
                    throw ConfigError(ConfigPath(), "\(path) is there twice", source: name)
                }
                return json
            }
        }
        let documents: [JSONValue]
        do throws(YAMLError) {
            documents = try YAML.parseAll(text, limits: Self.limits)
        } catch { throw ConfigError(ConfigPath(), error.reason, source: name, line: error.line) }
        guard documents.count <= 1 else {
            throw ConfigError(ConfigPath(), "expected one document, found \(documents.count)", source: name)
        }
        return documents.first ?? [:]
    }

    /// The error with its place in this text.
    func locating(_ error: ConfigError) -> ConfigError {
        guard error.source.isEmpty else { return error }
        var error = error
        error.source = name
        var steps = error.path.steps
        if let member = error.member { steps.append(.field(member)) }
        error.line = error.line ?? line(of: steps)
        return error
    }

    /// The line of a value, or of the nearest one around it that is in the text.
    private func line(of steps: [ConfigPath.Step]) -> Int? {
        guard let text, !steps.isEmpty, var (value, lines) = try? YAML.parseLocated(text, limits: Self.limits) else {
            return nil
        }
        var found: Int?
        for step in steps {
            guard let index = Self.index(of: step, in: value) else {
                // Below a TypedStruct the message's fields are one level further down.
                guard let inner = Self.index(of: .key("value"), in: value), case .object(let object) = value,
                    let index = Self.index(of: step, in: object[inner].value)
                else { break }
                (value, lines) = Self.child(index, of: object[inner].value, lines.children[inner])
                found = lines.line
                continue
            }
            (value, lines) = Self.child(index, of: value, lines)
            found = lines.line
        }
        return found
    }

    private static func index(of step: ConfigPath.Step, in value: JSONValue) -> Int? {
        switch (step, value) {
        case (.element(let index), .array(let elements)): elements.indices.contains(index) ? index : nil
        case (.key(let key), .object(let object)): object.firstIndex { $0.key == key }
        case (.field(let name), .object(let object)):
            object.firstIndex { $0.key == name } ?? object.firstIndex { $0.key == FieldType.lowerCamel(name) }
        default: nil
        }
    }

    private static func child(_ index: Int, of value: JSONValue, _ lines: YAMLLines) -> (JSONValue, YAMLLines) {
        switch value {
        case .array(let elements): (elements[index], lines.children[index])
        case .object(let object): (object[index].value, lines.children[index])
        default: (value, lines)
        }
    }
}
