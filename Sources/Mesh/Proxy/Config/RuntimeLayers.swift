import JSON
import XDS

/// Values that may be changed while the proxy works (`layered_runtime`): layers, each over those before it.
struct RuntimeLayers: Sendable {
    private struct Layer: Sendable {
        var name: String
        var isAdmin = false
        var values: [String: JSONValue] = [:]
    }
    private var layers: [Layer] = []

    init() {}

    /// An `envoy.config.bootstrap.v3.LayeredRuntime`.
    init(_ node: ConfigNode) throws(ConfigError) {
        for layer in node.messages("layers") {
            var found = Layer(name: layer.string("name"))
            switch layer.choice("layer_specifier") {
            case "static_layer": Self.flatten(.object(layer.structure("static_layer") ?? [:]), "", into: &found.values)
            case "admin_layer":
                _ = layer.message("admin_layer")
                guard !layers.contains(where: \.isAdmin) else {
                    throw node.error("Too many admin layers specified in LayeredRuntime, at most one may be specified")
                }
                found.isAdmin = true
            case let other: throw layer.error("runtime layers of type \(other ?? "") are not supported")
            }
            guard !layers.contains(where: { $0.name == found.name }) else {
                throw node.error("Duplicate layer name: \(found.name)")
            }
            layers.append(found)
        }
    }

    /// Objects within objects are names with dots; a fraction is a value.
    private static func flatten(_ value: JSONValue, _ name: String, into values: inout [String: JSONValue]) {
        guard case .object(let object) = value, object["numerator"] == nil, object["denominator"] == nil else {
            values[name] = value
            return
        }
        for key in object.keys {
            guard let member = object[key] else { continue }
            flatten(member, name.isEmpty ? key : "\(name).\(key)", into: &values)
        }
    }

    private func final(_ key: String) -> JSONValue? { layers.last { $0.values[key] != nil }?.values[key] }

    /// A value that is a whole number, or reads so.
    func integer(_ key: String) -> Int? { final(key).flatMap(Self.integer) }

    private static func integer(_ value: JSONValue) -> Int? {
        switch value {
        case .string(let text): Int(text)
        case .bool(let flag): flag ? 1 : 0
        default: value.int.map { Int($0) } ?? value.double.flatMap { Int(exactly: $0) }
        }
    }

    private var keys: Set<String> { layers.reduce(into: []) { $0.formUnion($1.values.keys) } }

    /// Tells it to all who read a key.
    func publish() {
        var values: [String: Int64] = [:]
        for key in keys {
            guard let value = final(key) else { continue }
            if let number = Self.integer(value) {
                values[key] = Int64(number)
            } else if let numerator = value["numerator"].flatMap(Self.integer) {
                let whole = ["HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000]
                values[key] = Int64(numerator * 100 / (whole[value["denominator"]?.string ?? ""] ?? 100))
            }
        }
        RuntimeKey.set(values)
    }

    /// `/runtime_modify`: sets keys of the admin layer; an empty value takes one back. False when there is no such layer.
    mutating func modify(_ changes: [(name: String, value: String)]) -> Bool {
        guard let index = layers.firstIndex(where: \.isAdmin) else { return false }
        for (name, value) in changes { layers[index].values[name] = value.isEmpty ? nil : .string(value) }
        publish()
        return true
    }

    /// `/runtime`.
    var page: JSONValue {
        var entries = JSONObject()
        for key in keys.sorted() {
            let values = layers.map { $0.values[key].map(Self.text) ?? "" }
            entries[key] = [
                "layer_values": .array(values.map { .string($0) }),
                "final_value": .string(final(key).map(Self.text) ?? ""),
            ]
        }
        return ["layers": .array(layers.map { .string($0.name) }), "entries": .object(entries)]
    }

    private static func text(_ value: JSONValue) -> String { value.string ?? value.encodedString() }

    /// How many there are of what, for statistics.
    var counts: (layers: Int, keys: Int) { (layers.count, keys.count) }
}
