import Bytes
import ClusterAPI
import JSON
import TLS
import Testing

@testable import Discovery
@testable import MeshControl
@testable import XDS

/// A cluster with a class of ours, as objects, and what its gateways are told, as JSON by kind and name.
struct GatewayWorld {
    var model = MeshModel(domain: "cluster.local")
    var said: [ResourceKind: [String: JSONValue]] = [:]
    var statuses: Set<StatusTarget> = []
    /// What the last call of `publish` spoke of.
    var spoken: Set<String> = []

    static let group = "gateway.networking.k8s.io"

    init() throws {
        try set("GatewayClass", "weft", namespace: "", ["controllerName": "weft.dev/gateway"])
        for name in ["shop", "web"] {
            try set("Namespace", name, namespace: "", labels: ["kubernetes.io/metadata.name": name], [:])
        }
    }

    /// Makes or changes an object, or deletes it: nil.
    mutating func set(
        _ kind: String, _ name: String, namespace: String = "shop", created: String = "2026-01-01T00:00:00Z",
        generation: Int64 = 1, labels: [String: String] = [:], _ spec: JSONValue?, more: JSONObject = [:]
    ) throws {
        let isGateway = !["Service", "Secret", "Namespace", "ConfigMap"].contains(kind)
        var object = KubeObject(
            apiVersion: isGateway ? "\(Self.group)/v1" : "v1", kind: kind, namespace: namespace, name: name)
        object.labels = labels
        object.json["metadata"]?["creationTimestamp"] = .string(created)
        object.json["metadata"]?["generation"] = .int(generation)
        object.json["metadata"]?["uid"] = .string("\(kind)-\(namespace)-\(name)")
        if let spec { object.spec = spec }
        for (name, value) in more { object.json[name] = value }
        var json = object.json
        Defaulting.apply(to: &json, of: GroupVersionKind(group: isGateway ? Self.group : "", version: "v1", kind: kind))
        let final = KubeObject(json: json)
        let key = object.key
        switch kind {
        case "GatewayClass": model.set(spec == nil ? nil : MeshGatewayClass(final), key)
        case "Gateway": model.set(spec == nil ? nil : MeshGateway(final), key)
        case "Namespace": model.set(spec == nil ? nil : MeshNamespace(final), key)
        case "Service": model.set(spec == nil ? nil : MeshService(final), key)
        case "Secret": model.set(spec == nil ? nil : MeshSecret(final), key)
        case "ConfigMap": model.set(spec == nil ? nil : MeshAuthorities(final), key)
        case "ReferenceGrant": model.set(spec == nil ? nil : MeshGrant(final), key)
        case "ListenerSet": model.set(spec == nil ? nil : MeshListenerSet(final), key)
        case "BackendTLSPolicy": model.set(spec == nil ? nil : BackendTLSPolicy(final), key)
        default:
            let route = RouteKey(kind: try #require(RouteKind(rawValue: kind)), key: key)
            model.set(spec == nil ? nil : try MeshRoute(final), route)
        }
    }

    mutating func service(_ name: String, namespace: String = "shop", port: Int64 = 80) throws {
        try set(
            "Service", name, namespace: namespace,
            ["clusterIPs": ["10.96.0.9"], "ports": [["name": "web", "port": .int(port)]]])
    }

    /// A gateway named `edge`.
    mutating func gateway(_ listeners: JSONValue..., more: JSONObject = [:]) throws {
        var spec: JSONObject = ["gatewayClassName": "weft", "listeners": .array(listeners)]
        for (name, value) in more { spec[name] = value }
        try set("Gateway", "edge", .object(spec))
    }

    mutating func route(
        _ name: String, kind: String = "HTTPRoute", namespace: String = "shop", hostnames: [String] = [],
        created: String = "2026-01-01T00:00:00Z", parent: JSONObject = [:], _ rules: JSONValue...
    ) throws {
        var reference: JSONObject = ["name": "edge", "namespace": "shop"]
        for (name, value) in parent { reference[name] = value }
        try set(
            kind, name, namespace: namespace, created: created,
            [
                "parentRefs": [.object(reference)], "hostnames": .array(hostnames.map { .string($0) }),
                "rules": .array(rules),
            ])
    }

    mutating func certificate(_ secret: String, namespace: String = "shop", name: String = "*.example.com") throws {
        let authority = try CertificateAuthority.create(commonName: "test")
        let identity = try authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: name), names: AlternativeNames(dns: [name]), purpose: .server))
        try set(
            "Secret", secret, namespace: namespace, [:],
            more: [
                "data": [
                    "tls.crt": .string(Base64.encode(Array(identity.chain[0].pem.utf8))),
                    "tls.key": .string(Base64.encode(Array(identity.key.pem.utf8))),
                ]
            ])
    }

    mutating func publish() throws {
        _ = model.changes()
        let changes = model.gatewayChanges()
        #expect(changes.problems.isEmpty)
        statuses = changes.statuses
        spoken = []
        for change in changes.gateways.values.joined() {
            spoken.insert("\(change.kind.service) \(change.name)")
            guard let bytes = change.message else {
                said[change.kind]?[change.name] = nil
                continue
            }
            let type = try #require(Message(change.kind.rawValue)?.type)
            let message = try Message(binary: bytes, type: type)
            // The API's own rules hold.
            _ = try ConfigNode(message, from: ConfigText(name: change.name))
            said[change.kind, default: [:]][change.name] = message.json()
        }
    }

    /// The conditions of something's status as `Type=Status:Reason`, of the first parent or of one listener.
    func conditions(_ target: StatusTarget, listener: String? = nil) -> [String] {
        let status = model.status(target, ProxyRefusals(), now: Timestamp(seconds: 0))?.patch["status"] ?? .null
        let owner =
            listener.map { name in status.list("listeners").first { $0.text("name") == name } ?? .null }
            ?? status.list("parents").first ?? status.list("ancestors").first ?? status
        return owner.list("conditions").map { "\($0.text("type"))=\($0.text("status")):\($0.text("reason"))" }
    }

    func hosts(_ table: String = "http.80") -> [String: [String]] {
        (said[.routeConfiguration]?[table]?.list("virtual_hosts") ?? []).reduce(into: [:]) { all, host in
            all[host.list("domains").first?.string ?? ""] = host.list("routes").map { route in
                route.text("name")
                    + (route["direct_response"] == nil
                        ? "" : " \(route[path: "direct_response"]?.number("status") ?? 0)")
            }
        }
    }
}

