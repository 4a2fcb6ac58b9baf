import JSON
import Synchronization

/// The OpenAPI documents: v3 one a group and version, v2 one for everything, as JSON and as protobuf.
///
/// A document is put together from pieces encoded one by one when it is asked for. Clients cache v3 by hash, but `kubectl` before
/// 1.27 reads the whole of v2 with each `apply`, so the last few that were asked for are kept. Any thread may call.
public final class OpenAPIDocuments: Sendable {
    /// What clients ask for when they want v2 as protobuf. The `@` makes it no media type by RFC 6838, and Go's parser
    /// refuses it in an answer; so the answer names itself `protobufType`, as upstream's does.
    public static let requestedProtobufType = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    /// The media type of the protobuf form of v2.
    public static let protobufType = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

    private let schema: Schema
    private let groups: [ServedGroup]
    private let version: String
    private let hashes = Mutex<[String: String]>([:])
    private let kept = Mutex(KeptDocuments())

    /// - Parameters:
    ///   - resources: everything that is served.
    ///   - version: what the documents give as the server's, for example `v1.36.0`.
    public init(_ resources: [ResourceDescription], schema: Schema, version: String) {
        self.schema = schema
        self.version = version
        groups = ServedGroup.all(of: resources)
    }

    /// `/openapi/v3`: where the documents are, with the hash of each.
    public func root() -> EncodedDocument {
        var paths = JSONObject()
        for group in groups {
            for version in group.versions {
                let key = String(version.path(in: group.name).dropFirst())
                guard let hash = hash(key) else { continue }
                paths[key] = ["serverRelativeURL": .string("/openapi/v3/\(key)?hash=\(hash)")]
            }
        }
        return EncodedDocument(
            bytes: JSONValue.object(["paths": .object(paths)]).encoded(), contentType: "application/json")
    }

    /// The hash in the address of the document at `key`, for example `apis/apps/v1`; nil when there is none.
    public func hash(_ key: String) -> String? {
        if let known = hashes.withLock({ $0[key] }) { return known }
        // Not kept: the root asks for the hashes of all at once.
        guard let (group, served) = find(key) else { return nil }
        let hash = contentHash(v3(group, served).bytes)
        hashes.withLock { $0[key] = hash }
        return hash
    }

    /// `/openapi/v3/KEY` with key `api/v1` or `apis/GROUP/VERSION`; nil when nothing of that name is served.
    public func v3(_ key: String) -> EncodedDocument? {
        guard let (group, served) = find(key) else { return nil }
        return keeping("v3/" + key) { v3(group, served) }
    }

    private func v3(_ group: ServedGroup, _ served: ServedVersion) -> EncodedDocument {
        var types = TypeClosure(schema)
        var paths = JSONPieces()
        for resource in served.resources {
            types.add(resource)
            let described = OpenAPIPaths(dialect: .v3, resource: resource, schema: schema)
            for (path, item) in described.items() { paths.add(path, item) }
        }
        // Kinds without a path of their own (Eviction, DeleteOptions) belong to their group's document too.
        for type in schema.types
        where type.kinds.contains(where: { $0.group == group.name && $0.version == served.name }) {
            types.add(type.name)
        }
        let dialect = OpenAPISchema(dialect: .v3)
        var schemas = JSONPieces()
        for type in types.sorted { schemas.add(OpenAPISchema.name(of: type.name), dialect.definition(type)) }
        var body = JSONPieces()
        body.add("openapi", "3.0.0")
        body.add("info", ["title": "Kubernetes", "version": .string(version)])
        body.add("paths", encoded: paths.object())
        var components = JSONPieces()
        components.add("schemas", encoded: schemas.object())
        components.add(
            "securitySchemes",
            ["BearerToken": ["type": "apiKey", "name": "authorization", "in": "header"]])
        body.add("components", encoded: components.object())
        return EncodedDocument(bytes: body.object(), contentType: "application/json")
    }

    private func keeping(_ name: String, _ make: () -> EncodedDocument) -> EncodedDocument {
        if let document = kept.withLock({ $0.find(name) }) { return document }
        let document = make()
        kept.withLock { $0.keep(document, as: name) }
        return document
    }

    /// `/openapi/v2` as JSON.
    public func v2() -> EncodedDocument { keeping("v2", makeV2) }

    private func makeV2() -> EncodedDocument {
        var paths = JSONPieces()
        forEachPath { paths.add($0, $1) }
        var definitions = JSONPieces()
        forEachDefinition { definitions.add($0, $1) }
        var body = JSONPieces()
        body.add("swagger", "2.0")
        body.add("info", ["title": "Kubernetes", "version": .string(version)])
        body.add("paths", encoded: paths.object())
        body.add("definitions", encoded: definitions.object())
        return EncodedDocument(bytes: body.object(), contentType: "application/json")
    }

