import Glibc
import HTTP
import JSON
import TLS
import XDS

/// A tag that configuration adds to spans (`envoy.type.tracing.v3.CustomTag`).
struct CustomTag: Sendable {
    enum Source: Sendable {
        /// Also the environment's, which is read once.
        case literal([UInt8])
        case header(HeaderKey, absent: [UInt8])
        case metadata(MetadataOwner, filter: String, path: [String], absent: [UInt8])
        case template(Template)
    }

    enum MetadataOwner: Sendable { case request, route, cluster, host }

    /// Of the value, where it reads as one.
    enum ValueType: String, ConfigEnum {
        case unspecified = "UNSPECIFIED"
        case string = "STRING"
        case int = "INT"
        case double = "DOUBLE"
        case bool = "BOOL"
    }

    let name: [UInt8]
    let type: ValueType
    let source: Source

    /// Appends the value for a stream; false when there is none.
    func render(_ stream: HTTPStream, into output: inout GrowingBytes) -> Bool {
        switch source {
        case .literal(let text): text.withUnsafeBytes { output.append($0) }
        case .header(let key, let absent):
            if let value = stream.request.value(key) {
                output.append(value)
            } else {
                guard !absent.isEmpty else { return false }
                absent.withUnsafeBytes { output.append($0) }
            }
        case .metadata(let owner, let filter, let path, let absent):
            if let text = owner.text(stream, filter, path) {
                output.append(utf8: text)
            } else {
                guard !absent.isEmpty else { return false }
                absent.withUnsafeBytes { output.append($0) }
            }
        case .template(let template):
            template.render(stream, into: &output)
            return !output.isEmpty
        }
        return true
    }
}

extension CustomTag.MetadataOwner {
    func text(_ stream: HTTPStream, _ filter: String, _ path: [String]) -> String? {
        let object: JSONObject?
        switch self {
        case .request: return stream.metadata?.text(filter, path)
        case .route: object = stream.route?.metadata[filter]
        case .cluster: object = stream.cluster?.settings.options.metadata[filter]
        case .host: object = stream.attempt?.pool?.host.metadata?.of(filter)
        }
        guard let object else { return nil }
        let metadata = StreamMetadata()
        metadata.values[filter] = object
        return metadata.text(filter, path)
    }
}

extension CustomTag {
    /// nil for one that never has a value.
    init?(_ node: ConfigNode) throws(ConfigError) {
        name = Array(node.string("tag").utf8)
        type = try node.enumeration("value_type", as: ValueType.self)
        switch node.choice("type") {
        case "literal": source = .literal(Array((node.message("literal")?.string("value") ?? "").utf8))
        case "environment":
            guard let variable = node.message("environment") else { return nil }
            let absent = variable.string("default_value")
            let value = getenv(variable.string("name")).map { String(cString: $0) } ?? absent
            guard !value.isEmpty else { return nil }
            source = .literal(Array(value.utf8))
        case "request_header":
            guard let header = node.message("request_header") else { return nil }
            source = .header(HeaderKey(header.string("name")), absent: Array(header.string("default_value").utf8))
        case "metadata":
            guard let metadata = node.message("metadata") else { return nil }
            let owner: MetadataOwner =
                switch metadata.message("kind").flatMap({ kind in
                    kind.choice("kind").map { name in
                        _ = kind.message(name)
                        return name
                    }
                }) {
                case "route": .route
                case "host": .host
                case "cluster": .cluster
                default: .request
                }
            guard let key = metadata.message("metadata_key") else { throw metadata.error("metadata_key", "is missing") }
            source = .metadata(
                owner, filter: key.string("key"), path: key.messages("path").map { $0.string("key") },
                absent: Array(metadata.string("default_value").utf8))
        case "value":
            do throws(OperatorParser.Invalid) {
                source = .template(try Template(node.string("value"), absent: ""))
            } catch {
                throw node.error("value", error.description)
            }
        case let other: throw node.error("tags of type \(other ?? "") are not supported")
        }
    }
}