func backend(_ name: String, _ weight: Int64 = 1, port: Int64 = 80, in namespace: String? = nil) -> JSONValue {
    var reference: JSONValue = ["name": .string(name), "port": .int(port), "weight": .int(weight)]
    if let namespace { reference["namespace"] = .string(namespace) }
    return reference
}

func toCart(_ path: String = "/") -> JSONValue {
    ["matches": [["path": ["value": .string(path)]]], "backendRefs": [backend("cart")]]
}

private func http(_ name: String, _ hostname: String = "", port: Int64 = 80, from: String = "Same") -> JSONValue {
    var listener: JSONValue = [
        "name": .string(name), "port": .int(port), "protocol": "HTTP",
        "allowedRoutes": ["namespaces": ["from": .string(from)]],
    ]
    if !hostname.isEmpty { listener["hostname"] = .string(hostname) }
    return listener
}

private func https(_ name: String, _ hostname: String = "", secret: String = "tls", in namespace: String? = nil)
    -> JSONValue
{
    var reference: JSONValue = ["name": .string(secret)]
    if let namespace { reference["namespace"] = .string(namespace) }
    var listener: JSONValue = [
        "name": .string(name), "port": 443, "protocol": "HTTPS",
        "tls": ["mode": "Terminate", "certificateRefs": [reference]],
    ]
    if !hostname.isEmpty { listener["hostname"] = .string(hostname) }
    return listener
}

@Suite("What Gateways and their routes mean to proxies")
struct GatewayModelTests {
    private static let edge = ObjectKey(namespace: "shop", name: "edge")

    private static func route(_ name: String, _ kind: RouteKind = .http, _ namespace: String = "shop") -> StatusTarget {
        .route(RouteKey(kind: kind, key: ObjectKey(namespace: namespace, name: name)))
    }

