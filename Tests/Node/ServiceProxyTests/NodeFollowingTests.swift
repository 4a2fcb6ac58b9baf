import Bytes
import ClusterAPI
import ClusterClient
import Netlink
import Telemetry
import Testing

@testable import ServiceProxy

@Suite("The proxy follows its own node")
struct NodeFollowingTests {
    /// A proxy in a namespace of its own, until the end of `body`.
    private static func run(
        _ cluster: ScriptedCluster, _ change: (inout ServiceProxyConfiguration) -> Void = { _ in },
        _ body: (Kernel) async throws -> Void
    ) async throws {
        let namespace = try NamespaceHandle.create()
        var configuration = ServiceProxyConfiguration.testing
        change(&configuration)
        let registry = MetricsRegistry()
        let runner = ServiceProxyRunner(
            configuration, client: KubeClient(cluster), namespace: namespace.descriptor, registry: registry)
        let task = Task { try await runner.run() }
        let kernel = Kernel(
            connection: try NFTablesConnection(namespace: namespace.descriptor), registry: registry,
            namespace: namespace)
        do {
            try await body(kernel)
        } catch {
            task.cancel()
            _ = await task.result
            throw error
        }
        task.cancel()
        _ = await task.result
    }

    private struct Kernel {
        let connection: NFTablesConnection
        let registry: MetricsRegistry
        let namespace: NamespaceHandle
        let table = NFTableName(.ip, "weft-services")

        func count(_ set: ServiceSet) throws -> Int {
            guard try connection.table(table) != nil else { return -1 }
            return try connection.elements(of: set.name(in: table)).count
        }

        func nodeAddresses() throws -> Set<[UInt8]> {
            guard try connection.table(table) != nil else { return [] }
            return Set(try connection.elements(of: ServiceSet.nodeAddresses.name(in: table)).map(\.key))
        }

        func metric(_ name: String, _ labels: [String: String] = [:]) throws -> Double {
            try PrometheusPage(String(decoding: registry.render(), as: UTF8.self)).value(name, labels) ?? -1
        }
    }

    @Test("a zone that the node gets later is used at once", arguments: [true, false])
    func zone(hasWatchList: Bool) async throws {
        let cluster = ScriptedCluster(hasWatchList: hasWatchList, hasServiceCIDRs: hasWatchList)
        try cluster.put(.nodes, ScriptedCluster.node())
        try cluster.put(.services, ScriptedCluster.service("cart", "10.96.0.10"))
        try cluster.put(.endpointSlices, ScriptedCluster.slice("cart", ["10.1.0.1", "10.1.0.2"], hints: ["a", "b"]))
        try await Self.run(cluster) { kernel in
            try await until("both zones") { try kernel.count(.endpoints) == 2 }
            try cluster.put(.nodes, ScriptedCluster.node(zone: "a"))
            try await until("the zone alone") { try kernel.count(.endpoints) == 1 }
            try cluster.put(.nodes, ScriptedCluster.node(zone: "elsewhere"))
            try await until("both again") { try kernel.count(.endpoints) == 2 }
            try cluster.put(.endpointSlices, ScriptedCluster.slice("cart", ["10.1.0.1", "10.1.0.2", "10.1.0.3"]))
            try await until("changes still count") { try kernel.count(.endpoints) == 3 }
            #expect(try kernel.count(.services) == 1)
        }
        #expect(hasWatchList ? cluster.lists == 0 : cluster.lists >= 3)
    }

