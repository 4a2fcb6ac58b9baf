import ClusterAPI
import JSON
import Testing

@testable import Discovery
@testable import MeshControl
@testable import XDS

@Suite("What Services and HTTPRoutes mean to proxies")
struct MeshModelTests {
    @Test("a change speaks of what it touches, and of nothing else")
    func proportion() throws {
        var world = MeshServices()
        for name in ["cart", "web", "api"] { world.service(name) }
        let slice = world.slice("cart-1", "cart", [["addresses": ["10.244.1.2"]]])
        try world.publish()
        let nothing = try world.publish()
        #expect(nothing.isEmpty)
        _ = world.slice("cart-1", "cart", [["addresses": ["10.244.1.3"]]], old: slice)
        let moved = try world.publish()
        #expect(moved == ["eds outbound|80||cart.shop.svc.cluster.local"])
        try world.route("r", ["backendRefs": [backend("web")]])
        let names = try world.publish()
        let foreign = names.filter { !$0.contains("cart.shop") && !$0.contains("10.96.0.9") }
        #expect(foreign.isEmpty && !names.isEmpty)
        // Routes that lead to a Service answer otherwise when it goes.
        world.service("web", exists: false)
        let without = try world.publish()
        #expect(without.contains("rds cart.shop.svc.cluster.local:80"))
        #expect(world.routes().first?[path: "direct_response", "status"] == 500)
    }

    @Test("a Service that goes takes all that was said of it along")
    func gone() throws {
        var world = MeshServices()
        world.service("cart", ports: [80, 81])
        try world.publish()
        #expect(world.said[.cluster]?.count == 2 && world.said[.listener]?.count == 4, "for sidecars and for gRPC")
        world.service("cart", ports: [81])
        try world.publish()
        #expect(Set(world.said[.cluster, default: [:]].keys) == ["outbound|81||cart.shop.svc.cluster.local"])
        world.service("cart", exists: false)
        try world.publish()
        let left = world.said.values.filter { !$0.isEmpty }
        #expect(left.isEmpty)
    }

    @Test("endpoints that are not ready are left out, those that finish are marked, none stands twice")
    func endpoints() throws {
        var world = MeshServices()
        world.service("cart")
        _ = world.slice(
            "a", "cart",
            [
                ["addresses": ["10.244.1.1"], "conditions": ["ready": true], "zone": "z1"],
                ["addresses": ["10.244.1.2"], "conditions": ["ready": false]],
                ["addresses": ["10.244.1.3"], "conditions": ["ready": false, "serving": true, "terminating": true]],
            ])
        _ = world.slice("b", "cart", [["addresses": ["10.244.1.1"], "zone": "z1"]])
        try world.publish()
        let text = world.said[.clusterLoadAssignment]?.values.first?.encodedString() ?? ""
        #expect(text.contains("10.244.1.1") && text.contains("10.244.1.3") && !text.contains("10.244.1.2"))
        #expect(text.contains("DRAINING") && text.components(of: "10.244.1.1") == 1)
    }

    @Test("precedence over all routes: exact, longest prefix, method, headers, age")
    func precedence() throws {
        var world = MeshServices()
        world.service("cart")
        func rule(_ match: JSONValue) -> JSONValue { ["matches": [match], "backendRefs": [backend("cart")]] }
        try world.route(
            "young", created: "2026-02-01T00:00:00Z", rule(["path": ["value": "/a/b"]]), rule(["path": ["value": "/"]]))
        try world.route(
            "old", rule(["path": ["value": "/"], "headers": [["name": "x", "value": "1"]]]),
            rule(["path": ["value": "/"], "method": "GET"]),
            rule(["path": ["type": "Exact", "value": "/a"]]), rule(["path": ["value": "/"]]))
        try world.publish()
        let order = world.routes().map { route -> String in
            let match = route["match"] ?? .null
            let path = match.text("path") + match.text("prefix")
            return path + " \(match.list("headers").map { $0.text("name") }.joined())"
        }
        // The younger route's match of everything can never be met.
        #expect(order == ["/a ", "/a/b ", "/a/b/ ", "/ :method", "/ x", "/ "])
        #expect(world.routes().last?.text("name") == "shop/old/3")
    }

