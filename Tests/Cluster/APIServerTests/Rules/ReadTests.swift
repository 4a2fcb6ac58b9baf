import ClusterAPI
import ClusterClient
import JSON
import Store
import Testing

@testable import APIServer

private let maps = "/api/v1/namespaces/default/configmaps"

@Suite("reading: lists, pages and resourceVersions")
struct ReadTests {
    @Test("pages of a list show one moment, and a compacted moment gives a token to go on without it")
    func pages() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            for n in 0..<7 { try await server.make(.configMaps, configMap("m\(n)")) }
            let first = try await client.get(maps + "?limit=3")
            #expect(first.names == ["m0", "m1", "m2"])
            #expect(first.json["metadata"]?["remainingItemCount"] == 4)
            try await server.make(.configMaps, configMap("m25"))
            let token = first.json["metadata"]?["continue"]?.string ?? ""
            let second = try await client.get(maps + "?limit=3&continue=\(token)")
            #expect(second.names == ["m3", "m4", "m5"])
            #expect(second.revision == first.revision)
            try await server.store.compact(to: server.store.currentRevision)
            let lost = try await client.get(maps + "?limit=3&continue=\(token)")
            #expect(lost.status == 410 && lost.reason == "Expired")
            let fresh = lost.json["metadata"]?["continue"]?.string ?? ""
            let rest = try await client.get(maps + "?continue=\(fresh)")
            #expect(rest.names == ["m25", "m3", "m4", "m5", "m6"])
        }
    }

    @Test(
        "each combination of resourceVersion, match, limit and continue has its answer",
        arguments: [
            ("", 200), ("resourceVersion=0", 200), ("resourceVersion=0&resourceVersionMatch=NotOlderThan", 200),
            ("resourceVersion=2&resourceVersionMatch=NotOlderThan", 200),
            ("resourceVersion=CUR&resourceVersionMatch=Exact", 200),
            ("resourceVersion=2", 200), ("resourceVersion=OLD&limit=5", 410),
            ("resourceVersion=OLD&resourceVersionMatch=Exact", 410),
            ("resourceVersionMatch=NotOlderThan", 422), ("resourceVersionMatch=Exact", 422),
            ("resourceVersion=0&resourceVersionMatch=Exact", 422),
            ("resourceVersion=2&resourceVersionMatch=Other", 422),
            ("resourceVersion=abc", 422), ("resourceVersion=-1", 422), ("continue=%21%21", 400), ("limit=x", 400),
            ("sendInitialEvents=true", 422), ("labelSelector=a+b+c", 400), ("fieldSelector=spec.nodeName%3Dx", 400),
            ("resourceVersion=999999", 504), ("watch=1&sendInitialEvents=true", 422),
            ("watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=0", 422), ("watch=1&resourceVersion=OLD", 410),
        ])
    func combinations(query: String, status: Int) async throws {
        try await TestServer.with { server in
            let client = try server.client()
            try await server.make(.configMaps, configMap("a"))
            let old = server.store.currentRevision
            try await server.make(.configMaps, configMap("b"))
            if query.contains("OLD") { try await server.store.compact(to: server.store.currentRevision) }
            let text = query.replacing("OLD", with: "\(old)").replacing("CUR", with: "\(server.store.currentRevision)")
            let answer = try await client.get(maps + "?" + text)
            #expect(answer.status == status, "\(text): \(answer.message)")
            if status == 504 {
                #expect(answer.json["details"]?["causes"]?[0]?["reason"] == "ResourceVersionTooLarge")
            }
        }
    }

    @Test("selectors choose by labels and fields, across namespaces too")
    func selectors() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            try await server.make(.serviceAccounts, ["metadata": ["name": "default", "namespace": "default"]])
            for n in 0..<4 { try await server.make(.pods, pod("p\(n)", labels: ["n": .string("\(n % 2)")])) }
            #expect(try await client.get("/api/v1/pods?labelSelector=n%3D1").names == ["p1", "p3"])
            #expect(try await client.get("/api/v1/pods?labelSelector=n+notin+(1)").names == ["p0", "p2"])
            #expect(try await client.get("/api/v1/pods?fieldSelector=metadata.name%3Dp2").names == ["p2"])
            #expect(
                try await client.get("/api/v1/pods?fieldSelector=spec.nodeName%3D,status.phase%3DPending").names.count
                    == 4)
            let page = try await client.get("/api/v1/pods?labelSelector=n%3D1&limit=1")
            #expect(page.names == ["p1"] && page.json["metadata"]?["remainingItemCount"] == nil)
            let token = page.json["metadata"]?["continue"]?.string ?? ""
            #expect(try await client.get("/api/v1/pods?labelSelector=n%3D1&limit=1&continue=\(token)").names == ["p3"])
        }
    }

    @Test("the same object comes as JSON, YAML, protobuf, table or metadata, as asked; else 406")
    func encodings() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            try await server.make(.configMaps, configMap("a", ["k": "v"]))
            let json = try await client.get(maps + "/a").json
            let yaml = try await client.get(maps + "/a", accept: "application/yaml")
            #expect(String(decoding: yaml.body, as: UTF8.self).contains("k: v"))
            let protobuf = try await client.get(maps + "/a", accept: "application/vnd.kubernetes.protobuf")
            #expect(try ProtobufCodec.shared.decode(protobuf.body) == json)
            let list = try await client.get(maps, accept: "application/vnd.kubernetes.protobuf")
            #expect(try ProtobufCodec.shared.decode(list.body)["items"]?[0]?["data"] == ["k": "v"])
            let table = try await client.get(
                maps, accept: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
            #expect(table.json["kind"] == "Table" && table.json["rows"]?[0]?["cells"]?[0] == "a")
            let partial = try await client.get(
                maps + "/a", accept: "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
            #expect(partial.json["kind"] == "PartialObjectMetadata" && partial.json["data"] == nil)
            let partials = try await client.get(
                maps, accept: "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
            #expect(
                try ProtobufCodec.shared.decode(partials.body)["items"]?[0]?["metadata"]?["name"] == "a")
            #expect(try await client.get(maps + "/a", accept: "application/cbor").status == 406)
            let review = try await client.send(
                "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", ["spec": [:]],
                accept: "application/json;as=Table;v=v1;g=meta.k8s.io")
            #expect(review.status == 406)
        }
    }
}
