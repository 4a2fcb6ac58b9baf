import ClusterAPI
import JSON
import Testing

@testable import PodRuntime

@Suite("a container's environment")
struct EnvironmentTests {
    @Test(
        "references are expanded as the API says",
        arguments: [
            ("plain", "plain"), ("$(A)", "1"), ("x$(A)y$(B)z", "x1y2z"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"),
            ("$(MISSING)", "$(MISSING)"), ("$A", "$A"), ("$(A", "$(A"), ("$", "$"), ("$$", "$"), ("$()", "$()"),
            ("", ""),
            ("é$(A)é", "é1é"), ("$($(A))", "$($(A))"),
        ])
    func expansion(text: String, expected: String) {
        #expect(EnvironmentBuilder.expand(text) { ["A": "1", "B": "2"][$0] } == expected)
    }

    private func build(
        _ container: JSONValue, configMaps: [String: [String: String]] = [:], secrets: [String: [String: String]] = [:],
        metadata: JSONValue = [:], variables: [(name: String, value: String)] = []
    ) throws -> [String] {
        let pod = try PodFixture.spec(containers: [PodFixture.container("main", container)], metadata: metadata)
        return try EnvironmentBuilder(
            pod: pod, container: pod.containers[0],
            facts: PodFacts(podIPs: ["10.1.0.9", "fd00::9"], hostIPs: ["192.0.2.1"], nodeName: "node-1"),
            nodeCapacity: ResourceRequirements.Amounts(milliCPU: 4000, memory: 8 << 30), serviceVariables: variables,
            configMap: { configMaps[$0] }, secret: { secrets[$0] }
        ).build().map { "\($0.name)=\($0.value)" }
    }

    @Test("later sources win over earlier ones, and a value may use what stands before it")
    func order() throws {
        let container: JSONValue = [
            "envFrom": [["configMapRef": ["name": "c"]], ["prefix": "P_", "secretRef": ["name": "s"]]],
            "env": [
                ["name": "A", "value": "own"], ["name": "B", "value": "$(A)-$(P_K)-$(LATER)"],
                ["name": "LATER", "value": "x"],
            ],
        ]
        let result = try build(
            container, configMaps: ["c": ["A": "map", "SVC": "map"]], secrets: ["s": ["K": "k"]],
            variables: [("SVC", "service"), ("Z", "z")])
        #expect(result == ["SVC=map", "Z=z", "A=own", "P_K=k", "B=own-k-$(LATER)", "LATER=x"])
    }

    @Test("fields of the pod and of its resources become values")
    func fields() throws {
        func field(_ name: String, _ path: String) -> JSONValue {
            ["name": .string(name), "valueFrom": ["fieldRef": ["fieldPath": .string(path)]]]
        }
        func resource(_ name: String, _ resource: String, _ divisor: String) -> JSONValue {
            let reference: JSONValue = ["resource": .string(resource), "divisor": .string(divisor)]
            return ["name": .string(name), "valueFrom": ["resourceFieldRef": reference]]
        }
        let env: JSONValue = [
            field("IP", "status.podIP"), field("IPS", "status.podIPs"), field("NODE", "spec.nodeName"),
            field("LABEL", "metadata.labels['app']"), field("UID", "metadata.uid"), resource("CPU", "limits.cpu", "0"),
            resource("MILLI", "limits.cpu", "1m"), resource("MEM", "requests.memory", "1Mi"),
            resource("ALL", "limits.memory", "1Gi"),
        ]
        let result = try build(
            ["env": env, "resources": ["limits": ["cpu": "1500m"], "requests": ["memory": "100500Ki"]]],
            metadata: ["labels": ["app": "cart"]])
        #expect(
            result == [
                "IP=10.1.0.9", "IPS=10.1.0.9,fd00::9", "NODE=node-1", "LABEL=cart", "UID=0f0e", "CPU=2", "MILLI=1500",
                "MEM=99", "ALL=8",
            ])
    }

    @Test("what is missing and not optional is said by name")
    func missing() throws {
        func reference(_ kind: String, optional: Bool) -> JSONValue {
            let key: JSONValue = ["name": "n", "key": "k", "optional": .bool(optional)]
            return ["env": [["name": "X", "valueFrom": [(kind): key]]]]
        }
        #expect(try build(reference("configMapKeyRef", optional: true)).isEmpty)
        #expect(throws: EnvironmentBuilder.Missing(description: "configmap \"n\" not found")) {
            try build(reference("configMapKeyRef", optional: false))
        }
        #expect(throws: EnvironmentBuilder.Missing(description: "couldn't find key k in Secret shop/n")) {
            try build(reference("secretKeyRef", optional: false), secrets: ["n": [:]])
        }
        #expect(throws: EnvironmentBuilder.Missing(description: "secret \"n\" not found")) {
            try build(["envFrom": [["secretRef": ["name": "n"]]]])
        }
    }

    @Test("services of the namespace are variables in both old forms; kubernetes always, the rest only with links")
    func services() {
        func service(_ namespace: String, _ name: String, _ ip: String, _ ports: [ServiceVariables.Port])
            -> ServiceVariables.Service
        {
            ServiceVariables.Service(key: ObjectKey(namespace: namespace, name: name), clusterIP: ip, ports: ports)
        }
        let services = [
            service(
                "shop", "cart-db", "10.96.0.7",
                [
                    ServiceVariables.Port(name: "sql", port: 5432, transport: "TCP"),
                    ServiceVariables.Port(name: "", port: 53, transport: "UDP"),
                ]),
            service("other", "hidden", "10.96.0.8", [ServiceVariables.Port(name: "", port: 1, transport: "TCP")]),
            service(
                "default", "kubernetes", "10.96.0.1",
                [ServiceVariables.Port(name: "https", port: 443, transport: "TCP")]),
        ]
        func names(_ links: Bool) -> [String] {
            ServiceVariables.build(services, namespace: "shop", enableServiceLinks: links).map {
                "\($0.name)=\($0.value)"
            }
        }
        #expect(
            names(true).prefix(11) == [
                "CART_DB_SERVICE_HOST=10.96.0.7", "CART_DB_SERVICE_PORT=5432", "CART_DB_SERVICE_PORT_SQL=5432",
                "CART_DB_PORT=tcp://10.96.0.7:5432", "CART_DB_PORT_5432_TCP=tcp://10.96.0.7:5432",
                "CART_DB_PORT_5432_TCP_PROTO=tcp", "CART_DB_PORT_5432_TCP_PORT=5432",
                "CART_DB_PORT_5432_TCP_ADDR=10.96.0.7",
                "CART_DB_PORT_53_UDP=udp://10.96.0.7:53", "CART_DB_PORT_53_UDP_PROTO=udp",
                "CART_DB_PORT_53_UDP_PORT=53",
            ])
        #expect(names(false).allSatisfy { $0.hasPrefix("KUBERNETES_") })
        #expect(!names(true).contains { $0.contains("HIDDEN") })
    }
}
