import ClusterAPI
import JSON
import Policy
import ServiceProxy
import Testing

@testable import weft

@Suite("The whole way, and what stands in it")
struct WhyTests {
    private static func object(_ kind: String, _ name: String, namespace: String = "shop", _ fields: JSONValue)
        -> KubeObject
    {
        var object = KubeObject(apiVersion: "v1", kind: kind, namespace: namespace, name: name)
        for (key, value) in fields.object ?? [:] {
            if key == "metadata" {
                for (field, inner) in value.object ?? [:] { object.json["metadata"]?[field] = inner }
            } else {
                object.json[key] = value
            }
        }
        return object
    }

    private static func pod(_ name: String, _ address: String, meshed: Bool = false, ready: Bool = true) -> KubeObject {
        object(
            "Pod", name,
            [
                "metadata": [
                    "labels": ["app": .string(name)],
                    "annotations": meshed ? ["mesh.weft.dev/status": "{}"] : [:],
                ],
                "spec": [
                    "nodeName": "n1", "serviceAccountName": .string(name),
                    "containers": [["name": "c", "ports": [["containerPort": 8080]]]],
                ],
                "status": [
                    "podIP": .string(address), "podIPs": [["ip": .string(address)]], "phase": "Running",
                    "conditions": [["type": "Ready", "status": ready ? "True" : "False"]],
                ],
            ])
    }

