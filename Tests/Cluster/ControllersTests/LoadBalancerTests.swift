import Bytes
import ClusterClient
import JSON
import Testing

@testable import ClusterAPI
@testable import Controllers

private func node(_ name: String, _ addresses: String..., ready: String = "True") -> KubeObject {
    var node = KubeObject(apiVersion: "v1", kind: "Node", name: name)
    node.status = [
        "addresses": .array(addresses.map { ["type": "InternalIP", "address": .string($0)] }),
        "conditions": [["type": "Ready", "status": .string(ready)]],
    ]
    return node
}

private func service(
    _ name: String, _ port: Int64 = 80, created: String = "2026-01-01T00:00:00Z", _ more: JSONObject = [:]
) -> KubeObject {
    var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: name)
    service.json["metadata"]?["creationTimestamp"] = .string(created)
    var spec: JSONObject = [
        "type": "LoadBalancer", "loadBalancerClass": "weft.dev/node", "ipFamilies": ["IPv4"],
        "ports": [["port": .int(port), "protocol": "TCP"]],
    ]
    for (name, value) in more { spec[name] = value }
    service.spec = .object(spec)
    return service
}

@Suite("Services at the nodes' own addresses")
struct LoadBalancerTests {
    private func plan(_ services: KubeObject..., hosts: Set<String> = []) -> [String: NodeAddressPlan.Share] {
        let nodes = [
            node("a", "172.30.0.1", "fd00::1"), node("b", "172.30.0.2"), node("c", "172.30.0.3", ready: "False"),
        ]
        let plan = NodeAddressPlan(services: services, nodes: nodes) { _ in hosts }
        return Dictionary(uniqueKeysWithValues: plan.shares.map { ($0.key.name, $0.value) })
    }

    @Test("they have the addresses of nodes that are ready, of their families")
    func families() {
        let plan = plan(
            service("one"), service("two", 81, ["ipFamilies": ["IPv6", "IPv4"]]),
            service("other", 82, ["loadBalancerClass": "cloud.org/lb"]))
        #expect(plan["one"] == .init(addresses: ["172.30.0.1", "172.30.0.2"], problem: nil))
        #expect(plan["two"]?.addresses == ["172.30.0.1", "172.30.0.2", "fd00::1"])
        #expect(plan["other"] == nil)
    }

    @Test("a port is the oldest Service's, and the others are told whose it is")
    func conflict() {
        let plan = plan(service("young", created: "2026-02-01T00:00:00Z"), service("old"))
        #expect(plan["old"]?.problem == nil && plan["old"]?.addresses.count == 2)
        #expect(plan["young"]?.addresses == [])
        #expect(plan["young"]?.problem == "port 80/TCP of the nodes is that of Service shop/old, which is older")
    }

    @Test("Services that want different addresses share a port")
    func addresses() {
        func wanting(_ name: String, _ addresses: String, created: String) -> KubeObject {
            var service = service(name, created: created)
            service.annotations = ["weft.dev/load-balancer-addresses": addresses]
            return service
        }
        let plan = plan(
            wanting("first", "172.30.0.1", created: "2026-01-01T00:00:00Z"),
            wanting("second", "172.30.0.2", created: "2026-01-02T00:00:00Z"),
            wanting("both", "172.30.0.1, 172.30.0.2", created: "2026-01-03T00:00:00Z"),
            service("any", created: "2026-01-04T00:00:00Z"))
        #expect(plan["first"] == .init(addresses: ["172.30.0.1"], problem: nil))
        #expect(plan["second"] == .init(addresses: ["172.30.0.2"], problem: nil))
        #expect(plan["both"]?.addresses == [])
        #expect(plan["both"]?.problem == "port 80/TCP of 172.30.0.1 is that of Service shop/first, which is older")
        #expect(plan["any"]?.addresses == [])
        #expect(plan["any"]?.problem == "port 80/TCP of the nodes is that of Service shop/first, which is older")
    }

    @Test("traffic that stays on its node comes to nodes with pods; wanted addresses are those alone")
    func local() {
        var wanting = service("wanting", 81)
        wanting.annotations = ["weft.dev/load-balancer-addresses": "172.30.0.2, 10.0.0.1"]
        let plan = plan(service("local", 80, ["externalTrafficPolicy": "Local"]), wanting, hosts: ["b"])
        #expect(plan["local"]?.addresses == ["172.30.0.2"])
        #expect(plan["wanting"]?.addresses == ["172.30.0.2"])
        #expect(plan["wanting"]?.problem == "10.0.0.1 is no address of a node")
    }

    @Test("on a live cluster the status follows nodes and Services")
    func live() async throws {
        try await LiveCluster.run { cluster in
            func addresses(_ name: String) async throws -> [String] {
                let service = try await cluster.client.get(.services, ObjectKey(namespace: "default", name: name))
                return service.status.list("loadBalancer", "ingress").map { $0.text("ip") }
            }
            func made(_ name: String) async throws {
                var service = service(name)
                service.namespace = "default"
                try await cluster.client.create(.services, service)
            }
            try await made("one")
            let first = try await cluster.client.create(.nodes, node("a", "172.30.0.1"))
            try await cluster.client.updateStatus(
                .nodes,
                {
                    var first = first
                    first.status = node("a", "172.30.0.1").status
                    return first
                }())
            try await cluster.eventually("one has the node's address") {
                let found = try await addresses("one")
                return (found == ["172.30.0.1"], "\(found)")
            }
            try await made("two")
            try await cluster.eventually("two is told that it has none") {
                let service = try await cluster.client.get(.services, ObjectKey(namespace: "default", name: "two"))
                let message = service.condition("weft.dev/LoadBalancerUnsatisfied")?.text("message") ?? ""
                return (message.contains("Service default/one"), message)
            }
            try await cluster.client.delete(.services, ObjectKey(namespace: "default", name: "one"))
            try await cluster.eventually("two has what one had") {
                let found = try await addresses("two")
                let service = try await cluster.client.get(.services, ObjectKey(namespace: "default", name: "two"))
                let isTold = service.condition("weft.dev/LoadBalancerUnsatisfied") != nil
                return (found == ["172.30.0.1"] && !isTold, "\(found)")
            }
        }
    }
}
