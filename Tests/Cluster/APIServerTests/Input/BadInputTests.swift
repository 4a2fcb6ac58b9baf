import ClusterAPI
import JSON
import Store
import Testing

@testable import APIServer

private let maps = "/api/v1/namespaces/default/configmaps"

@Suite("bad input gets a clear Status and changes nothing")
struct BadInputTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var method = "POST"
        var path = maps
        var type: String? = "application/json"
        var body: [UInt8]
        var status: Int
        var says: String
        var testDescription: String { name }

        init(
            _ name: String, method: String = "POST", path: String = maps, type: String? = "application/json",
            body: String = "", status: Int, says: String
        ) {
            self.init(
                name, method: method, path: path, type: type, bytes: Array(body.utf8), status: status, says: says)
        }

        init(
            _ name: String, method: String = "POST", path: String = maps, type: String?, bytes: [UInt8], status: Int,
            says: String
        ) {
            self.name = name
            self.method = method
            self.path = path
            self.type = type
            body = bytes
            self.status = status
            self.says = says
        }
    }

    static let cases: [Case] = [
        Case("no body", status: 400, says: "JSON"),
        Case("half a JSON", body: #"{"metadata":{"na"#, status: 400, says: "JSON"),
        Case("an array", body: "[]", status: 400, says: "not an object"),
        Case("a number", body: "7", status: 400, says: "not an object"),
        Case("text after JSON", body: #"{"metadata":{"name":"a"}} x"#, status: 400, says: "JSON"),
        Case("a name of a wrong type", body: #"{"metadata":{"name":7}}"#, status: 400, says: "cannot be handled"),
        Case(
            "a map of a wrong type", body: #"{"metadata":{"name":"a"},"data":["x"]}"#, status: 400,
            says: "cannot be handled"),
        Case(
            "another kind", body: #"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}}"#, status: 400,
            says: "kind"),
        Case(
            "another version", body: #"{"kind":"ConfigMap","apiVersion":"v2","metadata":{"name":"a"}}"#, status: 400,
            says: "API version"),
        Case(
            "another namespace", body: #"{"metadata":{"name":"a","namespace":"other"}}"#, status: 400, says: "namespace"
        ),
        Case("a bad name", body: #"{"metadata":{"name":"A_b"}}"#, status: 422, says: "lowercase RFC 1123"),
        Case(
            "a resourceVersion", body: #"{"metadata":{"name":"a","resourceVersion":"5"}}"#, status: 400,
            says: "resourceVersion should not be set"),
        Case("bad YAML", type: "application/yaml", body: "a: [b", status: 400, says: "YAML"),
        Case("two YAML documents", type: "application/yaml", body: "a: b\n---\nc: d\n", status: 400, says: "YAML"),
        Case("an unknown type", type: "text/csv", body: "a,b", status: 415, says: "application/json"),
        Case(
            "protobuf without its magic", type: "application/vnd.kubernetes.protobuf", body: "abcdefgh", status: 400,
            says: "protobuf"),
        Case(
            "protobuf cut short", type: "application/vnd.kubernetes.protobuf",
            bytes: [0x6b, 0x38, 0x73, 0, 0x0a, 0x7f, 1], status: 400, says: "protobuf"),
        Case(
            "a missing namespace", method: "POST", path: "/api/v1/namespaces/none/configmaps",
            body: #"{"metadata":{"name":"a"}}"#, status: 404, says: "namespaces \"none\" not found"),
        Case(
            "no such resource", method: "GET", path: "/api/v1/bananas", type: nil, body: "", status: 404,
            says: "could not find"),
        Case(
            "no such group", method: "GET", path: "/apis/example.com/v1/things", type: nil, body: "", status: 404,
            says: "could not find"),
        Case(
            "no such object", method: "GET", path: maps + "/none", type: nil, body: "", status: 404,
            says: "configmaps \"none\" not found"),
        Case(
            "no such subresource", method: "GET", path: maps + "/a/scale", type: nil, body: "", status: 404,
            says: "could not find"),
        Case("a bad escape", method: "GET", path: maps + "/%zz", type: nil, body: "", status: 400, says: "path"),
        Case(
            "a method that is none", method: "PURGE", path: maps + "/a", type: nil, body: "", status: 405,
            says: "method"),
        Case("POST to an object", method: "POST", path: maps + "/a", body: "{}", status: 405, says: "method"),
        Case(
            "a cluster's resource in a namespace", method: "GET", path: "/api/v1/namespaces/default/nodes", type: nil,
            body: "", status: 404, says: "could not find"),
        Case(
            "a delete with another kind's body", method: "DELETE", path: maps + "/a",
            body: #"{"kind":"Pod","apiVersion":"v1"}"#, status: 400, says: "DeleteOptions"),
        Case(
            "a patch that is no object", method: "PATCH", path: maps + "/kube",
            type: "application/strategic-merge-patch+json", body: "7", status: 404, says: "not found"),
        Case(
            "a JSON patch that is none", method: "PATCH", path: maps + "/kept", type: "application/json-patch+json",
            body: #"{"a":1}"#, status: 400, says: "operations"),
        Case(
            "a merge patch that is broken", method: "PATCH", path: maps + "/kept", type: "application/merge-patch+json",
            body: "{", status: 400, says: "JSON"),
        Case(
            "a merge patch of another type", method: "PATCH", path: maps + "/kept",
            type: "application/merge-patch+json", body: #"{"data":7}"#, status: 400, says: "cannot be handled"),
        Case(
            "not yet served", method: "GET", path: "/api/v1/namespaces/default/pods/p/exec", type: nil, body: "",
            status: 501, says: "not served"),
        Case(
            "a stream that is not yet served, as kubectl asks for it", method: "POST",
            path: "/api/v1/namespaces/default/pods/p/exec?command=id", type: nil, body: "", status: 501, says: "crun"),
    ]

    @Test(
        "each is refused in the words that clients look for", arguments: cases)
    func refusals(_ input: Case) async throws {
        try await TestServer.with { server in
            let client = try server.client()
            try await server.make(.configMaps, configMap("kept"))
            let before = server.store.currentRevision
            let answer = try await client.send(input.method, input.path, bytes: input.body, type: input.type)
            #expect(
                answer.status == input.status && answer.json["kind"] == "Status", "\(answer.status): \(answer.message)")
            #expect(answer.json["code"]?.int == Int64(input.status))
            #expect(answer.message.contains(input.says), "\(answer.message)")
            #expect(server.store.currentRevision == before)
        }
    }

    @Test("nesting without end, a huge body and huge selectors are refused within their bounds")
    func sizes() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let deep = String(repeating: "[", count: 100_000)
            let nested = try await client.send("POST", maps, bytes: Array(deep.utf8), type: "application/json")
            #expect(nested.status == 400)
            let bomb =
                "a: &a [x,x,x,x,x,x,x,x,x]\n"
                + (0..<8).map {
                    "\("bcdefghi".dropFirst($0).first!): &\("bcdefghi".dropFirst($0).first!) [*\("abcdefgh".dropFirst($0).first!),*\("abcdefgh".dropFirst($0).first!),*\("abcdefgh".dropFirst($0).first!),*\("abcdefgh".dropFirst($0).first!),*\("abcdefgh".dropFirst($0).first!),*\("abcdefgh".dropFirst($0).first!),*\("abcdefgh".dropFirst($0).first!),*\("abcdefgh".dropFirst($0).first!)]\n"
                }.joined()
            let expanded = try await client.send("POST", maps, bytes: Array(bomb.utf8), type: "application/yaml")
            #expect(expanded.status == 400)
            let big = try await client.send(
                "POST", maps, configMap("big", ["x": .string(String(repeating: "x", count: (3 << 20)))]))
            #expect(big.status == 413 && big.reason == "RequestEntityTooLarge")
            let overLimit = try await client.send(
                "POST", maps, configMap("mib", ["x": .string(String(repeating: "x", count: (1 << 20) + 1))]))
            #expect(overLimit.status == 422)
            let labels = (0..<1500).map { "k\($0)%3Dv" }.joined(separator: ",")
            #expect(try await client.get(maps + "?labelSelector=" + labels).status == 400)
            #expect(try await client.get(maps).names == [])
        }
    }

    @Test("every prefix of a valid body, and every flipped byte of it, is answered and leaves the server standing")
    func fuzzed() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let json = configMap("f", ["k": "v"]).encoded()
            let protobuf = try ProtobufCodec.shared.encode(configMap("f", ["k": "v"]))
            for (good, type) in [
                (json, "application/json"), (protobuf, "application/vnd.kubernetes.protobuf"),
                (json, "application/yaml"),
            ] {
                for end in stride(from: 0, to: good.count, by: 3) {
                    let answer = try await client.send(
                        "POST", maps + "?dryRun=All", bytes: Array(good[..<end]), type: type)
                    #expect([201, 400, 422].contains(answer.status), "\(type) cut at \(end): \(answer.status)")
                }
                for at in stride(from: 0, to: good.count, by: 2) {
                    var bad = good
                    bad[at] ^= 0x15
                    let answer = try await client.send("POST", maps + "?dryRun=All", bytes: bad, type: type)
                    #expect([201, 400, 422].contains(answer.status), "\(type) flipped at \(at): \(answer.status)")
                }
            }
            #expect(try await client.get("/healthz").status == 200)
        }
    }
}
