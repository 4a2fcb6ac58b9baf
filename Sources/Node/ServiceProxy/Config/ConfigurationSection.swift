import ClusterAPI
import JSON

/// A configuration that cannot be used: what, in which field of which file, and what it should be.
public struct ConfigurationError: Error, CustomStringConvertible, Sendable {
    public var description: String

    init(_ file: String, _ field: String, _ why: String) { description = "\(file): \(field) \(why)" }
}

/// One object of a configuration document. Fields are taken out by name and type; what is left at the end is nobody's,
/// most likely a typing mistake, and refused.
///
/// `null` is the same as absent, because that is how Kubernetes writes what is not set.
struct ConfigurationSection {
    let file: String
    /// Of the object, with a dot at its end; empty for the document itself.
    private let path: String
    private var members: JSONObject

    init(_ document: JSONObject, file: String) { self.init(document, file: file, path: "") }

    private init(_ members: JSONObject, file: String, path: String) {
        (self.members, self.file, self.path) = (members, file, path)
    }

    func invalid(_ field: String, _ why: String) -> ConfigurationError { ConfigurationError(file, path + field, why) }

    /// The value as it stands there.
    mutating func take(_ field: String) -> JSONValue? {
        guard let value = members.removeValue(forKey: field), !value.isNull else { return nil }
        return value
    }

    mutating func text(_ field: String) throws(ConfigurationError) -> String? {
        guard let value = take(field) else { return nil }
        guard let text = value.string else { throw invalid(field, "must be text, not \(value.encodedString())") }
        return text
    }

    mutating func bool(_ field: String) throws(ConfigurationError) -> Bool? {
        guard let value = take(field) else { return nil }
        guard let bool = value.bool else {
            throw invalid(field, "must be true or false, not \(value.encodedString())")
        }
        return bool
    }

    mutating func int(_ field: String, in range: ClosedRange<Int64>) throws(ConfigurationError) -> Int64? {
        guard let value = take(field) else { return nil }
        guard let number = value.int, range.contains(number) else {
            throw invalid(
                field, "must be a number from \(range.lowerBound) to \(range.upperBound), not \(value.encodedString())")
        }
        return number
    }

    mutating func number(_ field: String) throws(ConfigurationError) -> Double? {
        guard let value = take(field) else { return nil }
        guard let number = value.double else { throw invalid(field, "must be a number, not \(value.encodedString())") }
        return number
    }

    /// Not negative.
    mutating func duration(_ field: String) throws(ConfigurationError) -> Duration? {
        guard let text = try text(field) else { return nil }
        guard let duration = Duration(goText: text), duration >= .zero else {
            throw invalid(field, "must be a duration like 30s or 1h30m, not \"\(text)\"")
        }
        return duration
    }

    mutating func texts(_ field: String) throws(ConfigurationError) -> [String]? {
        guard let value = take(field) else { return nil }
        let texts = value.array?.compactMap(\.string)
        guard let texts, texts.count == value.array?.count else {
            throw invalid(field, "must be a list of texts, not \(value.encodedString())")
        }
        return texts
    }

    /// An object within; an empty one where there is none.
    mutating func section(_ field: String) throws(ConfigurationError) -> ConfigurationSection {
        guard let value = take(field) else { return ConfigurationSection([:], file: file, path: path + field + ".") }
        guard let object = value.object else { throw invalid(field, "must be a mapping") }
        return ConfigurationSection(object, file: file, path: path + field + ".")
    }

    /// Fields of other proxy modes and systems: known by name, read by nobody.
    mutating func ignore(_ fields: String...) { for field in fields { _ = take(field) } }

    /// What nobody asked for.
    func finish() throws(ConfigurationError) {
        for field in members.keys where members[field]?.isNull == false {
            throw invalid(field, "is no field of KubeProxyConfiguration v1alpha1")
        }
    }
}
