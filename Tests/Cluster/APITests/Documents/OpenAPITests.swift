import Bytes
import ClusterAPI
import JSON
import Testing

/// What a document refers to and how it names its operations.
private struct Survey {
    var references = Set<String>()
    var operations: [String] = []

    init(_ value: JSONValue) { visit(value) }

    private mutating func visit(_ value: JSONValue) {
        for (key, member) in value.object ?? [:] {
            if key == "$ref", let text = member.string { references.insert(text) }
            if key == "operationId", let text = member.string { operations.append(text) }
            visit(member)
        }
        for element in value.array ?? [] { visit(element) }
    }
}

@Suite("OpenAPI documents")
struct OpenAPITests {
    static let documents = OpenAPIDocuments(Schema.shared.resources, schema: .shared, version: "v1.36.0+weft")
    static let v2 = Result { try JSONValue.parse(documents.v2().bytes) }

    @Test("the root leads to every group and version, with a hash that is the document's")
    func root() throws {
        let paths = try #require(try JSONValue.parse(Self.documents.root().bytes)["paths"]?.object)
        #expect(Set(paths.keys).isSuperset(of: ["api/v1", "apis/apps/v1", "apis/discovery.k8s.io/v1"]))
        for (key, entry) in paths {
            let hash = try #require(Self.documents.hash(key))
            #expect(entry["serverRelativeURL"]?.string == "/openapi/v3/\(key)?hash=\(hash)")
            #expect(Self.documents.v3(key)?.etag == "\"\(hash)\"")
        }
        #expect(Self.documents.v3("apis/none/v1") == nil)
    }

    @Test("every reference within a v3 document leads somewhere, and no operation is named twice")
    func closed() throws {
        let paths = try #require(try JSONValue.parse(Self.documents.root().bytes)["paths"]?.object)
        for key in paths.keys {
            let document = try JSONValue.parse(#require(Self.documents.v3(key)).bytes)
            let survey = Survey(document)
            let schemas = Set(
                (document[path: "components", "schemas"]?.object?.keys ?? []).map { "#/components/schemas/\($0)" })
            #expect(survey.references.subtracting(schemas) == [], "\(key)")
            #expect(Set(survey.operations).count == survey.operations.count, "\(key)")
        }
    }

    @Test("every reference within the v2 document leads somewhere, and no operation is named twice")
    func closedV2() throws {
        let document = try Self.v2.get()
        let survey = Survey(document)
        let names = Set((document["definitions"]?.object?.keys ?? []).map { "#/definitions/\($0)" })
        #expect(survey.references.subtracting(names) == [])
        #expect(Set(survey.operations).count == survey.operations.count)
    }

    @Test("kubectl finds what it asks for: merge keys, and that fields can be validated by the server")
    func clients() throws {
        let document = try JSONValue.parse(#require(Self.documents.v3("apis/apps/v1")).bytes)
        let containers = document[
            path: "components", "schemas", "io.k8s.api.core.v1.PodSpec", "properties", "containers"]
        #expect(containers?["x-kubernetes-patch-merge-key"] == "name")
        #expect(containers?["x-kubernetes-patch-strategy"] == "merge")
        #expect(containers?["x-kubernetes-list-type"] == "map")
        let patch = document[path: "paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "patch"]
        #expect(patch?["x-kubernetes-group-version-kind"] == ["group": "apps", "kind": "Deployment", "version": "v1"])
        #expect(patch?["x-kubernetes-action"] == "patch")
        let parameters = Set((patch?["parameters"]?.array ?? []).compactMap { $0["name"]?.string })
        #expect(parameters.isSuperset(of: ["dryRun", "fieldManager", "fieldValidation", "force"]))
        let kinds = document[
            path: "components", "schemas", "io.k8s.api.apps.v1.Deployment", "x-kubernetes-group-version-kind"]
        #expect(kinds?[0]?["kind"] == "Deployment")
    }

    @Test("the protobuf form holds the same paths and definitions as the JSON form")
    func protobuf() throws {
        let bytes = Self.documents.v2Protobuf().bytes
        let document = try #require(fields(bytes[...]))
        #expect(document.first { $0.number == 1 }.map { String(decoding: $0.bytes, as: UTF8.self) } == "2.0")
        let json = try Self.v2.get()
        for (number, entry, key) in [(8, 2, "paths"), (9, 1, "definitions")] {
            let map = try #require(document.first { $0.number == number })
            let names = try #require(fields(map.bytes)).filter { $0.number == entry }.map { item in
                String(decoding: fields(item.bytes)?.first?.bytes ?? [], as: UTF8.self)
            }
            #expect(Set(names) == Set(json[key]?.object?.keys ?? []))
        }
    }

    @Test("no protobuf is offered for kinds that have none; strategic patches are, or kubectl would read all of v2")
    func customResources() throws {
        func content(_ path: JSONValue?) -> Set<String> { Set(path?["content"]?.object?.keys ?? []) }
        let group = try JSONValue.parse(#require(Self.documents.v3("apis/gateway.networking.k8s.io/v1")).bytes)
        let route = group[
            path: "paths", "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/{name}"]
        let patches = content(route?["patch"]?["requestBody"])
        #expect(patches.contains("application/strategic-merge-patch+json"))
        let forms = content(route?["get"]?["responses"]?["200"])
        #expect(forms == ["application/json", "application/yaml"])
        let list = group[path: "paths", "/apis/gateway.networking.k8s.io/v1/httproutes", "get"]
        let lists = content(list?["responses"]?["200"])
        #expect(lists == ["application/json", "application/yaml", "application/json;stream=watch"])
        let apps = try JSONValue.parse(#require(Self.documents.v3("apis/apps/v1")).bytes)
        let deployment = apps[path: "paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
        let builtIn = content(deployment?["get"]?["responses"]?["200"])
        #expect(builtIn.contains("application/vnd.kubernetes.protobuf"))
    }

    @Test("a document that is asked for again is not made again")
    func kept() throws {
        func place(_ document: EncodedDocument?) throws -> UnsafeRawPointer {
            try #require(document).bytes.withUnsafeBytes { try #require($0.baseAddress) }
        }
        // Its own, since others at work may make it forget.
        let documents = OpenAPIDocuments(Schema.shared.resources, schema: .shared, version: "v1.36.0+weft")
        let group = documents.v3("apis/gateway.networking.k8s.io/v1")
        #expect(try place(documents.v3("apis/gateway.networking.k8s.io/v1")) == place(group))
        let whole = documents.v2Protobuf()
        #expect(try place(documents.v2Protobuf()) == place(whole))
        #expect(documents.v2().contentType != whole.contentType)
    }

    private func fields(_ bytes: ArraySlice<UInt8>) -> [(number: Int, bytes: ArraySlice<UInt8>)]? {
        var rest = bytes
        var result: [(number: Int, bytes: ArraySlice<UInt8>)] = []
        func varint() -> Int? {
            var value = 0
            for shift in stride(from: 0, to: 35, by: 7) {
                guard let byte = rest.popFirst() else { return nil }
                value |= Int(byte & 0x7f) << shift
                if byte & 0x80 == 0 { return value }
            }
            return nil
        }
        while !rest.isEmpty {
            guard let tag = varint(), let value = varint() else { return nil }
            if tag & 7 == 0 {
                result.append((tag >> 3, []))
            } else {
                guard tag & 7 == 2, value <= rest.count else { return nil }
                result.append((tag >> 3, rest.prefix(value)))
                rest = rest.dropFirst(value)
            }
        }
        return result
    }
}