    @Test("a route is attached, its cluster comes with it, and both go with it")
    func simple() throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.service("other")
        try world.gateway(http("web"))
        try world.route("r", toCart())
        try world.publish()
        #expect(world.hosts() == ["*": ["shop/r/0"]])
        #expect(world.said[.cluster]?.keys.map { $0 } == ["outbound|80||cart.shop.svc.cluster.local"])
        #expect(world.said[.listener]?.keys.map { $0 } == ["0.0.0.0_80"])
        #expect(world.conditions(Self.route("r")) == ["Accepted=True:Accepted", "ResolvedRefs=True:ResolvedRefs"])
        #expect(world.model.gateways.states[Self.edge]?.attached == [1])
        try world.set("HTTPRoute", "r", nil)
        try world.publish()
        #expect(world.hosts() == ["*": []])
        #expect(world.said[.cluster]?.isEmpty ?? true)
        try world.set("Gateway", "edge", nil)
        try world.publish()
        let left = world.said.values.flatMap(\.keys)
        #expect(left == [])
    }

    @Test("hostnames of listener and route have to meet, and the most specific listener alone has a name")
    func hostnames() throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.gateway(
            http("any"), http("wild", "*.example.com"), http("foo", "foo.example.com"),
            http("deep", "*.deep.example.com"))
        try world.route("all", parent: ["sectionName": "any"], toCart())
        try world.route(
            "wild", hostnames: ["*.example.com", "foo.example.com"], parent: ["sectionName": "wild"], toCart())
        try world.route("foo", hostnames: ["foo.example.com", "bar.org"], parent: ["sectionName": "foo"], toCart("/a"))
        try world.route("none", hostnames: ["bar.org"], parent: ["sectionName": "foo"], toCart())
        try world.publish()
        #expect(
            world.hosts() == [
                "*": ["shop/all/0"], "*.example.com": ["shop/wild/0"],
                "foo.example.com": ["shop/foo/0", "shop/foo/0"], "*.deep.example.com": [],
            ])
        #expect(world.conditions(Self.route("none")).first == "Accepted=False:NoMatchingListenerHostname")
    }

    @Test("what a name's own routes do not match, routes of wildcards may")
    func ladder() throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.gateway(http("web"))
        try world.route("all", toCart("/all"))
        try world.route("wild", hostnames: ["*.example.com"], toCart("/wild"))
        try world.route("one", hostnames: ["a.example.com"], toCart("/"))
        try world.publish()
        #expect(
            world.hosts()["a.example.com"] == [
                "shop/one/0", "shop/wild/0", "shop/wild/0", "shop/all/0", "shop/all/0",
            ])
        #expect(world.hosts()["*.example.com"] == ["shop/wild/0", "shop/wild/0", "shop/all/0", "shop/all/0"])
    }

    @Test("on a listener with a name, routes that say it come before routes that say a wildcard or nothing")
    func specificity() throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.gateway(http("web", "a.example.com"))
        try world.route("any", created: "2026-01-01T00:00:00Z", toCart("/long"), toCart("/"))
        try world.route("wild", hostnames: ["*.example.com"], created: "2026-02-01T00:00:00Z", toCart("/longer"))
        try world.route("own", hostnames: ["a.example.com"], created: "2026-03-01T00:00:00Z", toCart("/"))
        try world.publish()
        #expect(world.hosts()["a.example.com"]?.first == "shop/own/0")
        let order = (world.hosts()["a.example.com"] ?? []).map { String($0.split(separator: "/")[1]) }
        #expect(order == order.filter { $0 == "own" } + order.filter { $0 == "wild" } + order.filter { $0 == "any" })
        #expect(world.conditions(Self.route("any")).contains("weft.dev/Shadowed=True:MatchTaken"))
    }

    @Test("an HTTPS connection for another listener's name is misdirected; certificates need grants")
    func https443() throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.certificate("tls")
        try world.certificate("tls", namespace: "web")
        try world.gateway(https("a", "a.example.com"), https("w", "*.example.com"), https("c", "c.org", in: "web"))
        try world.route("r", toCart())
        try world.publish()
        #expect(
            world.hosts("https.443.a") == ["a.example.com": ["shop/r/0"], "*.example.com": ["misdirected 421"]])
        #expect(
            world.hosts("https.443.w") == ["*.example.com": ["shop/r/0"], "a.example.com": ["misdirected 421"]])
        #expect(
            world.conditions(.gateway(Self.edge), listener: "c") == [
                "Accepted=True:Accepted", "ResolvedRefs=False:RefNotPermitted", "Conflicted=False:NoConflicts",
                "Programmed=False:Invalid",
            ])
        #expect(world.said[.secret]?.keys.map { $0 } == ["kubernetes://shop/tls"])
        try world.set(
            "ReferenceGrant", "g", namespace: "web",
            [
                "from": [["group": .string(GatewayWorld.group), "kind": "Gateway", "namespace": "shop"]],
                "to": [["group": "", "kind": "Secret"]],
            ])
        try world.publish()
        #expect(world.said[.secret]?.keys.sorted() == ["kubernetes://shop/tls", "kubernetes://web/tls"])
        #expect(world.hosts("https.443.c")["c.org"] == ["shop/r/0"])
        // A new certificate is told, and nothing else.
        try world.certificate("tls")
        try world.publish()
        #expect(world.spoken == ["sds kubernetes://shop/tls"])
        try world.set("Secret", "tls", nil)
        try world.publish()
        #expect(
            world.conditions(.gateway(Self.edge), listener: "a")[1] == "ResolvedRefs=False:InvalidCertificateRef")
    }

    @Test("listeners that are in each other's way, or speak what nobody does, are not used")
    func conflicts() throws {
        var world = try GatewayWorld()
        try world.gateway(
            http("a", port: 8080),
            ["name": "b", "port": 8080, "protocol": "TCP"], ["name": "udp", "port": 53, "protocol": "UDP"],
            [
                "name": "kinds", "port": 81, "protocol": "HTTP",
                "allowedRoutes": ["kinds": [["kind": "TCPRoute"], ["kind": "HTTPRoute"]]],
            ])
        try world.publish()
        func one(_ listener: String, _ index: Int) -> String {
            world.conditions(.gateway(Self.edge), listener: listener)[index]
        }
        #expect(one("a", 2) == "Conflicted=True:ProtocolConflict" && one("b", 2) == "Conflicted=True:ProtocolConflict")
        #expect(one("a", 0) == "Accepted=False:ProtocolConflict" && one("a", 3) == "Programmed=False:ProtocolConflict")
        #expect(one("udp", 0) == "Accepted=False:UnsupportedProtocol")
        #expect(
            one("kinds", 1) == "ResolvedRefs=False:InvalidRouteKinds" && one("kinds", 3) == "Programmed=True:Programmed"
        )
        #expect(world.said[.listener]?.keys.map { $0 } == ["0.0.0.0_81"])
        #expect(world.conditions(.gateway(Self.edge)).first == "Accepted=True:ListenersNotValid")
    }

    /// What a route is told, by what is wrong with it.
    static let troubles: [(String, [String])] = [
        ("no such section", ["Accepted=False:NoMatchingParent", "ResolvedRefs=True:ResolvedRefs"]),
        ("no such port", ["Accepted=False:NoMatchingParent", "ResolvedRefs=True:ResolvedRefs"]),
        ("section on another port", ["Accepted=False:NoMatchingParent", "ResolvedRefs=True:ResolvedRefs"]),
        ("other namespace", ["Accepted=False:NotAllowedByListeners", "ResolvedRefs=False:RefNotPermitted"]),
        ("other kind", ["Accepted=False:NotAllowedByListeners", "ResolvedRefs=True:ResolvedRefs"]),
        ("no backend", ["Accepted=True:Accepted", "ResolvedRefs=False:BackendNotFound"]),
        ("no backend port", ["Accepted=True:Accepted", "ResolvedRefs=False:BackendNotFound"]),
        ("backend kind", ["Accepted=True:Accepted", "ResolvedRefs=False:InvalidKind"]),
        ("foreign backend", ["Accepted=True:Accepted", "ResolvedRefs=False:RefNotPermitted"]),
        ("expression", ["Accepted=False:UnsupportedValue", "ResolvedRefs=True:ResolvedRefs"]),
        ("extension", ["Accepted=False:UnsupportedValue", "ResolvedRefs=True:ResolvedRefs"]),
    ]

    @Test("a route is told what is wrong with it", arguments: troubles)
    func routeConditions(trouble: String, conditions: [String]) throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.service("far", namespace: "web")
        try world.gateway(http("web"), http("other", port: 81))
        var (kind, namespace) = (RouteKind.http, "shop")
        switch trouble {
        case "no such section": try world.route("r", parent: ["sectionName": "gone"], toCart())
        case "no such port": try world.route("r", parent: ["port": 82], toCart())
        case "section on another port": try world.route("r", parent: ["sectionName": "web", "port": 81], toCart())
        case "other namespace":
            namespace = "web"
            try world.route("r", namespace: "web", ["backendRefs": [backend("cart", in: "shop")]])
        case "other kind":
            kind = .tcp
            try world.route("r", kind: "TCPRoute", ["backendRefs": [backend("cart")]])
        case "no backend": try world.route("r", ["backendRefs": [backend("gone")]])
        case "no backend port": try world.route("r", ["backendRefs": [backend("cart", port: 81)]])
        case "backend kind":
            try world.route("r", ["backendRefs": [["group": "x.org", "kind": "Bucket", "name": "b"]]])
        case "foreign backend": try world.route("r", ["backendRefs": [backend("far", in: "web")]])
        case "expression":
            try world.route(
                "r",
                [
                    "matches": [["path": ["type": "RegularExpression", "value": "/(a"]]],
                    "backendRefs": [backend("cart")],
                ])
        default:
            try world.route(
                "r",
                [
                    "filters": [
                        ["type": "ExtensionRef", "extensionRef": ["group": "x.org", "kind": "F", "name": "f"]]
                    ], "backendRefs": [backend("cart")],
                ])
        }
        try world.publish()
        #expect(world.conditions(Self.route("r", kind, namespace)) == conditions)
        // What is not accepted is not said to proxies.
        if conditions[0].contains("False") { #expect(world.hosts() == ["*": []]) }
    }

    @Test("a selector lets namespaces in by their labels, as they are now")
    func selector() throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.gateway([
            "name": "web", "port": 80, "protocol": "HTTP",
            "allowedRoutes": ["namespaces": ["from": "Selector", "selector": ["matchLabels": ["team": "a"]]]],
        ])
        try world.route("r", namespace: "web", ["backendRefs": [backend("cart")]])
        try world.publish()
        #expect(world.conditions(Self.route("r", .http, "web")).first == "Accepted=False:NotAllowedByListeners")
        try world.set("Namespace", "web", namespace: "", labels: ["team": "a"], [:])
        try world.publish()
        #expect(world.statuses.contains(Self.route("r", .http, "web")))
        #expect(world.conditions(Self.route("r", .http, "web")).first == "Accepted=True:Accepted")
    }

    @Test("TLS is led on by name, ended here or not; of two TCPRoutes the older has the port")
    func streams() throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.service("next")
        try world.certificate("tls")
        try world.gateway(
            [
                "name": "pass", "port": 443, "protocol": "TLS", "hostname": "*.example.com",
                "tls": ["mode": "Passthrough"],
            ],
            [
                "name": "end", "port": 443, "protocol": "TLS", "hostname": "end.example.com",
                "tls": ["mode": "Terminate", "certificateRefs": [["name": "tls"]]],
            ],
            ["name": "tcp", "port": 9000, "protocol": "TCP"])
        try world.route(
            "a", kind: "TLSRoute", hostnames: ["a.example.com", "end.example.com"], ["backendRefs": [backend("cart")]])
        try world.route("young", kind: "TCPRoute", created: "2026-02-01T00:00:00Z", ["backendRefs": [backend("cart")]])
        try world.route(
            "old", kind: "TCPRoute", ["backendRefs": [backend("next", 3), backend("cart", 1), backend("gone", 0)]])
        try world.publish()
        let chains = world.said[.listener]?["0.0.0.0_443"]?.list("filter_chains") ?? []
        #expect(chains.map { $0.text("name") } == ["pass a.example.com", "end end.example.com"])
        #expect(chains.map { $0["transport_socket"] == nil } == [true, false])
        let tcp = world.said[.listener]?["0.0.0.0_9000"]?.list("filter_chains").first?.list("filters").first
        let weights = tcp?[path: "typed_config", "weighted_clusters"]?.list("clusters").map { $0.number("weight") }
        #expect(weights == [3, 1])
    }

    @Test("who may adds listeners from his own namespace, which give way to those before them")
    func listenerSets() throws {
        var world = try GatewayWorld()
        try world.service("cart", namespace: "web")
        func set(_ name: String, created: String, _ listeners: JSONValue...) throws {
            try world.set(
                "ListenerSet", name, namespace: "web", created: created,
                ["parentRef": ["name": "edge", "namespace": "shop"], "listeners": .array(listeners)])
        }
        try world.gateway(http("web", "a.example.com"))
        try set("one", created: "2026-01-01T00:00:00Z", http("mine", "b.example.com"), http("web", "a.example.com"))
        try set("two", created: "2026-02-01T00:00:00Z", http("mine", "b.example.com"))
        try world.set(
            "HTTPRoute", "r", namespace: "web",
            [
                "parentRefs": [
                    ["group": .string(GatewayWorld.group), "kind": "ListenerSet", "name": "one", "sectionName": "mine"]
                ], "rules": [toCart()],
            ])
        try world.publish()
        let (one, two) = (ObjectKey(namespace: "web", name: "one"), ObjectKey(namespace: "web", name: "two"))
        #expect(world.conditions(.listenerSet(one)) == ["Accepted=False:NotAllowed", "Programmed=False:NotAllowed"])
        #expect(world.hosts() == ["a.example.com": []])
        try world.gateway(
            http("web", "a.example.com"), more: ["allowedListeners": ["namespaces": ["from": "All"]]])
        try world.publish()
        #expect(world.hosts() == ["a.example.com": [], "b.example.com": ["web/r/0"]])
        #expect(world.conditions(.listenerSet(one)).first == "Accepted=True:ListenersNotValid")
        #expect(world.conditions(.listenerSet(one), listener: "web")[2] == "Conflicted=True:HostnameConflict")
        #expect(
            world.conditions(.listenerSet(two)) == [
                "Accepted=False:ListenersNotValid", "Programmed=False:ListenersNotValid",
            ])
        let patch = world.model.status(.gateway(Self.edge), ProxyRefusals(), now: Timestamp(seconds: 0))?.patch
        #expect(patch?["status"]?["attachedListenerSets"] == 1, "the one that is accepted")
        #expect(world.conditions(.gateway(Self.edge)).first == "Accepted=True:Accepted")
        #expect(
            world.conditions(Self.route("r", .http, "web")) == [
                "Accepted=True:Accepted", "ResolvedRefs=True:ResolvedRefs",
            ])
        // What gives way to the Gateway is in nobody's way, also not in its own set.
        let tcp: JSONValue = ["name": "tcp", "port": 80, "protocol": "TCP"]
        try set("three", created: "2026-03-01T00:00:00Z", tcp, http("other", "c.example.com"))
        try world.publish()
        let three = StatusTarget.listenerSet(ObjectKey(namespace: "web", name: "three"))
        #expect(world.conditions(three, listener: "tcp").first == "Accepted=False:ProtocolConflict")
        #expect(world.conditions(three, listener: "other").first == "Accepted=True:Accepted")
        #expect(world.conditions(three).first == "Accepted=True:ListenersNotValid")
        try world.set("ListenerSet", "three", namespace: "web", nil)
        // What was there second has the name once the first has gone.
        try world.set("ListenerSet", "one", namespace: "web", nil)
        try world.publish()
        #expect(world.hosts() == ["a.example.com": [], "b.example.com": []])
        #expect(world.conditions(.listenerSet(two)).first == "Accepted=True:Accepted")
    }

    @Test("a backend's policy is TLS to it; without authorities nothing goes there")
    func backendTLS() throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.gateway(http("web"))
        try world.route("r", toCart())
        let policy: JSONValue = [
            "targetRefs": [["group": "", "kind": "Service", "name": "cart"]],
            "validation": [
                "hostname": "cart.internal", "caCertificateRefs": [["group": "", "kind": "ConfigMap", "name": "ca"]],
            ],
        ]
        try world.set("BackendTLSPolicy", "p", policy)
        try world.publish()
        #expect(world.hosts() == ["*": ["shop/r/0 500"]])
        // A cluster that leads nowhere, and that proxies take: the one that everybody has would be without TLS.
        let empty = try #require(world.said[.cluster]?.values.first)
        #expect(empty["transport_socket"] == nil && empty["eds_cluster_config"] == nil)
        #expect(empty.list("load_assignment", "endpoints").isEmpty)
        let target = StatusTarget.policy(ObjectKey(namespace: "shop", name: "p"))
        #expect(
            world.conditions(target) == [
                "Accepted=False:NoValidCACertificate", "ResolvedRefs=False:InvalidCACertificateRef",
            ])
        let pem = try CertificateAuthority.create(commonName: "test").certificate.pem
        try world.set("ConfigMap", "ca", [:], more: ["data": ["ca.crt": .string(pem)]])
        try world.publish()
        #expect(world.hosts() == ["*": ["shop/r/0"]])
        let context = world.said[.cluster]?.values.first?[path: "transport_socket", "typed_config"]
        #expect(context?.text("sni") == "cart.internal")
        #expect(world.conditions(target) == ["Accepted=True:Accepted", "ResolvedRefs=True:ResolvedRefs"])
        // An authority that is not there takes nothing from one that is.
        var both = policy
        both["validation"]?["caCertificateRefs"] = [
            ["group": "", "kind": "ConfigMap", "name": "ca"], ["group": "", "kind": "Secret", "name": "ca"],
        ]
        try world.set("BackendTLSPolicy", "p", generation: 2, both)
        try world.publish()
        #expect(world.hosts() == ["*": ["shop/r/0"]])
        #expect(world.conditions(target) == ["Accepted=True:Accepted", "ResolvedRefs=False:InvalidKind"])
        try world.set("BackendTLSPolicy", "p", generation: 3, policy)
        // Whoever begins or ends to lead there is told of in its status, and so is a Gateway that goes.
        try world.set("HTTPRoute", "r", nil)
        try world.publish()
        #expect(world.statuses.contains(target) && world.conditions(target).isEmpty)
        try world.route("r", toCart())
        try world.publish()
        #expect(world.statuses.contains(target) && world.conditions(target).count == 2)
        try world.set("Gateway", "edge", nil)
        try world.publish()
        #expect(world.statuses.contains(target) && world.conditions(target).isEmpty)
        try world.gateway(http("web"))
        try world.publish()
        #expect(world.statuses.contains(target) && world.conditions(target).count == 2)
        // Of two for one Service the older is in force.
        try world.set("BackendTLSPolicy", "q", created: "2026-03-01T00:00:00Z", policy)
        try world.publish()
        let other = StatusTarget.policy(ObjectKey(namespace: "shop", name: "q"))
        #expect(world.conditions(other).first == "Accepted=False:Conflicted")
    }

    @Test("gRPC over TLS says that it is HTTP/2, whatever the port's name says")
    func backendOfGRPC() throws {
        var world = try GatewayWorld()
        try world.service("cart", port: 443)
        try world.gateway(http("web"))
        try world.route("r", kind: "GRPCRoute", ["backendRefs": [backend("cart", port: 443)]])
        try world.set(
            "BackendTLSPolicy", "p",
            [
                "targetRefs": [["group": "", "kind": "Service", "name": "cart"]],
                "validation": ["hostname": "cart.internal", "wellKnownCACertificates": "System"],
            ])
        try world.publish()
        let cluster = try #require(world.said[.cluster]?.values.first)
        #expect(
            cluster[path: "transport_socket", "typed_config", "common_tls_context", "alpn_protocols"] == ["h2"])
        #expect(cluster["typed_extension_protocol_options"] != nil)
    }

    @Test("clients of a listener whose authorities lead nowhere are not let in, and it says why; other ports go on")
    func clients() throws {
        var world = try GatewayWorld()
        try world.certificate("tls")
        let pem = try CertificateAuthority.create(commonName: "test").certificate.pem
        try world.set("ConfigMap", "ca", [:], more: ["data": ["ca.crt": .string(pem)]])
        func authorities(_ kind: String, _ name: String, mode: String = "AllowValidOnly") -> JSONValue {
            [
                "validation": [
                    "mode": .string(mode),
                    "caCertificateRefs": [["group": "", "kind": .string(kind), "name": .string(name)]],
                ]
            ]
        }
        func on(_ name: String, _ port: Int64) -> JSONValue {
            var listener = https(name)
            listener["port"] = .int(port)
            return listener
        }
        func gateway(mode: String) throws {
            try world.gateway(
                on("right", 443), on("missing", 7443), on("kind", 8443), http("plain"),
                more: [
                    "tls": [
                        "frontend": [
                            "default": authorities("ConfigMap", "ca", mode: mode),
                            "perPort": [
                                ["port": 7443, "tls": authorities("ConfigMap", "none")],
                                ["port": 8443, "tls": authorities("Service", "cart")],
                            ],
                        ]
                    ]
                ])
            try world.publish()
        }
        try gateway(mode: "AllowInsecureFallback")
        let target = StatusTarget.gateway(Self.edge)
        func told(_ listener: String) -> [String] {
            world.conditions(target, listener: listener).filter { $0.contains("False") }
        }
        for listener in ["right", "plain"] { #expect(told(listener) == ["Conflicted=False:NoConflicts"]) }
        #expect(
            told("missing") == [
                "Accepted=False:NoValidCACertificate", "ResolvedRefs=False:InvalidCACertificateRef",
                "Conflicted=False:NoConflicts", "Programmed=False:Invalid",
            ])
        #expect(
            told("kind").prefix(2) == [
                "Accepted=False:NoValidCACertificate", "ResolvedRefs=False:InvalidCACertificateKind",
            ])
        #expect(Set(world.said[.listener]?.keys ?? [:].keys) == ["0.0.0.0_80", "0.0.0.0_443"])
        let insecure = "InsecureFrontendValidationMode=True:ConfigurationChanged"
        #expect(world.conditions(target).contains(insecure))
        try gateway(mode: "AllowValidOnly")
        #expect(!world.conditions(target).contains(insecure))
    }

    @Test("two routes with the same match: the younger is told whose requests they are")
    func shadow() throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.gateway(http("web"))
        try world.route("young", created: "2026-02-01T00:00:00Z", toCart())
        try world.publish()
        try world.route("old", toCart())
        try world.publish()
        #expect(world.statuses.contains(Self.route("young")))
        #expect(world.conditions(Self.route("young")).last == "weft.dev/Shadowed=True:MatchTaken")
        try world.set("HTTPRoute", "old", nil)
        try world.publish()
        #expect(world.conditions(Self.route("young")).count == 2)
    }

    @Test("what was written is not written again, and keeps its times")
    func idempotence() throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.gateway(http("web"))
        try world.route("r", toCart())
        try world.publish()
        let target = Self.route("r")
        let first = try #require(world.model.status(target, ProxyRefusals(), now: Timestamp(seconds: 10)))
        let key = RouteKey(kind: .http, key: ObjectKey(namespace: "shop", name: "r"))
        var object = KubeObject(apiVersion: "\(GatewayWorld.group)/v1", kind: "HTTPRoute", namespace: "shop", name: "r")
        let route = try #require(world.model.world.routes[key])
        object.json["metadata"]?["creationTimestamp"] = .string(route.created)
        object.json["metadata"]?["generation"] = 1
        object.spec = [
            "parentRefs": .array(route.parents.map(\.reference)), "hostnames": [], "rules": .array(route.rules),
        ]
        var foreign = first.patch["status"]?.list("parents") ?? []
        foreign.insert(["controllerName": "other.org/gateway", "parentRef": ["name": "x"], "conditions": []], at: 0)
        object.status = ["parents": .array(foreign)]
        world.model.set(try MeshRoute(object), key)
        try world.publish()
        #expect(world.spoken.isEmpty && world.statuses == [target])
        #expect(world.model.status(target, ProxyRefusals(), now: Timestamp(seconds: 20)) == nil)
        // A change of one condition leaves the other's time, and what others wrote.
        try world.set("Service", "cart", nil)
        try world.publish()
        let second = try #require(world.model.status(target, ProxyRefusals(), now: Timestamp(seconds: 20)))
        let parents = second.patch["status"]?.list("parents") ?? []
        #expect(parents.map { $0.text("controllerName") } == ["other.org/gateway", "weft.dev/gateway"])
        let times = parents.last?.list("conditions").map { $0.text("lastTransitionTime") }
        #expect(times == ["1970-01-01T00:00:10Z", "1970-01-01T00:00:20Z"])
    }

    @Test("of ten thousand routes one that changes is written alone")
    func proportion() throws {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.gateway(http("web"))
        for index in 0..<10_000 { try world.route("r\(index)", hostnames: ["h\(index).example.com"], toCart()) }
        _ = world.model.changes()
        let first = ContinuousClock().measure { _ = world.model.gatewayChanges() }
        try world.route("r77", hostnames: ["h77.example.com"], toCart("/new"))
        _ = world.model.changes()
        var changes = GatewayModel.Changes()
        let second = ContinuousClock().measure { changes = world.model.gatewayChanges() }
        print("10 000 routes: all \(first), one \(second)")
        #expect(changes.statuses == [Self.route("r77"), .gateway(Self.edge)])
        let said = changes.gateways[Self.edge]?.map { "\($0.kind.service) \($0.name)" }
        #expect(said?.sorted() == ["cds outbound|80||cart.shop.svc.cluster.local", "rds http.80"])
    }
}

