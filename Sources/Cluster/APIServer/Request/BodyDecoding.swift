import ClusterAPI
import JSON
import Synchronization
import YAML

extension DecodedBody {
    static let accepted = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]

    /// Fields written twice that are reported; a body made of nothing else is cut short.
    private static let duplicateLimit = 64

    /// Reads a body by its media type.
    /// - Parameter kind: what a protobuf body is when its envelope names nothing.
    /// - Throws: `badRequest` with what is wrong and where, `unsupportedMediaType`.
    init(_ bytes: [UInt8], contentType: String?, kind: GroupVersionKind?, schema: Schema) throws(StatusError) {
        switch mediaType(contentType) {
        case "", "application/json", "*/*": try self.init(json: bytes)
        case "application/yaml": try self.init(yaml: bytes)
        case "application/vnd.kubernetes.protobuf":
            self.init(json: try ProtobufBodies.decode(bytes, as: kind, schema))
        default: throw .unsupportedMediaType(accepted: Self.accepted)
        }
    }

    /// A patch: its media type is its format, and its text JSON, but for apply, which is YAML.
    init(patch bytes: [UInt8], _ type: PatchType) throws(StatusError) {
        if type == .apply { try self.init(yaml: bytes) } else { try self.init(json: bytes) }
    }

    private init(json bytes: [UInt8]) throws(StatusError) {
        var duplicates: [String] = []
        do {
            json = try JSONValue.parse(bytes) { path in
                if duplicates.count < Self.duplicateLimit { duplicates.append(path) }
            }
        } catch {
            throw .badRequest("the object provided is unrecognized (must be of type JSON): \(error)")
        }
        self.duplicates = duplicates
    }

    private init(yaml bytes: [UInt8]) throws(StatusError) {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .badRequest("the body is not UTF-8 text")
        }
        do throws(YAMLError) {
            json = try YAML.parse(text)
        } catch {
            throw .badRequest("the object provided is unrecognized (must be of type YAML): \(error)")
        }
    }
}

/// The type of a Content-Type header without its parameters, in lower case.
func mediaType(_ header: String?) -> String {
    guard let header else { return "" }
    return header.prefix { $0 != ";" && $0 != " " }.lowercased()
}
