import JSON

/// The two versions of OpenAPI that clients read; they say the same in different words.
enum OpenAPIDialect {
    case v2, v3

    func reference(_ type: String) -> String {
        switch self {
        case .v2: "#/definitions/\(OpenAPISchema.name(of: type))"
        case .v3: "#/components/schemas/\(OpenAPISchema.name(of: type))"
        }
    }
}

/// A type of the schema as OpenAPI describes it.
struct OpenAPISchema {
    var dialect: OpenAPIDialect

    /// The name under which clients know a type: `core.v1.Pod` is `io.k8s.api.core.v1.Pod`.
    static func name(of type: String) -> String {
        for (prefix, home) in homes where type.hasPrefix(prefix) { return home + type }
        return "io.k8s.api." + type
    }

    private static let homes = [
        ("apis.", "io.k8s.apimachinery.pkg."), ("api.resource.", "io.k8s.apimachinery.pkg."),
        ("runtime.", "io.k8s.apimachinery.pkg."), ("util.", "io.k8s.apimachinery.pkg."),
        ("version.", "io.k8s.apimachinery.pkg."), ("apiregistration.", "io.k8s.kube-aggregator.pkg.apis."),
        ("apiextensions.", "io.k8s.apiextensions-apiserver.pkg.apis."),
    ]

    /// The whole definition of a type.
    func definition(_ type: TypeDescription) -> JSONValue {
        if let scalar = type.scalar { return .object(self.scalar(scalar)) }
        var body: JSONObject = ["type": "object"]
        var properties = JSONObject()
        for field in type.fields { properties[field.name] = property(field) }
        if !properties.isEmpty { body["properties"] = .object(properties) }
        let required = type.fields.filter(\.required).map(\.name).sorted()
        if !required.isEmpty { body["required"] = .array(required.map { .string($0) }) }
        if !type.kinds.isEmpty { body["x-kubernetes-group-version-kind"] = .array(type.kinds.map(\.json)) }
        return .object(body)
    }

    /// A reference to a type.
    func reference(_ type: String) -> JSONObject { ["$ref": .string(dialect.reference(type))] }

    private func property(_ field: FieldDescription) -> JSONValue {
        var body = self.body(of: field.type)
        let extensions = field.extensions
        guard !extensions.isEmpty else { return .object(body) }
        // OpenAPI v3 ignores whatever stands beside a reference.
        if dialect == .v3, body["$ref"] != nil { body = ["allOf": .array([.object(body)])] }
        for (key, value) in extensions { body[key] = value }
        return .object(body)
    }

    private func body(of type: FieldType) -> JSONObject {
        switch type {
        case .scalar(let name): scalar(name)
        case .reference(let name): reference(name)
        case .list(let element): ["type": "array", "items": .object(body(of: element))]
        case .map(let value): ["type": "object", "additionalProperties": .object(body(of: value))]
        }
    }

    private func scalar(_ name: String) -> JSONObject {
        let parts = name.split(separator: "/").map(String.init)
        switch parts.first {
        case "any": return [:]
        case "string" where parts.last == "int-or-string" && dialect == .v3:
            return ["format": "int-or-string", "oneOf": [["type": "integer"], ["type": "string"]]]
        case let type?:
            return parts.count == 2 ? ["type": .string(type), "format": .string(parts[1])] : ["type": .string(type)]
        case nil: return [:]
        }
    }
}

extension FieldDescription {
    /// How the field merges and how its list is ordered, for clients that compute patches and for apply.
    fileprivate var extensions: [(String, JSONValue)] {
        var result: [(String, JSONValue)] = []
        if let listKind { result.append(("x-kubernetes-list-type", .string(listKind.rawValue))) }
        if !listMapKeys.isEmpty {
            result.append(("x-kubernetes-list-map-keys", .array(listMapKeys.map { .string($0) })))
        }
        if isAtomicMap { result.append(("x-kubernetes-map-type", "atomic")) }
        var strategies: [String] = []
        if patchStrategy.contains(.merge) { strategies.append("merge") }
        if patchStrategy.contains(.retainKeys) { strategies.append("retainKeys") }
        if patchStrategy.contains(.replace) { strategies.append("replace") }
        if !strategies.isEmpty {
            result.append(("x-kubernetes-patch-strategy", .string(strategies.joined(separator: ","))))
        }
        if let patchMergeKey { result.append(("x-kubernetes-patch-merge-key", .string(patchMergeKey))) }
        return result
    }
}