    @Test("a route of another namespace is for the callers there alone, who then follow no other")
    func consumers() throws {
        var world = MeshServices()
        world.service("cart")
        world.service("cart", in: "web")
        try world.route("producer", ["backendRefs": [backend("cart")], "name": "split"])
        try world.route("consumer", in: "web", to: "cart", of: "shop", ["backendRefs": [backend("cart")]])
        let changes = world.model.changes()
        let tables = changes[.namespace("web")].map(\.name)
        #expect(tables == ["cart.shop.svc.cluster.local:80"])
        let own = try #require(changes[.namespace("web")].first?.message)
        let table = try Message(binary: own, type: #require(Message(ResourceKind.routeConfiguration.rawValue)?.type))
            .json()
        let routes = table.list("virtual_hosts").first?.list("routes") ?? []
        #expect(routes.map { $0.text("name") } == ["web/consumer/0"])
        #expect(routes.first?.text("route", "cluster") == "outbound|80||cart.web.svc.cluster.local")
        // Once it goes, they see what all see.
        world.model.set(nil, RouteKey(kind: .http, key: ObjectKey(namespace: "web", name: "consumer")))
        let gone = world.model.changes()[.namespace("web")]
        #expect(gone.count == 1 && gone.allSatisfy { $0.message == nil })
    }

    @Test("a consumer's route leads on to its Service without a grant, and to no other of that namespace")
    func onward() throws {
        var world = MeshServices()
        for name in ["cart", "till"] { world.service(name) }
        func clusters(_ rule: JSONValue) throws -> [String] {
            try world.route("consumer", in: "web", to: "cart", of: "shop", rule)
            let own = try #require(world.model.changes()[.namespace("web")].first?.message)
            let type = try #require(Message(ResourceKind.routeConfiguration.rawValue)?.type)
            let table = try Message(binary: own, type: type).json()
            return (table.list("virtual_hosts").first?.list("routes") ?? []).map { $0.text("route", "cluster") }
        }
        #expect(
            try clusters(["backendRefs": [backend("cart", in: "shop")]]) == [
                "outbound|80||cart.shop.svc.cluster.local"
            ])
        #expect(try clusters(["backendRefs": [backend("till", in: "shop")]]) == [""], "500 for want of a grant")
    }

