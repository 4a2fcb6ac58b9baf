import JSON
import Testing
import XDS

@Suite("ResourceSet") struct ResourceSetTests {
    private static func response(_ kind: ResourceKind, _ resources: String) throws -> ResourceResponse {
        try ResourceResponse(
            kind, file: ConfigText(name: "cds.yaml", text: "version_info: '7'\nresources:\n" + resources))
    }

    private static func clusters(_ timeouts: [(String, String)]) throws -> [Resource] {
        try response(
            .cluster,
            timeouts.map { name, timeout in
                "- {'@type': \(ResourceKind.cluster.typeURL), name: \(name), connect_timeout: \(timeout)}\n"
            }.joined()
        ).resources
    }

    @Test("a state of the world is told as what it changes") func states() throws {
        var set = ResourceSet()
        let first = set.replace(.cluster, with: try Self.clusters([("a", "1s"), ("b", "1s"), ("c", "1s")]))
        #expect(first.added.map(\.name) == ["a", "b", "c"])
        #expect(first.updated.isEmpty && first.removed.isEmpty && first.unchanged == 0)
        let second = set.replace(.cluster, with: try Self.clusters([("d", "1s"), ("b", "2s"), ("a", "1s")]))
        #expect(second.added.map(\.name) == ["d"])
        #expect(second.updated.map(\.name) == ["b"])
        #expect(second.removed == ["c"])
        #expect(second.unchanged == 1)
        #expect(set.all(.cluster).map(\.name) == ["a", "b", "d"])
        let third = set.replace(.cluster, with: try Self.clusters([("d", "1s"), ("b", "2s"), ("a", "1s")]))
        #expect(third.isEmpty)
        #expect(set[.cluster, "b"]?.version == "7")
        let updated = try #require(second.updated.first)
        #expect(try set[.cluster, "b"]?.message() == updated.message())
        #expect(try set[.cluster, "b"]?.node().duration("connect_timeout") == .seconds(2))
    }

    @Test("only listeners and clusters are gone when a state leaves them out", arguments: ResourceKind.allCases)
    func leftOut(kind: ResourceKind) throws {
        var set = ResourceSet()
        let field = kind == .clusterLoadAssignment ? "cluster_name" : "name"
        let resources = try Self.response(kind, "- {'@type': \(kind.typeURL), \(field): a}\n").resources
        #expect(set.replace(kind, with: resources).added.map(\.name) == ["a"])
        #expect(set.replace(kind, with: []).removed == (kind == .listener || kind == .cluster ? ["a"] : []))
        #expect(set.change(kind, [], removing: ["a", "nobody"]).removed.count <= 1)
        #expect(set.count(kind) == 0)
    }

    @Test("a resource may stand in one that gives it a version") func wrapped() throws {
        let response = try Self.response(
            .cluster,
            """
            - '@type': type.googleapis.com/envoy.service.discovery.v3.Resource
              version: own
              name: a
              resource: {'@type': \(ResourceKind.cluster.typeURL), name: a}
            """)
        #expect(response.version == "7")
        #expect(response.resources.map(\.version) == ["own"])
    }

    @Test("a resource that is wrong does not keep the others from being used") func partly() throws {
        let response = try Self.response(
            .cluster,
            """
            - {'@type': \(ResourceKind.cluster.typeURL), name: a}
            - {'@type': \(ResourceKind.listener.typeURL), name: a}
            - {'@type': \(ResourceKind.cluster.typeURL), name: a}
            - {'@type': \(ResourceKind.cluster.typeURL), alt_stat_name: a}
            - {'@type': \(ResourceKind.cluster.typeURL), name: b}
            """)
        #expect(response.resources.map(\.name) == ["a", "b"])
        #expect(
            response.rejected.map(\.description) == [
                "cds.yaml:4: resources[1]: expected a envoy.config.cluster.v3.Cluster, "
                    + "found \"\(ResourceKind.listener.typeURL)\"",
                "cds.yaml:5: resources[2]: \"a\" is there twice", "cds.yaml:6: resources[3]: has no name",
            ])
    }

    @Test("a file of another kind is refused") func otherKind() throws {
        let error = #expect(throws: ConfigError.self) {
            try ResourceResponse(
                .cluster,
                file: ConfigText(name: "cds.yaml", text: "resources: []\ntype_url: \(ResourceKind.secret.typeURL)"))
        }
        #expect(error?.description.hasPrefix("cds.yaml:2: type_url: expected ") == true)
    }
}