    private static let service = object(
        "Service", "cart",
        [
            "spec": [
                "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "type": "ClusterIP", "selector": ["app": "cart"],
                "ports": [["name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080]],
            ]
        ])

    private static func slice(ready: Bool) -> KubeObject {
        object(
            "EndpointSlice", "cart-1",
            [
                "metadata": ["labels": ["kubernetes.io/service-name": "cart"]], "addressType": "IPv4",
                "ports": [["name": "http", "port": 8080, "protocol": "TCP"]],
                "endpoints": [
                    [
                        "addresses": ["10.244.1.5"], "conditions": ["ready": .bool(ready), "serving": .bool(ready)],
                        "targetRef": ["kind": "Pod", "name": "cart"], "nodeName": "n1",
                    ]
                ],
            ])
    }

    private static func evidence(
        policies: [KubeObject] = [], meshed: (client: Bool, server: Bool) = (false, false), ready: Bool = true,
        routes: [KubeObject] = []
    ) throws -> WhyEvidence {
        let client = pod("web", "10.244.1.4", meshed: meshed.client)
        let server = pod("cart", "10.244.1.5", meshed: meshed.server, ready: ready)
        let node = object(
            "Node", "n1", namespace: "",
            [
                "spec": ["podCIDR": "10.244.1.0/24"],
                "status": ["addresses": [["type": "InternalIP", "address": "192.0.2.1"]]],
            ])
        let namespace = object("Namespace", "shop", namespace: "", [:])
        let slices = [slice(ready: ready)]
        let destination = try WhyDestination(
            "shop/cart:80", namespace: "shop", fallback: "shop", services: [service], pods: [client, server])
        return WhyEvidence(
            source: client, destination: destination, servers: destination.servers(slices, [client, server]),
            policies: PolicyCluster(
                policies: policies, namespaces: [namespace], pods: [client, server], nodes: [node], services: [service]),
            trace: TraceObjects(
                cluster: TraceCluster(
                    services: [service], endpointSlices: slices, nodes: [node], pods: [client, server])),
            services: [service], slices: slices, pods: [client, server], routes: routes)
    }

    private static func broken(_ evidence: WhyEvidence) -> [String] {
        WhyAnswer(evidence).findings.filter { $0.verdict == .bad }.map(\.topic)
    }

    @Test("without a mesh and policies it works, and each line says so")
    func plain() throws {
        let answer = WhyAnswer(try Self.evidence())
        #expect(answer.works, "\(answer.lines().joined(separator: "\n"))")
        #expect(answer.title == "shop/web → shop/cart:80")
        let text = answer.lines().joined(separator: "\n")
        #expect(text.contains("cart.shop.svc.cluster.local is 10.96.0.9"))
        #expect(text.contains("1 of 1 ready"))
        #expect(text.contains("no sidecar at either end"))
        #expect(text.hasSuffix("It works, as far as can be told."))
        let wide = answer.lines(isWide: true)
        #expect(text.contains("lines of rules: -o wide") && wide.count > answer.lines().count)
        #expect(wide.contains { $0.contains("how, in table") } && !text.contains("how, in table"))
    }

    private static func policy(_ conditions: JSONValue...) -> KubeObject {
        object("AuthorizationPolicy", "p", ["status": ["conditions": .array(conditions)]])
    }

    @Test("a policy that does nothing is named, with what its status says; one that does something is not")
    func idlePolicies() throws {
        let accepted: JSONValue = ["type": "Accepted", "status": "True", "reason": "Accepted"]
        let refused: JSONValue = [
            "type": "Accepted", "status": "False", "reason": "Invalid", "message": "action CUSTOM is not supported",
        ]
        let idle: JSONValue = [
            "type": "weft.dev/Effective", "status": "False", "reason": "SelectsNothing", "message": "there is none",
        ]
        #expect(MeshPolicyRemark(Self.policy(accepted)) == nil && MeshPolicyRemark(Self.policy()) == nil)
        #expect(
            MeshPolicyRemark(Self.policy(refused, idle))?.sentence
                == "AuthorizationPolicy shop/p is not enforced: action CUSTOM is not supported")
        let remark = try #require(MeshPolicyRemark(Self.policy(accepted, idle)))
        #expect(remark.sentence == "AuthorizationPolicy shop/p has no effect: there is none")
        var evidence = try Self.evidence()
        evidence.remarks = [remark]
        #expect(WhyAnswer(evidence).lines().contains { $0.contains("idle policies") && $0.hasSuffix(remark.sentence) })
    }

    @Test("a policy that denies is named, and what would allow is said")
    func denied() throws {
        let policy = Self.object(
            "NetworkPolicy", "deny-all", ["spec": ["podSelector": [:], "policyTypes": ["Ingress"]]])
        let evidence = try Self.evidence(policies: [policy])
        #expect(Self.broken(evidence) == ["NetworkPolicy"])
        let text = WhyAnswer(evidence).lines().joined(separator: "\n")
        #expect(text.contains("DENIED by shop/deny-all"))
        #expect(text.contains("- let ingress from shop/web into shop/cart on port 8080 through"))
    }

    @Test("a Service whose endpoints are not ready says which pods to look at")
    func noEndpoints() throws {
        let evidence = try Self.evidence(ready: false)
        #expect(Self.broken(evidence).contains("endpoints"))
        let text = WhyAnswer(evidence).lines().joined(separator: "\n")
        #expect(text.contains("none of the 1 pods that Service shop/cart selects is ready"))
    }

    @Test("plain text to a strict workload is refused, and a route that is not accepted is named")
    func mesh() throws {
        let route = Self.object(
            "HTTPRoute", "canary",
            [
                "spec": [
                    "parentRefs": [["group": "", "kind": "Service", "name": "cart"]],
                    "rules": [["backendRefs": [["name": "gone", "port": 80]]]],
                ],
                "status": [
                    "parents": [
                        [
                            "parentRef": ["kind": "Service", "name": "cart"],
                            "conditions": [
                                ["type": "Accepted", "status": "True", "reason": "Accepted"],
                                [
                                    "type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound",
                                    "message": "Service gone does not exist",
                                ],
                            ],
                        ]
                    ]
                ],
            ])
        var evidence = try Self.evidence(meshed: (false, true), routes: [route])
        evidence.proxies = [["namespace": "shop", "pod": "cart", "resources": ["lds": ["status": "SYNCED"]]]]
        evidence.workload = ["mode": "PERMISSIVE", "portModes": ["8080": "STRICT"], "authorizationPolicies": []]
        #expect(Self.broken(evidence) == ["route", "mode"])
        let text = WhyAnswer(evidence).lines().joined(separator: "\n")
        #expect(text.contains("STRICT on port 8080: plain text is refused"))
        #expect(text.contains("BackendNotFound Service gone does not exist"))
        evidence.workload?["portModes"] = ["8080": "PERMISSIVE"]
        #expect(Self.broken(evidence) == ["route"])
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var policies: [JSONValue]
        var principal: String?
        var verdict: Finding.Verdict
        var testDescription: String { "\(policies) for \(principal ?? "nobody")" }
    }

    private static let web = "spiffe://cluster.local/ns/shop/sa/web"

    private static func policy(_ action: String, _ rules: JSONValue, dryRun: Bool = false) -> JSONValue {
        [
            "namespace": "shop", "name": "p", "action": .string(action), "dryRun": .bool(dryRun), "rules": rules,
        ]
    }

    private static func from(_ source: JSONValue) -> JSONValue { ["from": [["source": source]]] }

    static let rows: [Row] = [
        Row(policies: [], principal: nil, verdict: .good),
        Row(policies: [policy("ALLOW", [])], principal: web, verdict: .bad),
        Row(policies: [policy("ALLOW", [[:]])], principal: nil, verdict: .good),
        Row(policies: [policy("ALLOW", [from(["namespaces": ["shop"]])])], principal: web, verdict: .good),
        Row(policies: [policy("ALLOW", [from(["namespaces": ["other"]])])], principal: web, verdict: .bad),
        Row(policies: [policy("ALLOW", [from(["namespaces": ["shop"]])])], principal: nil, verdict: .bad),
        Row(
            policies: [policy("ALLOW", [from(["principals": ["cluster.local/ns/shop/sa/web"]])])], principal: web,
            verdict: .good),
        Row(policies: [policy("ALLOW", [from(["principals": ["*/sa/web"]])])], principal: web, verdict: .good),
        Row(policies: [policy("ALLOW", [from(["serviceAccounts": ["web"]])])], principal: web, verdict: .good),
        Row(policies: [policy("ALLOW", [from(["notNamespaces": ["shop"]])])], principal: web, verdict: .bad),
        Row(policies: [policy("ALLOW", [from(["ipBlocks": ["10.244.0.0/16"]])])], principal: nil, verdict: .good),
        Row(
            policies: [policy("ALLOW", [["to": [["operation": ["methods": ["GET"]]]]]])], principal: web,
            verdict: .doubtful),
        Row(
            policies: [policy("ALLOW", [["to": [["operation": ["ports": ["9090"]]]]]])], principal: web, verdict: .bad),
        Row(policies: [policy("DENY", [from(["namespaces": ["shop"]])])], principal: web, verdict: .bad),
        Row(policies: [policy("DENY", [from(["namespaces": ["shop"]])], dryRun: true)], principal: web, verdict: .good),
        Row(
            policies: [policy("DENY", [["to": [["operation": ["paths": ["/admin"]]]]]])], principal: web,
            verdict: .doubtful),
    ]

    @Test("AuthorizationPolicies for one caller", arguments: rows)
    func authorization(row: Row) {
        let caller = AuthorizationCheck.Caller(principal: row.principal, address: "10.244.1.4", port: 8080)
        #expect(AuthorizationCheck(row.policies, caller).finding.verdict == row.verdict)
    }

    @Test("a request is one line, with who the other end is")
    func tap() {
        let line = TapPrinter.line(
            [
                "time": "2026-11-26T14:00:01.234Z", "direction": "inbound", "status": 503, "durationMs": 1.5,
                "method": "GET", "host": "cart", "path": "/x", "peer": "spiffe://cluster.local/ns/shop/sa/web",
                "flags": "UF",
            ], "cart-1", width: 8, isWide: false)
        #expect(line == "14:00:01.234 cart-1    <- 503 1.5 ms       GET cart/x  shop/web  UF")
        #expect(
            TapPrinter.line(["missed": 3], "cart-1", width: 6, isWide: false)
                == "cart-1  3 requests were not told in time")
        #expect(TapPrinter.short("cart.example") == "cart.example")
    }
}