    /// `/openapi/v2` as protobuf.
    public func v2Protobuf() -> EncodedDocument { keeping("v2 protobuf", makeV2Protobuf) }

    private func makeV2Protobuf() -> EncodedDocument {
        var encoder = GnosticEncoder()
        encoder.write(
            ["swagger": "2.0", "info": ["title": "Kubernetes", "version": .string(version)]], as: .document)
        encoder.nested(8) { paths in
            forEachPath { paths.named($0, $1, as: .message(.pathItem), 2) }
        }
        encoder.nested(9) { definitions in
            forEachDefinition { definitions.named($0, $1, as: .message(.schema), 1) }
        }
        return EncodedDocument(bytes: encoder.bytes, contentType: Self.protobufType)
    }

    private func forEachPath(_ body: (String, JSONValue) -> Void) {
        for group in groups {
            for version in group.versions {
                for resource in version.resources {
                    let described = OpenAPIPaths(dialect: .v2, resource: resource, schema: schema)
                    for (path, item) in described.items() { body(path, item) }
                }
            }
        }
    }

    private func forEachDefinition(_ body: (String, JSONValue) -> Void) {
        let dialect = OpenAPISchema(dialect: .v2)
        for type in schema.types { body(OpenAPISchema.name(of: type.name), dialect.definition(type)) }
    }

    private func find(_ key: String) -> (ServedGroup, ServedVersion)? {
        for group in groups {
            for version in group.versions where version.path(in: group.name).dropFirst() == key {
                return (group, version)
            }
        }
        return nil
    }
}

/// Documents that were asked for of late, the last one first.
private struct KeptDocuments {
    /// Bytes of all together; what was not asked for the longest goes. Enough for v2 in one form and the groups in daily use.
    private static let limit = 2 << 20
    private var documents: [(name: String, document: EncodedDocument)] = []

    mutating func find(_ name: String) -> EncodedDocument? {
        guard let place = documents.firstIndex(where: { $0.name == name }) else { return nil }
        let found = documents.remove(at: place)
        documents.insert(found, at: 0)
        return found.document
    }

    mutating func keep(_ document: EncodedDocument, as name: String) {
        documents.removeAll { $0.name == name }
        documents.insert((name, document), at: 0)
        while documents.reduce(0, { $0 + $1.document.bytes.count }) > Self.limit { documents.removeLast() }
    }
}

/// A JSON object put together from entries that are encoded one by one.
private struct JSONPieces {
    private var bytes: [UInt8] = [UInt8(ascii: "{")]

    mutating func add(_ key: String, _ value: JSONValue) { add(key, encoded: value.encoded()) }

    mutating func add(_ key: String, encoded value: [UInt8]) {
        if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
        bytes += JSONValue.string(key).encoded()
        bytes.append(UInt8(ascii: ":"))
        bytes += value
    }

    func object() -> [UInt8] { bytes + [UInt8(ascii: "}")] }
}

/// The types that a document speaks of: those named, and all that they are made of.
private struct TypeClosure {
    private let schema: Schema
    private var types: [String: TypeDescription] = [:]

    init(_ schema: Schema) { self.schema = schema }

    var sorted: [TypeDescription] { types.values.sorted { $0.name < $1.name } }

    mutating func add(_ resource: ResourceDescription) {
        add(resource.typeName)
        add(resource.typeName + "List")
        for common in ["Status", "DeleteOptions", "Patch", "WatchEvent"] { add("apis.meta.v1.\(common)") }
        for sub in resource.served { if let type = resource.type(of: sub) { add(type) } }
    }

    mutating func add(_ name: String) {
        guard types[name] == nil, let type = schema.type(name) else { return }
        types[name] = type
        for field in type.fields { add(field.type) }
    }

    private mutating func add(_ type: FieldType) {
        switch type {
        case .scalar: break
        case .reference(let name): add(name)
        case .list(let element), .map(let element): add(element)
        }
    }
}

extension ResourceDescription {
    /// The type of the bodies of a subresource, or of the resource itself; nil where bodies are no objects.
    func type(of sub: ServedSubresource?) -> String? {
        guard let sub else { return typeName }
        switch sub.name {
        case "scale": return "autoscaling.v1.Scale"
        case "binding": return "core.v1.Binding"
        case "eviction": return "policy.v1.Eviction"
        case "token": return "authentication.v1.TokenRequest"
        case "attach", "exec", "portforward", "proxy", "log": return nil
        default: return typeName
        }
    }
}
