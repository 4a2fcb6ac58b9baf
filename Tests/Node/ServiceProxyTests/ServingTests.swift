import Bytes
import ClusterAPI
import ClusterClient
import Glibc
import JSON
import Netlink
import Reactor
import Telemetry
import Testing

@testable import ServiceProxy

@Suite("What the proxy serves")
struct ServingTests {
    /// A proxy whose rules are in a namespace of their own, and whose ports are here; curl asks them.
    private final class Lab {
        let cluster = ScriptedCluster()
        let namespace: NamespaceHandle
        var configuration = ServiceProxyConfiguration.testing
        private(set) var task: Task<Void, any Error>?

        init() throws {
            namespace = try NamespaceHandle.create()
            configuration.bindRetryPeriod = .milliseconds(50)
            configuration.nodePortAddresses = .primary
            configuration.nodeAddressOverride = nil
            try cluster.put(.nodes, ScriptedCluster.node(addresses: ["127.0.0.2"]))
        }

        func start() {
            let runner = ServiceProxyRunner(
                configuration, client: KubeClient(cluster), namespace: namespace.descriptor)
            task = Task { try await runner.run() }
        }

        func stop() async {
            task?.cancel()
            _ = await task?.result
        }
    }

    private struct Answer {
        var status: Int
        var headers: String
        var body: String
        var json: JSONValue? { try? JSONValue.parse(body) }
    }

    /// nil when nobody answers.
    private static func curl(_ url: String) throws -> Answer? {
        let pipe = try #require(popen("curl -gsi --max-time 20 '\(url)'", "r"))
        var bytes: [UInt8] = []
        while case let byte = fgetc(pipe), byte != EOF { bytes.append(UInt8(truncatingIfNeeded: byte)) }
        pclose(pipe)
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n"), text.hasPrefix("HTTP/1.1 ") else { return nil }
        return Answer(
            status: Int(text.dropFirst(9).prefix(3)) ?? 0, headers: text[..<end.lowerBound].lowercased(),
            body: String(text[end.upperBound...]))
    }

    /// A port that nobody has now, on every address.
    private static func freePort() throws -> UInt16 {
        let (fd, port) = try listener()
        close(fd)
        return port
    }

