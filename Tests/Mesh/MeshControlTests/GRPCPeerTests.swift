import ClusterClient
import TestSupport
import Testing

/// gRPC's own xDS client (grpcio, `xds:///`) beneath a control plane that follows a real API server.
@Suite(
    "gRPC clients that find Services by xDS", .enabled(if: MeshCluster.library != nil, "grpcio cannot be installed"),
    .enabled(if: OwnAddress.v4 != nil, "this machine has no address of its own"))
struct GRPCPeerTests {
    @Test("a Service is found, an HTTPRoute splits it, and a header chooses")
    func routes() async throws {
        try await MeshCluster.run { cluster in
            try await cluster.service("cart", endpoints: [cluster.ports[0]])
            try await cluster.service("cart-v2", endpoints: [cluster.ports[1]])
            #expect(try await cluster.call("cart", 20) == ["v1": 20])
            try await cluster.client.create(
                .httpRoutes, cluster.route("canary", to: "cart", [("cart", 50), ("cart-v2", 50)]))
            try await cluster.eventually { try await cluster.call("cart", 1)["v2"] == 1 }
            let split = try await cluster.call("cart", 400)
            #expect(split["v1", default: 0] > 120 && split["v2", default: 0] > 120 && split.count == 2, "\(split)")
            #expect(try await cluster.call("cart", 20, "x-tester=yes") == ["v2": 20])
            // A backend that does not exist takes its share of requests down with it, and nothing else.
            let broken = cluster.route("canary", to: "cart", [("cart", 1), ("gone", 1)])
            let updated = try await cluster.client.update(.httpRoutes, broken)
            try await cluster.eventually { try await cluster.call("cart", 30).count == 2 }
            try await cluster.client.delete(.httpRoutes, updated.key)
            try await cluster.eventually { try await cluster.call("cart", 20) == ["v1": 20] }
            // The endpoints move, and with them every request.
            try await cluster.endpoints("cart", [cluster.ports[1]])
            try await cluster.eventually { try await cluster.call("cart", 20) == ["v2": 20] }
        }
    }
}
