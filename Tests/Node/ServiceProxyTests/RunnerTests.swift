import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Netlink
import Reactor
import Synchronization
import Telemetry
import Testing

@testable import ServiceProxy

/// An API server of two resources, in memory: watches with initial events, then what the test says.
final class ScriptedCluster: APITransport {
    final class Stream: WatchStream {
        private let events: AsyncStream<WatchEvent>
        let sink: AsyncStream<WatchEvent>.Continuation
        init() { (events, sink) = AsyncStream.makeStream() }
        func next() async throws -> WatchEvent? {
            for await event in events { return event }
            return nil
        }
    }

    private struct State {
        var objects: [GroupVersionResource: [ObjectKey: KubeObject]] = [:]
        var watches: [GroupVersionResource: [Stream]] = [:]
        var revision = 100
    }
    private let state = Mutex(State())

    func send(_ request: APIRequest) async throws -> JSONValue {
        throw StatusError.notFound(request.resource, request.name ?? "")
    }

    func document(_ path: String) async throws -> JSONValue { [:] }

    func watch(_ request: APIRequest) async throws -> any WatchStream {
        let stream = Stream()
        state.withLock { state in
            for object in state.objects[request.resource, default: [:]].values {
                stream.sink.yield(WatchEvent(kind: .added, object: object))
            }
            var end = KubeObject(apiVersion: "v1", kind: "X")
            end.annotations = [WatchEvent.initialEventsEndAnnotation: "true"]
            end.resourceVersion = "\(state.revision)"
            stream.sink.yield(WatchEvent(kind: .bookmark, object: end))
            state.watches[request.resource, default: []].append(stream)
        }
        return stream
    }

    func put(_ resource: GroupVersionResource, _ text: String) throws {
        var object = KubeObject(json: try JSONValue.parse(text))
        state.withLock { state in
            state.revision += 1
            object.resourceVersion = "\(state.revision)"
            let kind: WatchEvent.Kind = state.objects[resource]?[object.key] == nil ? .added : .modified
            state.objects[resource, default: [:]][object.key] = object
            for watch in state.watches[resource, default: []] {
                watch.sink.yield(WatchEvent(kind: kind, object: object))
            }
        }
    }

    func delete(_ resource: GroupVersionResource, _ key: ObjectKey) {
        state.withLock { state in
            guard var object = state.objects[resource]?.removeValue(forKey: key) else { return }
            state.revision += 1
            object.resourceVersion = "\(state.revision)"
            for watch in state.watches[resource, default: []] {
                watch.sink.yield(WatchEvent(kind: .deleted, object: object))
            }
        }
    }
}

@Suite("The proxy beside an API server")
struct RunnerTests {
    private static func service(_ name: String, _ clusterIP: String) -> String {
        """
        {"metadata": {"namespace": "shop", "name": "\(name)"}, "spec": {"clusterIP": "\(clusterIP)",
         "clusterIPs": ["\(clusterIP)"], "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]}}
        """
    }

    private static func slice(_ name: String, _ addresses: [String]) -> String {
        let endpoints = addresses.map {
            #"{"addresses": ["\#($0)"], "conditions": {"ready": true}, "nodeName": "node-1"}"#
        }
        return """
            {"metadata": {"namespace": "shop", "name": "\(name)-x", "labels": {"kubernetes.io/service-name": "\(name)"}},
             "addressType": "IPv4", "ports": [{"name": "", "protocol": "TCP", "port": 8080}],
             "endpoints": [\(endpoints.joined(separator: ","))]}
            """
    }

