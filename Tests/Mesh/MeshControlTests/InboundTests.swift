import ClusterAPI
import JSON
import Testing

@testable import Discovery
@testable import MeshControl
@testable import XDS

@Suite("What a pod's own proxy gets")
struct InboundTests {
    @Test("pods that are reached alike have one shape, and a policy that selects one of them tells them apart")
    func shapes() throws {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart", "pod-template-hash": "5f"])
        pods.pod("b", ["app": "cart", "pod-template-hash": "5f", "track": "canary"])
        pods.service(
            "cart", ["app": "cart"], ["name": "http", "port": 80, "targetPort": "web"], ["name": "mysql", "port": 3306])
        pods.service("other", ["app": "other"], ["port": 81])
        let shape = try pods.shape("a")
        #expect(try shape == pods.shape("b") && shape.workload == "cart")
        #expect(shape.ports.map(\.number) == [3306, 8080] && shape.ports.map(\.spoken) == [.serverFirst, .http])
        _ = pods.model.changes()
        pods.authorization("canary", ["selector": ["matchLabels": ["track": "canary"]]])
        let touched = pods.model.changes().pods
        #expect(touched == [ObjectKey(namespace: "shop", name: "b")])
        #expect(try shape == pods.shape("a") && shape != pods.shape("b"))
    }

    @Test("the narrowest mode that says something counts, of several the oldest")
    func modes() throws {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        func mode(_ port: Int = 1, _ spoken: PortProtocol = .http) throws -> MutualTLSMode {
            try pods.shape("a").modes.mode(port, spoken)
        }
        #expect(try mode() == .permissive)
        #expect(try mode(1, .serverFirst) == .disable)
        pods.peers("mesh", in: "kube-system", ["mtls": ["mode": "STRICT"]])
        #expect(try mode() == .strict)
        #expect(try mode(1, .serverFirst) == .strict)
        pods.peers("ours", ["mtls": ["mode": "DISABLE"]])
        pods.peers("younger", created: "2", ["mtls": ["mode": "PERMISSIVE"]])
        #expect(try mode() == .disable)
        pods.peers("unset", created: "0", ["mtls": ["mode": "UNSET"]])
        #expect(try mode() == .strict, "the namespace's oldest leaves it to the mesh")
        pods.peers(
            "own",
            [
                "selector": ["matchLabels": ["app": "cart"]], "mtls": ["mode": "PERMISSIVE"],
                "portLevelMtls": ["8080": ["mode": "STRICT"], "8081": ["mode": "UNSET"]],
            ])
        #expect(try mode() == .permissive)
        #expect(try mode(8080) == .strict)
        #expect(try mode(8081) == .permissive)
        pods.peers("foreign", created: "0", ["selector": ["matchLabels": ["app": "web"]], "mtls": ["mode": "DISABLE"]])
        #expect(try mode() == .permissive)
    }

