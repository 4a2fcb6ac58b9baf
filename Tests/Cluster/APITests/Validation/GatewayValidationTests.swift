import ClusterAPI
import JSON
import Testing

/// One row: the spec of an object of gateway.networking.k8s.io before its defaults, and the fields that are refused.
struct GatewayCase: Sendable, CustomTestStringConvertible {
    var kind: String
    var name: String
    var spec: JSONValue
    var fields: [String] = []
    var testDescription: String { "\(kind): \(name)" }
}

private func gateway(_ listeners: JSONValue...) -> JSONValue {
    ["gatewayClassName": "weft", "listeners": .array(listeners)]
}
private func listener(_ changes: JSONObject = [:]) -> JSONValue {
    var listener: JSONObject = ["name": "web", "port": 80, "protocol": "HTTP"]
    for member in changes.members { listener[member.key] = member.value }
    return .object(listener)
}
private func route(_ rules: JSONValue...) -> JSONValue { ["rules": .array(rules)] }
private func matching(_ match: JSONValue) -> JSONValue { route(["matches": [match]]) }
private func filtering(_ filters: JSONValue...) -> JSONValue { route(["filters": .array(filters)]) }
private let backend: JSONValue = ["name": "cart", "port": 80]
private let certificate: JSONValue = ["certificateRefs": [["name": "cert"]]]