    /// A socket that holds a port on 127.0.0.1.
    private static func listener(_ port: UInt16 = 0) throws -> (fd: CInt, port: UInt16) {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        name.sin_port = port.bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &name) { name in
            name.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fd, $0, length) == 0 && listen(fd, 1) == 0 && getsockname(fd, $0, &length) == 0
            }
        }
        try #require(isBound)
        return (fd, UInt16(bigEndian: name.sin_port))
    }

    @Test("health, metrics, and what is in effect")
    func pages() async throws {
        let lab = try Lab()
        let (health, metrics) = (try Self.freePort(), try Self.freePort())
        lab.configuration.healthzAddress = .ip(.anyV4, Port(health))
        lab.configuration.metricsAddress = .ip(.loopbackV4, Port(metrics))
        lab.configuration.configz = KubeProxyConfiguration().configz
        lab.start()
        let base = "http://127.0.0.1:\(metrics)"
        try await until("in step") {
            try Self.curl("http://127.0.0.1:\(health)/healthz")?.json?["status"]?["IPv4"] != nil
        }
        let healthz = try #require(try Self.curl("http://127.0.0.1:\(health)/healthz"))
        #expect(healthz.status == 200 && healthz.json?["nodeEligible"] == true && healthz.json?["healthy"] == true)
        #expect(healthz.headers.contains("x-content-type-options: nosniff"))
        // 0.0.0.0 is all addresses, of both families, as it is in Go.
        #expect(try Self.curl("http://[::1]:\(health)/livez")?.status == 200)
        try lab.cluster.put(
            .nodes, ScriptedCluster.node(addresses: ["127.0.0.2"], taint: "ToBeDeletedByClusterAutoscaler"))
        try await until("not eligible") { try Self.curl("http://127.0.0.1:\(health)/healthz")?.status == 503 }
        #expect(try Self.curl("http://127.0.0.1:\(health)/livez")?.status == 200)
        lab.cluster.delete(.nodes, ObjectKey(name: "node-1"))
        try lab.cluster.put(.nodes, ScriptedCluster.node(addresses: ["127.0.0.2"]))
        try await until("eligible again") { try Self.curl("http://127.0.0.1:\(health)/healthz")?.status == 200 }

        #expect(try Self.curl("\(base)/healthz")?.body == "ok")
        #expect(try Self.curl("\(base)/proxyMode")?.body == "nftables")
        #expect(
            try Self.curl("\(base)/configz")?.json?["kubeproxy.config.k8s.io"]?["BindAddress"] == "0.0.0.0")
        let page = try PrometheusPage(try #require(try Self.curl("\(base)/metrics")).body)
        #expect(page.value("kubeproxy_proxy_healthz_total", ["code": "503"]) ?? 0 >= 1)
        #expect(page.value("kubeproxy_proxy_livez_total", ["code": "200"]) ?? 0 >= 2)
        #expect(
            try PrometheusPage(try #require(try Self.curl("\(base)/metrics/slis")).body)
                .value("kubernetes_healthcheck", ["name": "ping", "type": "healthz"]) == 1)
        for path in ["/flagz", "/statusz", "/debug/pprof/", "/"] {
            #expect(try Self.curl(base + path)?.status == 404, "\(path)")
        }
        #expect(lab.cluster.events.contains { $0.json["reason"] == "Starting" })
        await lab.stop()
    }

    @Test("load balancers are answered by what is ready here, on the node's addresses, as these change")
    func healthChecks() async throws {
        let lab = try Lab()
        lab.configuration.nodePortAddresses = .prefixes([prefix("127.0.0.0/8")])
        let (port, next) = (try Self.freePort(), try Self.freePort())
        // Addresses are the namespace's; the port is bound here, where all of 127.0.0.0/8 is.
        try ProxyBench.run("ip link set lo up; ip addr add 127.0.0.3/8 dev lo", in: lab.namespace)
        func service(_ port: UInt16) -> String {
            ScriptedCluster.service(
                "cart", "10.96.0.10",
                more: #", "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": \#(port)"#)
        }
        try lab.cluster.put(.services, service(port))
        lab.start()
        try await until("nobody here") { try Self.curl("http://127.0.0.3:\(port)/")?.status == 503 }
        try lab.cluster.put(.endpointSlices, ScriptedCluster.slice("cart", ["10.244.1.5", "10.244.1.6"]))
        try await until("two here") { try Self.curl("http://127.0.0.3:\(port)/anything")?.status == 200 }
        let answer = try #require(try Self.curl("http://127.0.0.3:\(port)/"))
        #expect(answer.headers.contains("x-load-balancing-endpoint-weight: 2"))
        #expect(answer.json?["localEndpoints"] == 2 && answer.json?["service"]?["name"] == "cart")
        try ProxyBench.run("ip addr add 127.0.0.4/8 dev lo", in: lab.namespace)
        try await until("on the new address") { try Self.curl("http://127.0.0.4:\(port)/")?.status == 200 }
        try lab.cluster.put(.endpointSlices, ScriptedCluster.slice("cart", ["10.244.1.5"], ready: false))
        try await until("none ready") { try Self.curl("http://127.0.0.3:\(port)/")?.status == 503 }
        try lab.cluster.put(.services, service(next))
        try await until("another port") {
            try Self.curl("http://127.0.0.3:\(next)/")?.status == 503 && Self.curl("http://127.0.0.3:\(port)/") == nil
        }
        // The next session knows the port of the last one, and does not close it.
        try lab.cluster.put(.nodes, ScriptedCluster.node(zone: "a", addresses: ["127.0.0.2"]))
        try await until("another session") { lab.cluster.watches(.services) == 2 }
        #expect(try Self.curl("http://127.0.0.3:\(next)/")?.status == 503)
        lab.cluster.delete(.services, ObjectKey(namespace: "shop", name: "cart"))
        try await until("closed") { try Self.curl("http://127.0.0.3:\(next)/") == nil }
        await lab.stop()
    }

    @Test("a health check port that somebody has is told on its Service, and taken when it is free")
    func takenPort() async throws {
        let lab = try Lab()
        lab.configuration.nodePortAddresses = .all
        let (holder, port) = try Self.listener()
        try lab.cluster.put(
            .services,
            ScriptedCluster.service(
                "cart", "10.96.0.10",
                more: #", "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": \#(port)"#))
        lab.start()
        try await until("told") {
            lab.cluster.events.contains { $0.json["reason"] == "FailedToStartServiceHealthcheck" }
        }
        let event = lab.cluster.events.first { $0.json["reason"] == "FailedToStartServiceHealthcheck" }
        #expect(event?.json["involvedObject"]?["uid"] == "uid-cart" && event?.json["type"] == "Warning")
        #expect(
            event?.json["message"]?.string?.hasPrefix(
                "node node-1 failed to start healthcheck \"shop/cart\" on port \(port): ") == true)
        close(holder)
        try await until("served") { try Self.curl("http://127.0.0.1:\(port)/")?.status == 503 }
        await lab.stop()
    }

    @Test("a taken port for health is waited for, or ends the proxy where that is wanted", arguments: [false, true])
    func hardFail(isFatal: Bool) async throws {
        let lab = try Lab()
        let (holder, port) = try Self.listener()
        lab.configuration.healthzAddress = .ip(.loopbackV4, Port(port))
        lab.configuration.bindFailureIsFatal = isFatal
        lab.start()
        if isFatal {
            let task = try #require(lab.task)
            let outcome = await task.result
            #expect(throws: SystemError.self) { try outcome.get() }
            #expect(lab.cluster.events.contains { $0.json["reason"] == "FailedToStartProxierHealthcheck" })
        } else {
            let connection = try NFTablesConnection(namespace: lab.namespace.descriptor)
            try await until("rules are written all the same") {
                try connection.table(NFTableName(.ip, "weft-services")) != nil
            }
        }
        close(holder)
        if !isFatal {
            try await until("served") { try Self.curl("http://127.0.0.1:\(port)/livez")?.status == 200 }
        }
        await lab.stop()
    }

    @Test("kube-proxy's tables are left alone, or removed where that is wanted", arguments: [false, true])
    func kubeProxyTables(removes: Bool) async throws {
        let lab = try Lab()
        try ProxyBench.run(
            "nft 'add table ip kube-proxy; add table ip6 kube-proxy; add table ip other'", in: lab.namespace)
        lab.configuration.removesKubeProxyTables = removes
        lab.start()
        func tables() throws -> Set<String> {
            let text = try ProxyBench.run("nft list tables", in: lab.namespace)
            return Set(
                text.split(separator: "\n").map { String($0.split(separator: " ").prefix(3).joined(separator: " ")) })
        }
        let kept: Set = ["table ip other", "table ip weft-services", "table ip6 weft-services"]
        let foreign: Set = ["table ip kube-proxy", "table ip6 kube-proxy"]
        try await until("in step") { try tables() == (removes ? kept : kept.union(foreign)) }
        #expect(throws: TableIsOwned.self) {
            try ServiceProxy.removeTables(lab.configuration, namespace: lab.namespace.descriptor)
        }
        await lab.stop()
        try ServiceProxy.removeTables(lab.configuration, namespace: lab.namespace.descriptor)
        try KubeProxyTables.remove(namespace: lab.namespace.descriptor)
        #expect(try tables() == ["table ip other"])
    }
}