@Suite("What Ingresses mean to proxies")
struct IngressModelTests {
    private func world(isDefault: Bool = false) throws -> GatewayWorld {
        var world = try GatewayWorld()
        try world.service("cart")
        try world.service("next")
        var ingressClass = KubeObject(apiVersion: "networking.k8s.io/v1", kind: "IngressClass", name: "weft")
        ingressClass.spec = ["controller": "weft.dev/ingress"]
        if isDefault { ingressClass.annotations = ["ingressclass.kubernetes.io/is-default-class": "true"] }
        world.model.set(MeshIngressClass(ingressClass), ingressClass.key)
        try world.set(
            "Gateway", "weft-ingress", namespace: "kube-system",
            [
                "gatewayClassName": "weft",
                "listeners": [["name": "http", "port": 80, "protocol": "HTTP"]],
            ])
        return world
    }

    private func ingress(_ name: String, _ spec: JSONValue, className: String? = "weft") -> MeshIngress {
        var object = KubeObject(apiVersion: "networking.k8s.io/v1", kind: "Ingress", namespace: "shop", name: name)
        object.spec = spec
        if let className { object.spec["ingressClassName"] = .string(className) }
        return MeshIngress(object)
    }

    private func rule(_ host: String, _ path: String, _ type: String, _ service: String, port: JSONValue) -> JSONValue {
        let backend: JSONValue = ["service": ["name": .string(service), "port": port]]
        var rule: JSONValue = [
            "http": ["paths": [["path": .string(path), "pathType": .string(type), "backend": backend]]]
        ]
        if !host.isEmpty { rule["host"] = .string(host) }
        return rule
    }

