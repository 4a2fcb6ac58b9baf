import JSON
import XDS

/// What a value of metadata must be (`envoy.type.matcher.v3.ValueMatcher`).
indirect enum ValueMatcher: Sendable {
    case null
    case number(Double)
    /// In [first, last).
    case range(Double, Double)
    case text(StringMatcher)
    case bool(Bool)
    case present(Bool)
    /// Some element of a list.
    case oneOf(ValueMatcher)
    case any([ValueMatcher])

    /// - Parameter value: nil for what is not there.
    func matches(_ value: JSONValue?) -> Bool {
        if case .present(let wanted) = self { return (value != nil) == wanted }
        guard let value else { return false }
        switch self {
        case .null: return value.isNull
        case .number(let wanted): return value.double == wanted
        case .range(let first, let last): return value.double.map { first <= $0 && $0 < last } ?? false
        case .text(let matcher): return value.string.map { matcher.matches($0) } ?? false
        case .bool(let wanted): return value.bool == wanted
        case .present: return true
        case .oneOf(let matcher): return value.array?.contains { matcher.matches($0) } ?? false
        case .any(let matchers): return matchers.contains { $0.matches(value) }
        }
    }
}

extension ValueMatcher {
    init(_ node: ConfigNode) throws(ConfigError) {
        func required<T>(
            _ name: String, _ build: (ConfigNode) throws(ConfigError) -> T
        ) throws(ConfigError) -> T {
            guard let value = try node.message(name, build) else { throw node.error(name, "is missing") }
            return value
        }
        switch node.choice("match_pattern") {
        case "null_match":
            _ = node.message("null_match")
            self = .null
        case "double_match":
            self = try required("double_match") { (double) throws(ConfigError) in
                if double.choice("match_pattern") == "exact" { return .number(double.double("exact")) }
                guard let range = double.message("range") else { throw double.error("range", "is missing") }
                return .range(range.double("start"), range.double("end"))
            }
        case "string_match": self = .text(try required("string_match", StringMatcher.init))
        case "bool_match": self = .bool(node.bool("bool_match"))
        case "present_match": self = .present(node.bool("present_match"))
        case "list_match":
            self = try required("list_match") { (list) throws(ConfigError) in
                guard let one = try list.message("one_of", ValueMatcher.init) else {
                    throw list.error("one_of", "is missing")
                }
                return .oneOf(one)
            }
        case "or_match":
            self = try required("or_match") { (list) throws(ConfigError) in
                .any(try list.messages("value_matchers", ValueMatcher.init))
            }
        case let other: throw node.error("value match \(other ?? "") is not supported")
        }
    }
}

/// What dynamic metadata must be (`envoy.type.matcher.v3.MetadataMatcher`).
struct MetadataMatcher: Sendable {
    let filter: String
    let path: [String]
    let value: ValueMatcher
    let inverts: Bool

    func matches(_ metadata: StreamMetadata?) -> Bool { matches(metadata?.values[filter]) }

    /// - Parameter structure: what stands under the filter's name.
    func matches(_ structure: JSONObject?) -> Bool {
        value.matches(structure.flatMap { $0.value(at: path) }) != inverts
    }
}

extension MetadataMatcher {
    init(_ node: ConfigNode) throws(ConfigError) {
        filter = node.string("filter")
        path = node.messages("path").map { $0.string("key") }
        guard let value = try node.message("value", ValueMatcher.init) else { throw node.error("value", "is missing") }
        self.value = value
        inverts = node.bool("invert")
    }
}

extension JSONObject {
    /// What stands under a path of keys.
    func value(at path: some Collection<String>) -> JSONValue? {
        guard let first = path.first, let value = self[first] else { return nil }
        let rest = path.dropFirst()
        return rest.isEmpty ? value : value.object?.value(at: rest)
    }
}
