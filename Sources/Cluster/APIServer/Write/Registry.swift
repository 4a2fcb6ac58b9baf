import Bytes
import ClusterAPI
import JSON
import Store
import TLS

/// Objects with the API's rules around them: what every way in — HTTP, controllers in process, bootstrap — goes through
/// once it is known who asks and that they may.
final class Registry: Sendable {
    let schema: Schema
    let storage: ObjectStorage
    let admission: AdmissionChain
    let services: ServiceAllocator
    /// How often a write that met another one is tried again, when the client named no resourceVersion.
    static let conflictRetries = 16
    /// How often a generated name that is taken is drawn anew.
    static let nameRetries = 8

    init(schema: Schema, storage: ObjectStorage, admission: AdmissionChain, services: ServiceAllocator) {
        self.schema = schema
        self.storage = storage
        self.admission = admission
        self.services = services
    }

    func strategy(_ resource: ResourceDescription) -> any ResourceStrategy { Strategies.of(resource.gvk) }

    // MARK: Decoding

    /// A body as an object of the resource's kind: type checked, unknown fields dropped and as asked complained about.
    func decode(
        _ body: DecodedBody, as resource: ResourceDescription, kind: GroupVersionKind? = nil,
        _ validation: WriteOptions.FieldValidation, warnings: inout [String]
    ) throws(StatusError) -> JSONValue {
        var object = body.json
        guard object.object != nil else { throw .badRequest("the body of the request is not an object") }
        let expected = kind ?? resource.gvk
        let apiVersion = object["apiVersion"]?.string ?? ""
        let name = object["kind"]?.string ?? ""
        if !apiVersion.isEmpty, apiVersion != expected.apiVersion {
            throw .badRequest(
                "the API version in the data (\(apiVersion)) does not match the expected API version (\(expected.apiVersion))"
            )
        }
        if !name.isEmpty, name != expected.kind {
            throw .badRequest("the kind in the data (\(name)) does not match the expected kind (\(expected.kind))")
        }
        object["apiVersion"] = .string(expected.apiVersion)
        object["kind"] = .string(expected.kind)
        var problems = body.duplicates.map { "duplicate field \"\($0)\"" }
        do {
            let conformed = try Conformance(schema: schema).conform(object, to: expected)
            object = conformed.object
            problems += conformed.unknown
        } catch {
            throw .badRequest(
                "\(expected.kind) in version \"\(expected.version)\" cannot be handled as a \(expected.kind): \(error)")
        }
        if !problems.isEmpty {
            switch validation {
            case .strict:
                throw .badRequest(
                    "\(expected.kind) in version \"\(expected.version)\" cannot be handled as a \(expected.kind): strict decoding error: "
                        + problems.joined(separator: ", "))
            case .warn: warnings += problems
            case .ignore: break
            }
        }
        return object
    }

    /// An object as the store keeps it.
    func encoded(_ object: JSONValue, _ resource: ResourceDescription) -> StoredObject {
        StoredObject(encoding: StorageConversion.toStorage(object, from: resource))
    }

    /// A stored object as the resource shows it.
    func value(of object: StoredObject, _ resource: ResourceDescription) throws(StatusError) -> JSONValue {
        StorageConversion.fromStorage(try object.json(), to: resource)
    }

    /// Required fields that are absent, where the kind's own rules do not say so already.
    func missingFields(_ object: JSONValue, _ resource: ResourceDescription, besides known: [FieldError])
        -> [FieldError]
    {
        let reported = Set(known.map(\.path.description))
        return Conformance(schema: schema).missingRequiredFields(in: object, of: resource.gvk)
            .filter { !reported.contains($0) }.map { .required(FieldPath($0)) }
    }

    // MARK: Metadata

    /// Fills in and checks where an object belongs: its namespace and name must be those of the path.
    func place(_ object: inout JSONValue, at call: APICall, nameRequired: Bool) throws(StatusError) {
        var metadata = object["metadata"]?.object ?? JSONObject()
        if call.resource.namespaced {
            let given = metadata["namespace"]?.string ?? ""
            if !given.isEmpty, given != call.namespace {
                throw .badRequest(
                    "the namespace of the provided object does not match the namespace sent on the request")
            }
            metadata["namespace"] = .string(call.namespace)
        } else {
            metadata["namespace"] = nil
        }
        if nameRequired {
            let given = metadata["name"]?.string ?? ""
            if given.isEmpty {
                metadata["name"] = .string(call.name)
            } else if given != call.name {
                throw .badRequest(
                    "the name of the object (\(given)) does not match the name on the URL (\(call.name))")
            }
        }
        object["metadata"] = .object(metadata)
    }

    /// The present time as objects carry it.
    static func timestamp() -> JSONValue { .string(Timestamp.now().rfc3339) }
}

/// Draws the tail of a generated name: letters and digits that spell no words.
enum GeneratedName {
    private static let alphabet = Array("bcdfghjklmnpqrstvwxz2456789".utf8)
    /// Longest prefix kept, so that the name stays a label.
    private static let prefixLimit = 58

    static func from(_ prefix: String) -> String {
        String(prefix.utf8.prefix(prefixLimit)).map { $0 + suffix(5) } ?? suffix(5)
    }

    static func suffix(_ length: Int) -> String {
        var generator = SystemRandomNumberGenerator()
        let letters = (0..<length).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &generator)] }
        return String(decoding: letters, as: UTF8.self)
    }
}