    @Test("each mode has its chains, and no port falls back to those of others")
    func chains() throws {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        pods.service(
            "cart", ["app": "cart"], ["name": "http", "port": 80, "targetPort": 8080], ["name": "tcp", "port": 90])
        #expect(
            try pods.chains("a") == [
                "virtualInbound-blackhole", "inbound|90|mtls", "inbound|90|plain", "inbound|90|opaque",
                "inbound|8080|mtls",
                "inbound|8080|plain", "inbound|8080|opaque", "inbound||mtls", "inbound||plain", "inbound||opaque",
            ])
        pods.peers("strict", ["mtls": ["mode": "STRICT"]])
        #expect(
            try pods.chains("a") == [
                "virtualInbound-blackhole", "inbound|90|mtls", "inbound|8080|mtls", "inbound|8080|refused",
                "inbound||mtls",
            ])
        let names = try Set(pods.resources("a").keys)
        #expect(
            names.isSuperset(of: [
                "rds inbound|8080||", "cds inbound|8080||", "cds inbound|90||", "lds virtualOutbound",
            ]))
        #expect(!names.contains("rds inbound|90||"))
    }

    @Test("a policy's rules are alternatives of conditions that all hold")
    func rules() throws {
        let rule: JSONValue = [
            "from": [
                ["source": ["principals": ["cluster.local/ns/shop/sa/web", "*"], "notNamespaces": ["dev*"]]],
                ["source": ["ipBlocks": ["10.0.0.0/8"]]],
            ],
            "to": [["operation": ["methods": ["GET"], "paths": ["/a/{*}/b", "/c*"], "hosts": ["*.test"]]]],
            "when": [
                ["key": "request.headers[x]", "values": ["1"]], ["key": "destination.port", "notValues": ["81"]],
            ],
        ]
        let read = AuthorizationRule(rule, layer: .requests, isDeny: false, namespace: "shop")
        let principals = try #require(read.principals)
        let permissions = try #require(read.permissions)
        #expect(principals.count == 2 && permissions.count == 1)
        let first = principals[0].list("and_ids", "ids")
        #expect(first.count == 3, "principals, namespaces that are none, and the header")
        #expect(
            first[0].list("or_ids", "ids").first == [
                "authenticated": ["principal_name": ["exact": "spiffe://cluster.local/ns/shop/sa/web"]]
            ])
        #expect(first[1]["not_id"] != nil)
        let all = permissions[0].list("and_rules", "rules")
        #expect(all.count == 4)
        let template = all.compactMap { $0.list("or_rules", "rules").first }.first { $0["url_path"] != nil }
        #expect(template?.text("url_path", "path", "safe_regex", "regex") == "/a/[^/]+/b")
        // What a connection does not tell: nothing is allowed by it, and more is denied.
        let allowing = AuthorizationRule(rule, layer: .connections, isDeny: false, namespace: "shop")
        #expect(allowing.principals == nil && allowing.permissions == nil)
        let denying = AuthorizationRule(rule, layer: .connections, isDeny: true, namespace: "shop")
        #expect(denying.permissions?.first?.list("and_rules", "rules").count == 1, "the port alone")
        let any = AuthorizationRule([:], layer: .requests, isDeny: false, namespace: "shop")
        #expect(any.principals == [["and_ids": ["ids": [["any": true]]]]])
    }

    @Test("endpoints are marked by what their pods take, and clusters expect those who answer")
    func endpoints() throws {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        pods.service("cart", ["app": "cart"], ["name": "http", "port": 80, "targetPort": 8080])
        var object = KubeObject(
            apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: "shop", name: "cart")
        object.json["metadata"]?["labels"] = ["kubernetes.io/service-name": "cart"]
        object.json["ports"] = [["name": "http", "port": 8080]]
        object.json["endpoints"] = [
            ["addresses": ["10.244.1.2"], "targetRef": ["kind": "Pod", "name": "a"]], ["addresses": ["10.244.1.3"]],
        ]
        pods.model.set(MeshSlice(object), object.key, old: nil)
        func marks(_ changes: MeshChanges) throws -> [Bool] {
            let bytes = try #require(changes[.everybody].last { $0.kind == .clusterLoadAssignment }?.message)
            let type = try #require(Message(ResourceKind.clusterLoadAssignment.rawValue)?.type)
            return try Message(binary: bytes, type: type).json().list("endpoints")[0].list("lb_endpoints").map {
                $0[path: "metadata", "filter_metadata", "envoy.transport_socket_match"] == ["tlsMode": "weft"]
            }
        }
        let changes = pods.model.changes()
        #expect(try marks(changes) == [true, false])
        let cluster = try #require(changes[.members].first { $0.kind == .cluster }?.message)
        #expect(String(decoding: cluster, as: UTF8.self).contains("spiffe://cluster.local/ns/shop/sa/cart"))
        let plain = try #require(changes[.strangers].first { $0.kind == .cluster }?.message)
        #expect(!String(decoding: plain, as: UTF8.self).contains("spiffe"))
        pods.pod("a", ["app": "cart"], notCaptured: "8000-8100")
        #expect(try marks(pods.model.changes()) == [false, false], "the app itself would get the handshake")
        pods.pod("a", ["app": "cart"])
        #expect(try marks(pods.model.changes()) == [true, false])
        pods.peers("off", ["mtls": ["mode": "DISABLE"]])
        #expect(try marks(pods.model.changes()) == [false, false])
    }

    @Test("pods of a Service without an address are called by their own, and by mutual TLS as far as they take it")
    func headless() throws {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "db"])
        var object = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: "db")
        object.json["spec"] = [
            "clusterIP": "None", "clusterIPs": ["None"], "selector": ["app": "db"],
            "ports": [["name": "tcp-db", "port": 5432]],
        ]
        pods.model.set(MeshService(object), object.key)
        var slice = KubeObject(
            apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: "shop", name: "db")
        slice.json["metadata"]?["labels"] = ["kubernetes.io/service-name": "db"]
        slice.json["ports"] = [["name": "tcp-db", "port": 5432]]
        slice.json["endpoints"] = [
            ["addresses": ["10.244.1.2"], "targetRef": ["kind": "Pod", "name": "a"]], ["addresses": ["10.244.1.3"]],
        ]
        pods.model.set(MeshSlice(slice), slice.key, old: nil)
        let changes = pods.model.changes()
        #expect(changes[.sidecars].map(\.name) == ["10.244.1.2_5432"])
        let clusters = changes[.members].filter { $0.kind == .cluster }.map(\.name)
        #expect(clusters.contains("outbound|5432|direct|db.shop.svc.cluster.local"))
        pods.peers("off", ["mtls": ["mode": "DISABLE"]])
        let off = pods.model.changes()[.sidecars]
        #expect(off.count == 1 && off.allSatisfy { $0.message == nil })
    }
}