private let gateways = [
    GatewayCase(kind: "Gateway", name: "plain", spec: gateway(listener())),
    GatewayCase(kind: "Gateway", name: "no listener", spec: gateway(), fields: ["spec.listeners"]),
    GatewayCase(
        kind: "Gateway", name: "names twice", spec: gateway(listener(), listener(["port": 81])),
        fields: ["spec.listeners[1].name"]),
    GatewayCase(
        kind: "Gateway", name: "one place twice", spec: gateway(listener(), listener(["name": "other"])),
        fields: ["spec.listeners[1]"]),
    GatewayCase(
        kind: "Gateway", name: "hosts share a port",
        spec: gateway(listener(["hostname": "a.test"]), listener(["name": "b", "hostname": "*.b.test"]))),
    GatewayCase(
        kind: "Gateway", name: "TLS where there is none", spec: gateway(listener(["tls": certificate])),
        fields: ["spec.listeners[0].tls"]),
    GatewayCase(
        kind: "Gateway", name: "HTTPS", spec: gateway(listener(["protocol": "HTTPS", "tls": certificate]))),
    GatewayCase(
        kind: "Gateway", name: "HTTPS passed through",
        spec: gateway(listener(["protocol": "HTTPS", "tls": ["mode": "Passthrough"]])),
        fields: ["spec.listeners[0].tls.mode"]),
    GatewayCase(
        kind: "Gateway", name: "terminated without certificate",
        spec: gateway(listener(["protocol": "TLS", "tls": ["mode": "Terminate"]])),
        fields: ["spec.listeners[0].tls.certificateRefs"]),
    GatewayCase(
        kind: "Gateway", name: "a host of TCP", spec: gateway(listener(["protocol": "TCP", "hostname": "a.test"])),
        fields: ["spec.listeners[0].hostname"]),
    GatewayCase(
        kind: "Gateway", name: "port 0", spec: gateway(listener(["port": 0])), fields: ["spec.listeners[0].port"]),
    GatewayCase(
        kind: "GatewayClass", name: "controller without path", spec: ["controllerName": "weft.dev"],
        fields: ["spec.controllerName"]),
    GatewayCase(kind: "GatewayClass", name: "plain", spec: ["controllerName": "weft.dev/gateway"]),
    GatewayCase(
        kind: "ReferenceGrant", name: "plain",
        spec: [
            "from": [["group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "a"]],
            "to": [["group": "", "kind": "Service"]],
        ]),
    GatewayCase(
        kind: "ReferenceGrant", name: "nothing", spec: ["from": [], "to": []], fields: ["spec.from", "spec.to"]),
    GatewayCase(
        kind: "BackendTLSPolicy", name: "two kinds of trust",
        spec: [
            "targetRefs": [["group": "", "kind": "Service", "name": "a"]],
            "validation": [
                "hostname": "a.test", "wellKnownCACertificates": "System",
                "caCertificateRefs": [["group": "", "kind": "ConfigMap", "name": "ca"]],
            ],
        ], fields: ["spec.validation.wellKnownCACertificates"]),
]

private let routes = [
    GatewayCase(kind: "HTTPRoute", name: "nothing", spec: [:]),
    GatewayCase(
        kind: "HTTPRoute", name: "no traffic to one",
        spec: route([
            "backendRefs": [
                ["name": "cart", "port": 80, "weight": 0], ["name": "cart-v2", "port": 80, "weight": 1_000_000],
            ]
        ])),
    GatewayCase(
        kind: "HTTPRoute", name: "weight", spec: route(["backendRefs": [["name": "a", "port": 80, "weight": -1]]]),
        fields: ["spec.rules[0].backendRefs[0].weight"]),
    GatewayCase(
        kind: "HTTPRoute", name: "Service without port", spec: route(["backendRefs": [["name": "a"]]]),
        fields: ["spec.rules[0].backendRefs[0].port"]),
    GatewayCase(
        kind: "HTTPRoute", name: "kind", spec: route(["backendRefs": [["name": "a", "port": 80, "kind": "*"]]]),
        fields: ["spec.rules[0].backendRefs[0].kind"]),
    GatewayCase(
        kind: "HTTPRoute", name: "an IP as host", spec: ["hostnames": ["*.*.test"]], fields: ["spec.hostnames[0]"]),
    GatewayCase(
        kind: "HTTPRoute", name: "relative path", spec: matching(["path": ["type": "Exact", "value": "a"]]),
        fields: ["spec.rules[0].matches[0].path.value"]),
    GatewayCase(
        kind: "HTTPRoute", name: "path upwards", spec: matching(["path": ["value": "/a/../b"]]),
        fields: ["spec.rules[0].matches[0].path.value"]),
    GatewayCase(
        kind: "HTTPRoute", name: "half an escape", spec: matching(["path": ["value": "/a%2"]]),
        fields: ["spec.rules[0].matches[0].path.value"]),
    GatewayCase(
        kind: "HTTPRoute", name: "expressions may be anything",
        spec: matching(["path": ["type": "RegularExpression", "value": "a|b"]])),
    GatewayCase(
        kind: "HTTPRoute", name: "a header twice",
        spec: matching(["headers": [["name": "A", "value": "1"], ["name": "a", "value": "2"]]]),
        fields: ["spec.rules[0].matches[0].headers[1].name"]),
    GatewayCase(
        kind: "HTTPRoute", name: "redirect with backends",
        spec: route(["filters": [["type": "RequestRedirect", "requestRedirect": [:]]], "backendRefs": [backend]]),
        fields: ["spec.rules[0].backendRefs"]),
    GatewayCase(
        kind: "HTTPRoute", name: "filter of another type",
        spec: filtering(["type": "URLRewrite", "requestRedirect": ["port": 81]]),
        fields: ["spec.rules[0].filters[0].requestRedirect", "spec.rules[0].filters[0].urlRewrite"]),
    GatewayCase(
        kind: "HTTPRoute", name: "prefix of an exact path",
        spec: route([
            "matches": [["path": ["type": "Exact", "value": "/a"]]],
            "filters": [
                [
                    "type": "URLRewrite",
                    "urlRewrite": ["path": ["type": "ReplacePrefixMatch", "replacePrefixMatch": ""]],
                ]
            ],
        ]), fields: ["spec.rules[0].matches"]),
    GatewayCase(
        kind: "HTTPRoute", name: "prefix taken away",
        spec: route([
            "matches": [["path": ["value": "/a"]]],
            "filters": [
                [
                    "type": "URLRewrite",
                    "urlRewrite": ["path": ["type": "ReplacePrefixMatch", "replacePrefixMatch": ""]],
                ]
            ],
        ])),
    GatewayCase(
        kind: "HTTPRoute", name: "a line in a header",
        spec: filtering([
            "type": "RequestHeaderModifier", "requestHeaderModifier": ["set": [["name": "a", "value": "b\r\nc"]]],
        ]), fields: ["spec.rules[0].filters[0].requestHeaderModifier.set[0].value"]),
    GatewayCase(
        kind: "HTTPRoute", name: "one try longer than all",
        spec: route(["timeouts": ["request": "1s", "backendRequest": "1s500ms"]]),
        fields: ["spec.rules[0].timeouts.backendRequest"]),
    GatewayCase(
        kind: "HTTPRoute", name: "no time-out", spec: route(["timeouts": ["request": "0s", "backendRequest": "9s"]])),
    GatewayCase(
        kind: "HTTPRoute", name: "duration", spec: route(["timeouts": ["request": "1.5s"]]),
        fields: ["spec.rules[0].timeouts.request"]),
    GatewayCase(
        kind: "HTTPRoute", name: "one parent twice", spec: ["parentRefs": [["name": "g"], ["name": "g"]]],
        fields: ["spec.parentRefs[1]", "spec.parentRefs[1]"]),
    GatewayCase(
        kind: "HTTPRoute", name: "two sections of a parent",
        spec: ["parentRefs": [["name": "g", "sectionName": "a"], ["name": "g", "sectionName": "b"]]]),
    GatewayCase(
        kind: "GRPCRoute", name: "an empty method", spec: matching(["method": [:]]),
        fields: ["spec.rules[0].matches[0].method.service"]),
    GatewayCase(
        kind: "GRPCRoute", name: "method", spec: matching(["method": ["service": "a.b.C", "method": "Get"]])),
    GatewayCase(
        kind: "GRPCRoute", name: "bad method", spec: matching(["method": ["service": "a..C", "method": "1"]]),
        fields: ["spec.rules[0].matches[0].method.method", "spec.rules[0].matches[0].method.service"]),
    GatewayCase(
        kind: "TLSRoute", name: "an address", spec: ["hostnames": ["10.0.0.1"], "rules": [["backendRefs": [backend]]]],
        fields: ["spec.hostnames[0]"]),
    GatewayCase(kind: "TCPRoute", name: "no rule", spec: [:], fields: ["spec.rules"]),
    GatewayCase(kind: "TCPRoute", name: "plain", spec: route(["backendRefs": [backend]])),
]

@Suite("What the Gateway API refuses")
struct GatewayValidationTests {
    @Test("gateways and what belongs to them", arguments: gateways)
    func gatewayKinds(row: GatewayCase) { check(row) }

    @Test("routes", arguments: routes)
    func routeKinds(row: GatewayCase) { check(row) }

    private func check(_ row: GatewayCase) {
        let kind = GroupVersionKind(group: "gateway.networking.k8s.io", version: "v1", kind: row.kind)
        var object: JSONValue = ["metadata": ["name": "x", "namespace": "shop"], "spec": row.spec]
        if row.kind == "GatewayClass" { object["metadata"] = ["name": "x"] }
        Defaulting.apply(to: &object, of: kind)
        let errors = ObjectValidation.create(object, kind, namespaced: row.kind != "GatewayClass")
        #expect(errors.map(\.path.description) == row.fields, "\(errors)")
    }

    @Test("defaults are those of the custom resources, and a weight of nothing stays")
    func defaults() throws {
        let kind = GroupVersionKind(group: "gateway.networking.k8s.io", version: "v1beta1", kind: "HTTPRoute")
        var object = try Conformance.shared.conform(
            ["spec": ["parentRefs": [["name": "g"]], "rules": [["backendRefs": [["name": "a", "weight": 0]]]]]],
            to: kind
        ).object
        Defaulting.apply(to: &object, of: kind)
        let once = object
        Defaulting.apply(to: &object, of: kind)
        #expect(object == once)
        #expect(
            object["spec"] == [
                "parentRefs": [["group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"]],
                "rules": [
                    [
                        "matches": [["path": ["type": "PathPrefix", "value": "/"]]],
                        "backendRefs": [["group": "", "kind": "Service", "name": "a", "weight": 0]],
                    ]
                ],
            ])
    }

    @Test(
        "durations of GEP-2257",
        arguments: [
            ("10s", 10_000), ("1h30m", 5_400_000), ("500ms", 500), ("0s", 0), ("1h1m1s1ms", 3_661_001), ("", nil),
            ("s", nil),
            ("1", nil), ("123456s", nil), ("-1s", nil), ("1.5s", nil), ("1s1s1s1s1s", nil), ("1d", nil),
        ] as [(String, Int64?)])
    func durations(text: String, milliseconds: Int64?) {
        #expect(GatewayDuration(text)?.milliseconds == milliseconds)
    }
}