    @Test("addresses of a ServiceCIDR that no Service has are in the table, from the first apply on")
    func serviceCIDRs() async throws {
        let cluster = ScriptedCluster()
        try cluster.put(.nodes, ScriptedCluster.node())
        try cluster.put(
            .serviceCIDRs,
            #"{"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16", "fd00:96::/112"]}}"#)
        try cluster.put(.services, ScriptedCluster.service("cart", "10.96.0.10"))
        try await Self.run(cluster) { kernel in
            try await until("in step") { try kernel.count(.services) == 1 }
            #expect(try kernel.count(.serviceRanges) > 0)
            try cluster.put(.serviceCIDRs, #"{"metadata": {"name": "kubernetes"}, "spec": {"cidrs": []}}"#)
            try await until("forgotten") { try kernel.count(.serviceRanges) == 0 }
        }
    }

    @Test("NodeCIDR waits for the node's prefixes, and follows them")
    func podCIDRs() async throws {
        let cluster = ScriptedCluster()
        try cluster.put(.nodes, ScriptedCluster.node())
        try cluster.put(.services, ScriptedCluster.service("cart", "10.96.0.10"))
        try await Self.run(cluster, { $0.localDetector = .nodePrefixes }) { kernel in
            try await until("Services are there to be read") { cluster.watches(.nodes) == 1 }
            #expect(try kernel.count(.services) == -1 && cluster.watches(.services) == 0)
            try cluster.put(.nodes, ScriptedCluster.node(podCIDRs: ["10.244.7.0/24"]))
            try await until("in step") { try kernel.count(.services) == 1 }
            func matches(_ prefix: String) throws -> Bool {
                try ProxyBench.run("nft list table ip weft-services", in: kernel.namespace).contains(
                    "ip saddr \(prefix)")
            }
            #expect(try matches("10.244.7.0/24"))
            try cluster.put(.nodes, ScriptedCluster.node(podCIDRs: ["10.244.8.0/24"]))
            try await until("the new prefix") { try matches("10.244.8.0/24") }
            #expect(try kernel.count(.services) == 1)
        }
    }

    @Test("node ports move with the node's primary address, without reading anything anew")
    func primary() async throws {
        let cluster = ScriptedCluster()
        try cluster.put(.nodes, ScriptedCluster.node(addresses: ["192.0.2.1"]))
        try await Self.run(cluster, { $0.nodePortAddresses = .primary }) { kernel in
            try await until("the first") { try kernel.nodeAddresses() == [[192, 0, 2, 1]] }
            try cluster.put(.nodes, ScriptedCluster.node(addresses: ["192.0.2.2", "192.0.2.1"]))
            try await until("the second") { try kernel.nodeAddresses() == [[192, 0, 2, 2]] }
            #expect(cluster.watches(.services) == 1)
        }
    }

    @Test("how long a change of endpoints took is told by the time of its cause")
    func programming() async throws {
        let cluster = ScriptedCluster()
        try cluster.put(.nodes, ScriptedCluster.node())
        try cluster.put(.services, ScriptedCluster.service("cart", "10.96.0.10"))
        let old = #""endpoints.kubernetes.io/last-change-trigger-time": "2020-01-01T00:00:00Z""#
        try cluster.put(.endpointSlices, ScriptedCluster.slice("cart", ["10.1.0.1"], annotations: old))
        try await Self.run(cluster) { kernel in
            let name = "kubeproxy_network_programming_duration_seconds_count"
            try await until("in step") { try kernel.count(.endpoints) == 1 }
            let now = #""endpoints.kubernetes.io/last-change-trigger-time": "\#(Timestamp.now().rfc3339)""#
            try cluster.put(.endpointSlices, ScriptedCluster.slice("cart", ["10.1.0.1", "10.1.0.2"], annotations: now))
            try await until("measured") { try kernel.metric(name, ["ip_family": "IPv4"]) == 1 }
            // The same cause again is no new one, and what came before us was not counted.
            try cluster.put(.endpointSlices, ScriptedCluster.slice("cart", ["10.1.0.3"], annotations: now))
            try await until("written") { try kernel.count(.endpoints) == 1 }
            #expect(try kernel.metric(name, ["ip_family": "IPv4"]) == 1)
            #expect(try kernel.metric(name, ["ip_family": "IPv6"]) == 0)
            try await until("nothing is pending") {
                try kernel.metric("kubeproxy_sync_proxy_rules_endpoint_changes_pending") == 0
            }
            #expect(try kernel.metric("kubeproxy_sync_proxy_rules_endpoint_changes_total") == 3)
            #expect(
                try kernel.metric("kubeproxy_sync_full_proxy_rules_duration_seconds_count", ["ip_family": "IPv4"]) == 1)
            #expect(
                try kernel.metric("kubeproxy_sync_partial_proxy_rules_duration_seconds_count", ["ip_family": "IPv4"])
                    >= 2)
        }
    }
}