    @Test("a GRPCRoute's methods are paths, and where it leads HTTP/2 is spoken")
    func grpc() throws {
        var world = MeshServices()
        world.service("cart")
        let rule: JSONValue = [
            "matches": [
                ["method": ["service": "shop.Cart"]], ["method": ["service": "shop.Cart", "method": "Add"]],
                ["method": ["method": "Ping"]],
                [
                    "method": ["type": "RegularExpression", "service": "shop\\..*"],
                    "headers": [["name": "x", "value": "1"]],
                ],
            ], "backendRefs": [backend("cart")],
        ]
        try world.route("r", kind: .grpc, rule)
        try world.publish()
        let matches = world.routes().map { $0["match"] ?? .null }
        #expect(
            matches.map { $0.text("path") + $0.text("prefix") + $0.text("safe_regex", "regex") } == [
                "/shop.Cart/Add", "/shop\\..*/[^/]+", "/[^/]+/Ping", "/shop.Cart/",
            ])
        let cluster = world.said[.cluster]?["outbound|80||cart.shop.svc.cluster.local"]
        #expect(cluster?["typed_extension_protocol_options"] != nil)
    }

    @Test("backends with paths of their own are routes that share by one draw")
    func backendsApart() throws {
        var world = MeshServices()
        world.service("cart")
        world.service("next")
        var other = backend("next", 3)
        other["filters"] = [
            [
                "type": "URLRewrite",
                "urlRewrite": ["path": ["type": "ReplacePrefixMatch", "replacePrefixMatch": "/v2"]],
            ]
        ]
        try world.route(
            "r", ["matches": [["path": ["value": "/a"]]], "backendRefs": [backend("cart"), other]])
        try world.publish()
        let routes = world.routes()
        #expect(routes.count == 4)
        #expect(routes[0][path: "match", "runtime_fraction", "default_value"]?.number("numerator") == 250_000)
        #expect(routes[0][path: "route"]?["prefix_rewrite"] == nil)
        #expect(routes[1][path: "match"]?["runtime_fraction"] == nil)
        #expect(routes[1].text("route", "prefix_rewrite") == "/v2")
        #expect(routes[3].text("route", "prefix_rewrite") == "/v2/")
    }

    @Test("a backend in another namespace needs a grant")
    func grants() throws {
        var world = MeshServices()
        world.service("cart")
        world.service("pay", in: "bank")
        try world.route("r", ["backendRefs": [backend("pay", in: "bank")]])
        try world.publish()
        #expect(world.routes().first?.encodedString().contains("500") == true)
        var grant = KubeObject(
            apiVersion: "gateway.networking.k8s.io/v1", kind: "ReferenceGrant", namespace: "bank", name: "g")
        grant.json["spec"] = [
            "from": [["group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"]],
            "to": [["group": "", "kind": "Service", "name": "pay"]],
        ]
        world.model.set(MeshGrant(grant), grant.key)
        try world.publish()
        #expect(world.routes().first?.encodedString().contains("outbound|80||pay.bank.svc.cluster.local") == true)
        world.model.set(nil as MeshGrant?, grant.key)
        try world.publish()
        #expect(world.routes().first?.encodedString().contains("500") == true)
    }

    @Test("every filter, time and try is said in Envoy's words")
    func everything() throws {
        var world = MeshServices()
        for name in ["cart", "v2", "copy"] { world.service(name) }
        try world.route(
            "r",
            [
                "matches": [
                    [
                        "path": ["value": "/old/"], "method": "POST",
                        "queryParams": [["name": "q", "value": "1+", "type": "RegularExpression"]],
                    ]
                ],
                "filters": [
                    [
                        "type": "RequestHeaderModifier",
                        "requestHeaderModifier": ["set": [["name": "a", "value": "100%"]], "remove": ["b"]],
                    ],
                    [
                        "type": "ResponseHeaderModifier",
                        "responseHeaderModifier": ["add": [["name": "c", "value": "d"]]],
                    ],
                    [
                        "type": "RequestMirror",
                        "requestMirror": ["backendRef": ["name": "copy", "port": 80], "percent": 5],
                    ],
                    [
                        "type": "URLRewrite",
                        "urlRewrite": [
                            "hostname": "new.test", "path": ["type": "ReplacePrefixMatch", "replacePrefixMatch": "/"],
                        ],
                    ],
                ],
                "backendRefs": [backend("cart", 90), backend("v2", 10), backend("gone", 0)],
                "timeouts": ["request": "10s", "backendRequest": "1500ms"],
                "retry": ["attempts": 3, "codes": [503], "backoff": "100ms"],
            ],
            [
                "matches": [["path": ["value": "/x"]]],
                "filters": [
                    [
                        "type": "RequestRedirect",
                        "requestRedirect": ["scheme": "https", "port": 8443, "statusCode": 308, "hostname": "b.test"],
                    ]
                ],
            ])
        try world.publish()
        let routes = world.routes()
        #expect(routes.count == 4)
        let text = routes.map { $0.encodedString() }.joined()
        for part in [
            "/old", "/old/", ":method", "1+", "100%%", "new.test", "outbound|80||copy.shop.svc.cluster.local", "10s",
            "1.500s",
            "0.100s", "503", "8443", "PERMANENT_REDIRECT", "b.test",
        ] { #expect(text.contains(part), "\(part)") }
        #expect(!text.contains("gone"))
    }
}

extension String {
    /// How often a text stands in this one.
    fileprivate func components(of text: String) -> Int {
        var (count, rest) = (0, self[...])
        while let range = rest.firstRange(of: text) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
