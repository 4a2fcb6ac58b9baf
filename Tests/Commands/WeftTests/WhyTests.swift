import Bytes
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

    private static func pod(
        _ name: String, _ address: String, meshed: Bool = false, ready: Bool = true, annotations: [String: String] = [:]
    ) -> KubeObject {
        var all: JSONValue = meshed ? ["mesh.weft.dev/status": "{}"] : [:]
        for (key, value) in annotations { all[key] = .string(value) }
        return object(
            "Pod", name,
            [
                "metadata": ["labels": ["app": .string(name)], "annotations": all],
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
        routes: [KubeObject] = [], to question: String = "shop/cart:80",
        annotations: (client: [String: String], server: [String: String]) = ([:], [:])
    ) throws -> WhyEvidence {
        let client = pod("web", "10.244.1.4", meshed: meshed.client, annotations: annotations.client)
        let server = pod("cart", "10.244.1.5", meshed: meshed.server, ready: ready, annotations: annotations.server)
        let node = object(
            "Node", "n1", namespace: "",
            [
                "spec": ["podCIDR": "10.244.1.0/24"],
                "status": ["addresses": [["type": "InternalIP", "address": "192.0.2.1"]]],
            ])
        let namespace = object("Namespace", "shop", namespace: "", [:])
        let slices = [slice(ready: ready)]
        let destination = try WhyDestination(
            question, namespace: "shop", fallback: "shop", services: [service], pods: [client, server])
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

    @Test("a port that no container tells of is doubtful")
    func undeclared() throws {
        #expect(Self.verdicts(try Self.evidence())["endpoints"] == .good)
        var evidence = try Self.evidence()
        evidence.slices[0].json["ports"] = [["name": "http", "port": 9999, "protocol": "TCP"]]
        #expect(Self.verdicts(evidence)["endpoints"] == .doubtful)
        #expect(Self.words(evidence).contains("no container of shop/cart tells of port 9999, only of 8080"))
        evidence.servers[0].json["spec"]?["containers"] = [["name": "c"]]
        #expect(Self.verdicts(evidence)["endpoints"] == .good)
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

    private static func verdicts(_ evidence: WhyEvidence) -> [String: Finding.Verdict] {
        Dictionary(WhyAnswer(evidence).findings.map { ($0.topic, $0.verdict) }) { first, _ in first }
    }

    private static func words(_ evidence: WhyEvidence) -> String { WhyAnswer(evidence).lines().joined(separator: "\n") }

    @Test("a port that annotations keep from the sidecar is called in plain text, whatever the mode")
    func excluded() throws {
        for annotations: (client: [String: String], server: [String: String]) in [
            ([:], ["traffic.sidecar.istio.io/excludeInboundPorts": "8080"]),
            ([:], ["mesh.weft.dev/includeInboundPorts": "9090"]),
        ] {
            var evidence = try Self.evidence(meshed: (false, true), annotations: annotations)
            evidence.proxies = [["namespace": "shop", "pod": "cart"]]
            evidence.workload = ["mode": "STRICT", "portModes": [:], "authorizationPolicies": [["action": "ALLOW"]]]
            #expect(Self.broken(evidence) == [], "\(Self.words(evidence))")
            #expect(Self.words(evidence).contains("excluded from capture by an annotation of shop/cart"))
        }
        var evidence = try Self.evidence(
            meshed: (true, true), annotations: (["mesh.weft.dev/excludeOutboundPorts": "80"], [:]))
        evidence.proxies = [["namespace": "shop", "pod": "cart"], ["namespace": "shop", "pod": "web"]]
        evidence.workload = [
            "mode": "STRICT", "portModes": ["8080": "STRICT"], "portModesFrom": ["8080": "shop/default"],
            "authorizationPolicies": [],
        ]
        #expect(Self.broken(evidence) == ["mode"])
        #expect(Self.words(evidence).contains("STRICT on port 8080 by PeerAuthentication shop/default"))
        #expect(Self.words(evidence).contains("out of what annotations of shop/web exclude"))
    }

    @Test("where mutual TLS is off nobody is told to be proven")
    func disabled() throws {
        var evidence = try Self.evidence(meshed: (true, true))
        evidence.workload = [
            "mode": "PERMISSIVE", "portModes": ["8080": "DISABLE"],
            "authorizationPolicies": [Self.policy("ALLOW", [Self.from(["principals": ["*"]])])],
        ]
        let words = Self.words(evidence)
        #expect(!words.contains("mutual TLS, ") && words.contains("mutual TLS is off at port 8080"))
        #expect(words.contains("DENIED: AuthorizationPolicy shop/p allows others, not 10.244.1.4, in plain text"))
    }

    @Test("a route that leads somewhere in part works in part; one that fails all on purpose does not")
    func partial() throws {
        func route(_ fault: String?, _ backends: String...) -> KubeObject {
            Self.object(
                "HTTPRoute", "canary",
                [
                    "metadata": ["annotations": fault.map { ["mesh.weft.dev/fault": .string($0)] } ?? [:]],
                    "spec": [
                        "parentRefs": [["group": "", "kind": "Service", "name": "cart"]],
                        "rules": .array(backends.map { ["backendRefs": [["name": .string($0), "port": 80]]] }),
                    ],
                    "status": [
                        "parents": [
                            [
                                "parentRef": ["kind": "Service", "name": "cart"],
                                "conditions": [
                                    ["type": "Accepted", "status": "True", "reason": "Accepted"],
                                    [
                                        "type": "ResolvedRefs", "status": backends.contains("gone") ? "False" : "True",
                                        "reason": backends.contains("gone") ? "BackendNotFound" : "ResolvedRefs",
                                    ],
                                ],
                            ]
                        ]
                    ],
                ])
        }
        func verdict(_ route: KubeObject, isMeshed: Bool = true) throws -> Finding.Verdict? {
            Self.verdicts(try Self.evidence(meshed: (isMeshed, false), routes: [route]))["route"]
        }
        #expect(try verdict(route(nil, "cart")) == .good)
        #expect(try verdict(route(nil, "cart", "gone")) == .doubtful)
        #expect(try verdict(route(nil, "gone")) == .bad)
        #expect(try verdict(route("abort=503:100%", "cart")) == .bad)
        #expect(try verdict(route("abort=503:10%,delay=1s:100%", "cart")) == .doubtful)
        #expect(try verdict(route("abort=503:100%", "cart"), isMeshed: false) == .good)
        let evidence = try Self.evidence(meshed: (true, false), routes: [route("delay=1s:5%", "cart")])
        #expect(
            Self.words(evidence).hasSuffix(
                "weft route fault shop/canary --off ends the fault that HTTPRoute shop/canary makes on purpose"))
    }

    @Test("routes that the asker may not see are not said to be none")
    func hidden() throws {
        var evidence = try Self.evidence()
        evidence.hidden = ["httproutes"]
        #expect(Self.words(evidence).contains("? route             you may not list httproutes"))
        #expect(!Self.words(evidence).contains("no HTTPRoute is for"))
    }

    @Test("an address is the Service's or the pod's that has it, else it is judged as it is")
    func address() throws {
        #expect(try Self.evidence(to: "10.96.0.9:80").destination.description == "shop/cart:80")
        #expect(try Self.evidence(to: "10.244.1.5:8080").destination.description == "shop/cart:8080")
        // Shared with a node, whose other ports are its own.
        let balanced = Self.object(
            "Service", "edge",
            [
                "spec": ["clusterIPs": ["10.96.0.8"], "ports": [["port": 443]]],
                "status": ["loadBalancer": ["ingress": [["ip": "192.0.2.1"]]]],
            ])
        for (place, found) in [("192.0.2.1:443", "shop/edge:443"), ("192.0.2.1:22", "192.0.2.1:22")] {
            let destination = try WhyDestination(place, namespace: "", fallback: "", services: [balanced], pods: [])
            #expect(destination.description == found)
        }
        let deny = Self.object("NetworkPolicy", "deny", ["spec": ["podSelector": [:], "policyTypes": ["Egress"]]])
        for (place, owner) in [
            ("192.0.2.1:22", "node n1"), ("198.51.100.7:443", "neither"), ("[2001:db8::1]:443", "neither"),
        ] {
            let open = try Self.evidence(to: place)
            #expect(open.destination.description == place)
            #expect(WhyAnswer(open).works && Self.words(open).contains(owner), "\(Self.words(open))")
        }
        #expect(Self.broken(try Self.evidence(policies: [deny], to: "198.51.100.7:443")) == ["NetworkPolicy"])
        #expect(throws: Refusal.self) { try Self.evidence(to: "198.51.100.7") }
    }

    @Test("only failures of what is asked about are told")
    func failures() throws {
        let evidence = try Self.evidence()
        func isFor(_ place: String) -> Bool {
            FailedRequest("2026-11-26T19:55:16.013Z 503 UH no_healthy_upstream GET \(place) 615865b1-ac56-cart-b84b")?
                .isFor(evidence.destination, evidence.servers) == true
        }
        for place in ["cart/", "cart.shop/x", "cart.shop.svc.cluster.local:80/", "10.96.0.9/", "10.244.1.5:8080/"] {
            #expect(isFor(place), "\(place)")
        }
        for place in [
            "ng.plain:9000/", "cart.other/", "cart-v2/", "10.244.1.5.example/", "10.244.1.9:15021/healthz/ready",
        ] {
            #expect(!isFor(place), "\(place)")
        }
        #expect(FailedRequest("none") == nil)
        var recent = try Self.evidence(meshed: (true, true))
        for (time, verdict) in [
            (Timestamp.now().rfc3339, Finding.Verdict.doubtful), ("2026-01-02T03:04:05Z", .neutral),
        ] {
            recent.sourceProxy = WhyEvidence.ProxyEvidence(pod: recent.source.key)
            recent.sourceProxy?.failures = [FailedRequest("\(time) 503 UF x GET cart/ 1")].compactMap { $0 }
            #expect(Self.verdicts(recent)["last errors"] == verdict)
        }
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

    @Test("what a policy lets through for a caller is said in words")
    func requests() {
        let caller = AuthorizationCheck.Caller(principal: Self.web, address: "10.244.1.4", port: 8080)
        let rules: JSONValue = [
            [
                "from": [["source": ["namespaces": ["shop"]]]],
                "to": [["operation": ["methods": ["GET", "HEAD"], "paths": ["/ok*"]]]],
                "when": [["key": "request.headers[x-t]", "values": ["1"]]],
            ], ["from": [["source": ["namespaces": ["other"]]]], "to": [["operation": ["paths": ["/secret"]]]]],
        ]
        let finding = AuthorizationCheck([Self.policy("ALLOW", rules)], caller).finding
        #expect(
            finding.sentences == [
                "AuthorizationPolicy shop/p allows some requests:",
                "  GET or HEAD /ok*, when request.headers[x-t] 1",
            ])
        let nobody = AuthorizationCheck([Self.policy("ALLOW", [])], caller).finding
        #expect(nobody.sentences == ["DENIED: AuthorizationPolicy shop/p allows nobody"])
        #expect(
            nobody.remedy
                == "add a rule with source principal cluster.local/ns/shop/sa/web to AuthorizationPolicy shop/p")
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
