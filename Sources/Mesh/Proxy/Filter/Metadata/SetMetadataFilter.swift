import JSON
import XDS

/// Says something about every request, in dynamic metadata (`envoy.filters.http.set_metadata`).
package final class SetMetadataFilter: Sendable {
    private struct Entry: Sendable {
        var namespace: String
        var value: JSONObject
        var overwrites: Bool
    }

    private let entries: [Entry]

    init(_ node: ConfigNode) throws(ConfigError) {
        var entries: [Entry] = []
        // The fields of before there was a list.
        let namespace = node.string("metadata_namespace")
        if let value = node.structure("value"), !namespace.isEmpty {
            entries.append(Entry(namespace: namespace, value: value, overwrites: true))
        }
        for entry in node.messages("metadata") {
            if entry.has("typed_value") { throw entry.unsupported("typed_value") }
            entries.append(
                Entry(
                    namespace: entry.string("metadata_namespace"), value: entry.structure("value") ?? JSONObject(),
                    overwrites: entry.bool("allow_overwrite")))
        }
        self.entries = entries
    }

    func requestHead(_ stream: HTTPStream) -> FilterStep {
        let metadata = stream.ownMetadata
        for entry in entries {
            guard let present = metadata.values[entry.namespace] else {
                metadata.values[entry.namespace] = entry.value
                continue
            }
            if entry.overwrites { metadata.values[entry.namespace] = present.merged(with: entry.value) }
        }
        return .proceed
    }
}

extension JSONObject {
    /// Values of the other come over those of this: objects field by field, lists one behind the other.
    func merged(with other: JSONObject) -> JSONObject {
        var result = self
        for (key, value) in other {
            switch (result[key], value) {
            case (.object(let own)?, .object(let new)): result[key] = .object(own.merged(with: new))
            case (.array(let own)?, .array(let new)): result[key] = .array(own + new)
            default: result[key] = value
            }
        }
        return result
    }
}
