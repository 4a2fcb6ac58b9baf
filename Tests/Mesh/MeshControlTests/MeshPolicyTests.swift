import Bytes
import ClusterAPI
import JSON
import Testing

@testable import MeshControl
@testable import XDS

@Suite("What the mesh says of its policies")
struct MeshPolicyTests {
    private func conditions(
        _ pods: MeshPodsWorld, _ kind: MeshPolicyKind, _ name: String, in namespace: String = "shop"
    )
        -> [String]
    {
        let target = StatusTarget.meshPolicy(
            MeshPolicyKey(kind: kind, key: ObjectKey(namespace: namespace, name: name)))
        let patch = pods.model.status(target, ProxyRefusals(), now: Timestamp(seconds: 0))?.patch
        return patch?.list("status", "conditions").map {
            "\($0.text("type"))=\($0.text("status")):\($0.text("reason")): \($0.text("message"))"
        } ?? []
    }

    /// A policy, whether it is accepted, whether somebody obeys it, and of each a part of the sentence.
    private struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var spec: JSONValue
        var accepted: String
        var effective: String
        var sentence: String
    }

    private static let cases = [
        Case(
            testDescription: "enforced", spec: [:], accepted: "True:Accepted", effective: "True:SomeWithoutSidecar",
            sentence: "of the pods of namespace shop some have no sidecar"),
        Case(
            testDescription: "a selector of a pod with a sidecar", spec: ["selector": ["matchLabels": ["app": "cart"]]],
            accepted: "True:Accepted", effective: "True:Enforced", sentence: "the pods of namespace shop with app=cart"),
        Case(
            testDescription: "a selector of none", spec: ["selector": ["matchLabels": ["app": "cort"]]],
            accepted: "True:Accepted", effective: "False:SelectsNothing",
            sentence: "the pods of namespace shop with app=cort: there is none"),
        Case(
            testDescription: "pods without a sidecar", spec: ["selector": ["matchLabels": ["app": "old"]]],
            accepted: "True:Accepted", effective: "False:NoSidecar", sentence: "mesh.weft.dev/inject=enabled"),
        Case(
            testDescription: "an action that nobody knows", spec: ["action": "ASK"],
            accepted: "False:Invalid", effective: "False:NotAccepted", sentence: "action ASK is not supported"),
        Case(
            testDescription: "somebody to ask whom nobody knows",
            spec: ["action": "CUSTOM", "provider": ["name": "x"]],
            accepted: "False:Invalid", effective: "False:NotAccepted", sentence: "nobody who authorizes is called x"),
        Case(
            testDescription: "a target that is there", spec: ["targetRefs": [["kind": "Service", "name": "cart"]]],
            accepted: "True:Accepted", effective: "True:Enforced", sentence: "the pods behind Service shop/cart"),
        Case(
            testDescription: "a target that is not", spec: ["targetRefs": [["kind": "Service", "name": "cort"]]],
            accepted: "False:TargetNotFound", effective: "False:NotAccepted", sentence: "there is no Service shop/cort"),
        Case(
            testDescription: "tokens that nobody checks",
            spec: [
                "selector": ["matchLabels": ["app": "cart"]],
                "rules": [["from": [["source": ["requestPrincipals": ["*"]]]]]],
            ],
            accepted: "True:Accepted", effective: "False:TokensNotChecked", sentence: "no RequestAuthentication"),
        Case(
            testDescription: "a target of a kind that nobody knows",
            spec: ["targetRefs": [["group": "networking.istio.io", "kind": "ServiceEntry", "name": "x"]]],
            accepted: "False:Invalid", effective: "False:NotAccepted", sentence: "name a ServiceEntry"),
        Case(
            testDescription: "a Gateway that is not",
            spec: ["targetRefs": [["group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"]]],
            accepted: "False:TargetNotFound", effective: "False:NotAccepted", sentence: "there is no Gateway shop/edge"),
    ]

    @Test("an AuthorizationPolicy says whether it is enforced, and by whom", arguments: cases)
    private func authorization(_ one: Case) {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        pods.pod("b", ["app": "old"], isMeshed: false)
        pods.service("cart", ["app": "cart"], ["name": "http", "port": 80, "targetPort": 8080])
        pods.authorization("p", one.spec)
        let found = conditions(pods, .authorization, "p")
        #expect(found.count == 2)
        #expect(found.first?.hasPrefix("Accepted=\(one.accepted):") == true, "\(found)")
        #expect(found.last?.hasPrefix("weft.dev/Effective=\(one.effective):") == true, "\(found)")
        #expect(found.last?.contains(one.sentence) == true, "\(found)")
    }

    @Test("a dry run says so; one for the whole mesh is for pods anywhere; of two modes the older counts")
    func others() {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        pods.authorization("dry", [:], annotations: ["istio.io/dry-run": "true"])
        #expect(conditions(pods, .authorization, "dry").last?.contains("=True:DryRun:") == true)
        pods.authorization("mesh", in: "kube-system", ["selector": ["matchLabels": ["app": "cart"]]])
        #expect(conditions(pods, .authorization, "mesh", in: "kube-system").last?.contains("=True:Enforced:") == true)
        pods.peers("local", in: "kube-system", ["selector": ["matchLabels": ["app": "cart"]]])
        #expect(conditions(pods, .peers, "local", in: "kube-system").last?.contains("=False:SelectsNothing:") == true)
        pods.peers("one", created: "1", ["mtls": ["mode": "STRICT"]])
        pods.peers("two", created: "2", ["mtls": ["mode": "PERMISSIVE"]])
        #expect(conditions(pods, .peers, "one").first?.hasPrefix("Accepted=True") == true)
        let second = conditions(pods, .peers, "two").first
        #expect(second?.hasPrefix("Accepted=False:Conflicted: PeerAuthentication shop/one is older") == true)
    }

    @Test("who says a port's mode is the narrowest that says something")
    func decider() throws {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        func decider(_ port: Int) throws -> String? {
            let pod = try #require(pods.model.world.pods[ObjectKey(namespace: "shop", name: "a")])
            return pods.model.world.policies.decider(of: pod, port: port).map { "\($0)" }
        }
        #expect(try decider(80) == nil)
        pods.peers("mesh", in: "kube-system", ["mtls": ["mode": "STRICT"]])
        #expect(try decider(80) == "kube-system/mesh")
        pods.peers("silent", created: "1", ["mtls": ["mode": "UNSET"]])
        #expect(try decider(80) == "kube-system/mesh")
        pods.peers("silent", created: "1", ["mtls": ["mode": "PERMISSIVE"]])
        #expect(try decider(80) == "shop/silent")
        let selector: JSONValue = ["matchLabels": ["app": "cart"]]
        pods.peers(
            "cart", ["selector": selector, "portLevelMtls": ["80": ["mode": "DISABLE"], "81": ["mode": "UNSET"]]])
        #expect(try decider(80) == "shop/cart")
        #expect(try decider(81) == "shop/silent")
        #expect(try decider(82) == "shop/silent")
        pods.peers("cart", ["selector": selector, "mtls": ["mode": "STRICT"]])
        #expect(try decider(82) == "shop/cart")
    }

    @Test("a policy's status is a matter of pods that come, go, or get a sidecar, and of its targets")
    func touched() {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        pods.authorization("cart", ["selector": ["matchLabels": ["app": "cart"]]])
        pods.authorization("web", ["selector": ["matchLabels": ["app": "web"]]])
        pods.authorization("target", ["targetRefs": [["kind": "Service", "name": "cart"]]])
        _ = pods.statuses()
        pods.pod("b", ["app": "web"])
        #expect(pods.statuses() == ["AuthorizationPolicy shop/web"])
        pods.pod("b", ["app": "web"])
        #expect(pods.statuses().isEmpty, "nothing is new")
        pods.pod("b", ["app": "web"], isMeshed: false)
        #expect(pods.statuses() == ["AuthorizationPolicy shop/web"])
        pods.service("cart", ["app": "cart"], ["port": 80])
        #expect(pods.statuses() == ["AuthorizationPolicy shop/target"])
        pods.peers("one", created: "1", ["mtls": ["mode": "STRICT"]])
        pods.peers("two", created: "2", ["mtls": ["mode": "STRICT"]])
        #expect(pods.statuses() == ["PeerAuthentication shop/one", "PeerAuthentication shop/two"])
    }

    @Test("what is written is not written again, and other writers' conditions stay")
    func written() throws {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        let foreign: JSONValue = ["type": "Reconciled", "status": "True"]
        pods.authorization("p", [:], conditions: [foreign])
        let target = StatusTarget.meshPolicy(
            MeshPolicyKey(kind: .authorization, key: ObjectKey(namespace: "shop", name: "p")))
        let patch = try #require(pods.model.status(target, ProxyRefusals(), now: Timestamp(seconds: 0))).patch
        let conditions = patch.list("status", "conditions")
        #expect(conditions.count == 3 && conditions.contains(foreign))
        pods.authorization("p", [:], conditions: conditions)
        #expect(pods.model.status(target, ProxyRefusals(), now: Timestamp(seconds: 99)) == nil)
    }

    @Test("a policy for a Service holds at the ports that it leads to, and nowhere else")
    func targets() throws {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        pods.service("cart", ["app": "cart"], ["name": "http", "port": 80, "targetPort": "web"])
        pods.service("admin", ["app": "cart"], ["name": "tcp", "port": 81, "targetPort": 9090])
        pods.authorization("cart", ["targetRefs": [["kind": "Service", "name": "cart"]], "rules": [[:]]])
        pods.authorization(
            "admin", ["targetRef": ["kind": "Service", "name": "admin"], "action": "DENY", "rules": [[:]]])
        let shape = try pods.shape("a")
        #expect(shape.authorizations.whole.isEmpty && shape.authorizations.at(nil).isEmpty)
        #expect(shape.authorizations.at(8080).map(\.key.name) == ["cart"])
        #expect(shape.authorizations.at(9090).map(\.key.name) == ["admin"])
        let resources = try pods.resources("a")
        let route = try #require(resources["rds inbound|8080||"]?.list("virtual_hosts").first?.list("routes").first)
        #expect(route["typed_per_filter_config"]?.object?.count == 1)
        let chains = try #require(resources["lds virtualInbound"]).list("filter_chains")
        func filters(_ name: String) -> Int {
            chains.first { $0.text("name") == name }?.list("filters").count ?? 0
        }
        #expect(filters("inbound|9090|plain") == 2 && filters("inbound||plain") == 1)
    }

    @Test("what an AUDIT policy matches is told in a log that is there for nothing else")
    func audit() throws {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        pods.service("cart", ["app": "cart"], ["name": "http", "port": 80, "targetPort": 8080])
        func manager() throws -> JSONValue {
            let chains = try #require(pods.resources("a")["lds virtualInbound"]).list("filter_chains")
            let chain = try #require(chains.first { $0.text("name") == "inbound|8080|plain" })
            return chain.list("filters").last?["typed_config"] ?? .null
        }
        #expect(try manager().list("access_log").isEmpty)
        pods.authorization("seen", ["action": "AUDIT", "rules": [["to": [["operation": ["methods": ["GET"]]]]]]])
        #expect(try manager().list("access_log").count == 1)
        let names = try manager().list("http_filters").map { $0.text("name") }
        #expect(names.first == "envoy.filters.http.rbac.audit")
        let table = try #require(pods.resources("a")["rds inbound|8080||"])
        let settings = try #require(
            table.list("virtual_hosts").first?.list("routes").first?["typed_per_filter_config"]?.object)
        #expect(settings["envoy.filters.http.rbac.audit"]?.text("rbac", "rules", "action") == "LOG")
    }
}
