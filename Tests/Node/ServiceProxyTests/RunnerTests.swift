import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Netlink
import Reactor
import Telemetry
import Testing

@testable import ServiceProxy

@Suite("The proxy beside an API server")
struct RunnerTests {
    @Test("objects become elements, changes follow, a foreign flush is repaired, and cancelling leaves the table")
    func life() async throws {
        let namespace = try NamespaceHandle.create()
        let cluster = ScriptedCluster()
        try cluster.put(.services, ScriptedCluster.service("cart", "10.96.0.10"))
        try cluster.put(.endpointSlices, ScriptedCluster.slice("cart", ["10.244.1.5"]))
        var configuration = ServiceProxyConfiguration.testing
        configuration.ownsTable = false
        let registry = MetricsRegistry()
        let runner = ServiceProxyRunner(
            configuration, client: KubeClient(cluster), namespace: namespace.descriptor, registry: registry)
        let task = Task { try await runner.run() }
        let nftables = try NFTablesConnection(namespace: namespace.descriptor)
        let table = NFTableName(.ip, configuration.tableName)
        func count(_ set: ServiceSet) throws -> Int {
            guard try nftables.table(table) != nil else { return -1 }
            return try nftables.elements(of: set.name(in: table)).count
        }
        try await until("one endpoint") { try count(.endpoints) == 1 && count(.services) == 1 }
        try cluster.put(.endpointSlices, ScriptedCluster.slice("cart", ["10.244.1.5", "10.244.1.6", "10.244.1.7"]))
        try await until("three endpoints") { try count(.endpoints) == 3 }
        try cluster.put(.services, ScriptedCluster.service("till", "10.96.0.11"))
        try await until("two services") { try count(.services) == 2 }
        try ProxyBench.run("nft flush ruleset", in: namespace)
        try await until("repaired") { try count(.endpoints) == 3 && count(.services) == 2 }
        cluster.delete(.services, ObjectKey(namespace: "shop", name: "cart"))
        try await until("one service") { try count(.services) == 1 && count(.endpoints) == 0 }
        let metrics = String(decoding: registry.render(), as: UTF8.self)
        #expect(metrics.contains("kubeproxy_sync_proxy_rules_duration_seconds_count"))
        task.cancel()
        _ = await task.result
        #expect(try count(.services) == 1)
    }
}