    private static func until(_ what: String, _ holds: () throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while try !holds() {
            guard ContinuousClock.now < deadline else { throw ProxyBench.Failure(description: "never: \(what)") }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    @Test("objects become elements, changes follow, a foreign flush is repaired, and cancelling leaves the table")
    func life() async throws {
        let namespace = try NamespaceHandle.create()
        let cluster = ScriptedCluster()
        try cluster.put(.services, Self.service("cart", "10.96.0.10"))
        try cluster.put(.endpointSlices, Self.slice("cart", ["10.244.1.5"]))
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
        try await Self.until("one endpoint") { try count(.endpoints) == 1 && count(.services) == 1 }
        try cluster.put(.endpointSlices, Self.slice("cart", ["10.244.1.5", "10.244.1.6", "10.244.1.7"]))
        try await Self.until("three endpoints") { try count(.endpoints) == 3 }
        try cluster.put(.services, Self.service("till", "10.96.0.11"))
        try await Self.until("two services") { try count(.services) == 2 }
        try ProxyBench.run("nft flush ruleset", in: namespace)
        try await Self.until("repaired") { try count(.endpoints) == 3 && count(.services) == 2 }
        cluster.delete(.services, ObjectKey(namespace: "shop", name: "cart"))
        try await Self.until("one service") { try count(.services) == 1 && count(.endpoints) == 0 }
        let metrics = String(decoding: registry.render(), as: UTF8.self)
        #expect(metrics.contains("kubeproxy_sync_proxy_rules_duration_seconds_count"))
        task.cancel()
        _ = await task.result
        #expect(try count(.services) == 1)
    }
}

@Suite("KubeProxyConfiguration")
struct KubeProxyConfigurationTests {
    private static func parse(_ fields: String) throws -> KubeProxyConfiguration {
        try KubeProxyConfiguration(
            JSONValue.parse(
                #"{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"\#(fields)}"#),
            file: "proxy.yaml")
    }

    private static func configuration(_ fields: String) throws -> ServiceProxyConfiguration {
        try parse(fields).configuration(
            NodeIdentity(name: "n"), nodePrefixes: [prefix("10.244.3.0/24")], primary: [address("192.0.2.1")])
    }

    @Test("an empty one is kube-proxy's defaults for nftables")
    func defaults() throws {
        let configuration = try Self.configuration("")
        #expect(configuration.masqueradeMark == 0x4000)
        #expect(configuration.localDetector == .none)
        #expect(configuration.nodePortAddresses == .addresses([address("192.0.2.1")]))
        #expect(configuration.metricsAddress == .ip(.loopbackV4, 10249))
    }

    @Test("what is honoured is")
    func honoured() throws {
        let configuration = try Self.configuration(
            """
            , "mode": "nftables", "clusterCIDR": "10.244.0.0/16,fd00::/48", "nodePortAddresses": ["192.0.2.0/24"],
            "nftables": {"masqueradeAll": true, "masqueradeBit": 15, "minSyncPeriod": "250ms"},
            "healthzBindAddress": "127.0.0.1", "metricsBindAddress": "",
            "clientConnection": {"kubeconfig": "/etc/x"}
            """)
        #expect(configuration.localDetector == .prefixes([prefix("10.244.0.0/16"), prefix("fd00::/48")]))
        #expect(configuration.nodePortAddresses == .prefixes([prefix("192.0.2.0/24")]))
        #expect(configuration.masqueradeMark == 0x8000 && configuration.masqueradesAll)
        #expect(configuration.minimumSyncPeriod == .milliseconds(250))
        #expect(configuration.healthzAddress == .ip(.loopbackV4, 10256))
        #expect(configuration.metricsAddress == nil)
        #expect(
            try Self.configuration(#", "detectLocalMode": "NodeCIDR""#).localDetector
                == .prefixes([prefix("10.244.3.0/24")]))
    }

    static let refused: [(String, String)] = [
        (#", "mode": "ipvs""#, "mode"), (#", "nodeportAddresses": []"#, "nodeportAddresses"),
        (#", "enableProfiling": true"#, "enableProfiling"), (#", "clusterCIDR": "10.0.0""#, "clusterCIDR"),
        (#", "conntrack": {"maxPerCore": 1}"#, "conntrack.maxPerCore"),
        (#", "detectLocalMode": "BridgeInterface""#, "detectLocal.bridgeInterface"),
        (#", "detectLocalMode": "Guess""#, "detectLocalMode"),
        (#", "nftables": {"masqueradeBit": 32}"#, "nftables.masqueradeBit"),
        (#", "nodePortAddresses": ["primary", "10.0.0.0/8"]"#, "nodePortAddresses"),
        (#", "healthzBindAddress": "here""#, "healthzBindAddress"),
    ]

    @Test("what cannot be honoured is refused by its name", arguments: refused)
    func refusals(row: (String, String)) throws {
        let error = #expect(throws: KubeProxyConfiguration.Invalid.self) { try Self.parse(row.0) }
        #expect(error?.description.hasPrefix("proxy.yaml: \(row.1) ") == true, "\(String(describing: error))")
    }
}
