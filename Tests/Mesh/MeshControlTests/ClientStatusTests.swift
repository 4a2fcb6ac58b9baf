import ClusterClient
import JSON
import TestSupport
import Testing

@Suite(
    "The state of clients, told to a client written elsewhere",
    .enabled(if: MeshCluster.library != nil, "grpcio cannot be installed"),
    .enabled(if: OwnAddress.v4 != nil, "this machine has no address of its own"))
struct ClientStatusTests {
    @Test("each resource that a client asks for is synced, refused with its reason, or was never sent")
    func states() async throws {
        try await MeshCluster.run { cluster in
            try await cluster.service("cart", endpoints: [cluster.ports[0]])
            try await cluster.service("stock", endpoints: [cluster.ports[1]])
            let table = "cart.shop.svc.cluster.local:80"
            var answer = JSONValue.null
            try await cluster.eventually {
                answer = try await cluster.clientStatus()
                return answer[path: "fetched", "nodes"] == 1 && answer[path: "fetched", "rds \(table)"] != nil
            }
            let fetched = answer["fetched"] ?? .null
            #expect(fetched["cds outbound|80||cart.shop.svc.cluster.local"] == "SYNCED with contents")
            #expect(fetched["rds \(table)"] == "ERROR with contents: no good: \(table)")
            #expect(fetched["rds stock.shop.svc.cluster.local:80"] == "SYNCED with contents")
            #expect(fetched["rds nobody.shop.svc.cluster.local:80"] == "NOT_SENT")
            let bare = answer["bare"] ?? .null
            #expect(bare["rds stock.shop.svc.cluster.local:80"] == "SYNCED", "contents were not asked for")
            #expect(answer["others"] == ["nodes": 0], "no node of that name is connected")
            #expect(answer["streamed"] == ["nodes": 1, "answers": 2])
            #expect(answer["unsupported"] == "INVALID_ARGUMENT")
        }
    }
}