    @Test("paths, hosts, ports by name, a default backend and a certificate")
    func all() throws {
        var world = try world()
        try world.certificate("tls")
        let ingress = ingress(
            "web",
            [
                "defaultBackend": ["service": ["name": "next", "port": ["number": 80]]],
                "tls": [["hosts": ["a.example.com"], "secretName": "tls"]],
                "rules": [
                    rule("a.example.com", "/x", "Prefix", "cart", port: ["name": "web"]),
                    rule("a.example.com", "/y", "Exact", "gone", port: ["number": 80]),
                    rule("*.b.com", "/", "ImplementationSpecific", "cart", port: ["number": 80]),
                ],
            ])
        world.model.set(ingress, ingress.key)
        try world.publish()
        let host = world.hosts()["a.example.com"]
        #expect(
            host == [
                "shop/web/a.example.com/1 500", "shop/web/a.example.com/0", "shop/web/a.example.com/0", "shop/web/0",
            ])
        #expect(world.hosts()["*"] == ["shop/web/0"])
        #expect(world.said[.listener]?.keys.sorted() == ["0.0.0.0_443", "0.0.0.0_80"])
        #expect(world.said[.secret]?.keys.map { $0 } == ["kubernetes://shop/tls"])
        #expect(world.hosts("https.443.shop.web.https-a.example.com")["a.example.com"]?.count == 4)
        // One label alone.
        let wild = world.said[.routeConfiguration]?["http.80"]?.list("virtual_hosts").first {
            $0.list("domains") == ["*.b.com"]
        }
        let authority = wild?.list("routes").first?["match"]?.list("headers").first
        #expect(authority?[path: "string_match", "safe_regex"]?.text("regex") == "[^.]+\\.b\\.com(:[0-9]+)?")
        world.model.set(nil as MeshIngress?, ingress.key)
        try world.publish()
        #expect(world.hosts() == ["*": []])
        #expect(world.said[.listener]?.keys.map { $0 } == ["0.0.0.0_80"])
    }

    @Test("only those of our class are ours; without a class those of the default")
    func classes() throws {
        var world = try world()
        let spec: JSONValue = ["rules": [rule("", "/", "Prefix", "cart", port: ["number": 80])]]
        let (other, none) = (ingress("other", spec, className: "nginx"), ingress("none", spec, className: nil))
        world.model.set(other, other.key)
        world.model.set(none, none.key)
        try world.publish()
        #expect(world.hosts() == ["*": []] && !world.model.needsIngressGateway)
        var ingressClass = KubeObject(apiVersion: "networking.k8s.io/v1", kind: "IngressClass", name: "weft")
        ingressClass.spec = ["controller": "weft.dev/ingress"]
        ingressClass.annotations = ["ingressclass.kubernetes.io/is-default-class": "true"]
        world.model.set(MeshIngressClass(ingressClass), ingressClass.key)
        try world.publish()
        #expect(world.hosts() == ["*": ["shop/none/0"]] && world.model.needsIngressGateway)
    }
}
