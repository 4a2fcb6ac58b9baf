import ClusterFixture
import ClusterAPI
import ClusterClient
import JSON
import Testing
import TestSupport

@testable import MeshControl

@Suite(
    "Policies, and what is said of them",
    .enabled(if: MeshLab.isAvailable, "needs root, nft and the built weft-proxy"))
struct PolicyTests {
    static let sidecars = [MeshLab.Sidecar.weft] + (EnvoyBinary.path == nil ? [] : [.envoy])

    @Test(
        "one for a Service holds at its ports alone; what is audited is told, and statuses say who obeys",
        arguments: sidecars)
    func targets(server: MeshLab.Sidecar) async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web")
            let cart = try await lab.pod("cart-1", account: "cart", sidecar: server)
            let address = try await lab.service("cart", app: "cart")
            try await lab.endpoints("cart", [cart])
            func status(_ url: String) async throws -> Int { try await lab.get(url, from: web).status }
            try await lab.eventually("web reaches cart") { try await status("http://\(address)/") == 200 }
            try await lab.policy(
                "AuthorizationPolicy", "nobody",
                ["targetRefs": [["group": "", "kind": "Service", "name": "cart"]], "action": "ALLOW", "rules": []])
            try await lab.eventually("nobody is let in at the Service's port") {
                try await status("http://\(cart.address):8080/") == 403
            }
            // No Service leads there.
            #expect(try await status("http://\(cart.address):8081/") != 403)
            #expect(try await lab.condition("AuthorizationPolicy", "nobody", "Accepted") == "True Accepted")
            try await lab.eventually("it is said to be enforced") {
                try await lab.condition("AuthorizationPolicy", "nobody", "weft.dev/Effective") == "True Enforced"
            }
            try await lab.remove("AuthorizationPolicy", "nobody")
            try await lab.policy(
                "AuthorizationPolicy", "seen",
                [
                    "action": "AUDIT", "selector": ["matchLabels": ["app": "cart"]],
                    "rules": [["to": [["operation": ["paths": ["/seen"]]]]]],
                ])
            try await lab.eventually("a request is told in the log") {
                _ = try await status("http://\(address)/unseen")
                _ = try await status("http://\(address)/seen")
                return try lab.output(cart).contains("audit ns[shop]-policy[seen]-rule[0]")
            }
            let told = try lab.output(cart)
            #expect(
                told.contains("spiffe://cluster.local/ns/shop/sa/web") && told.contains("\"GET /seen HTTP/1.1\" 200"))
            #expect(!told.contains("/unseen"))
            // What nobody obeys, or nobody enforces, says so.
            try await lab.policy("AuthorizationPolicy", "custom", ["action": "CUSTOM", "provider": ["name": "x"]])
            try await lab.policy("PeerAuthentication", "typo", ["selector": ["matchLabels": ["app": "cort"]]])
            try await lab.eventually("refused and idle policies say so") {
                let refused = try await lab.condition("AuthorizationPolicy", "custom", "Accepted")
                let idle = try await lab.condition("PeerAuthentication", "typo", "weft.dev/Effective")
                return refused == "False Invalid" && idle == "False SelectsNothing"
            }
        }
    }

    @Test(
        "tokens are looked at, and who has none, or another's, is kept out where a policy wants one",
        arguments: sidecars)
    func tokens(server: MeshLab.Sidecar) async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web")
            let issuer = try await lab.pod("issuer-1", account: "issuer", sidecar: .none)
            let cart = try await lab.pod("cart-1", account: "cart", sidecar: server)
            let address = try await lab.service("cart", app: "cart")
            try await lab.endpoints("cart", [cart])
            func ask(_ token: String?) async throws -> (status: Int, body: String) {
                let more = token.map { ["-H", "authorization: Bearer \($0)"] } ?? []
                return try await lab.get("http://\(address)/", from: web, more)
            }
            func token(_ subject: String, _ claims: String = "{}", of issuer: String = "https://issuer.test")
                async throws
                -> String
            {
                try await lab.run(["python3", MeshLab.script, "token", issuer, subject, claims], in: web)
            }
            try await lab.eventually("web reaches cart") { try await ask(nil).status == 200 }
            try await lab.policy(
                "RequestAuthentication", "tokens",
                [
                    "selector": ["matchLabels": ["app": "cart"]],
                    "jwtRules": [
                        [
                            "issuer": "https://issuer.test", "jwksUri": .string("http://\(issuer.address):8080/jwks"),
                            "outputClaimToHeaders": [["header": "x-user", "claim": "sub"]],
                        ]
                    ],
                ])
            try await lab.eventually("a token that is none is refused") { try await ask("no.token.this").status == 401 }
            let alice = try await token("alice", #"{"group": ["staff", "admin"]}"#)
            let bob = try await token("bob", #"{"group": ["staff"]}"#)
            let known = try await ask(alice)
            let bare = try await ask(nil)
            #expect(known.status == 200 && known.body.contains(#""user": "alice""#), "\(known)")
            #expect(bare.status == 200, "who has none passes")
            let foreign = try await token("alice", of: "https://other.test")
            #expect(try await ask(foreign).status == 401)
            try await lab.policy(
                "AuthorizationPolicy", "admins",
                [
                    "selector": ["matchLabels": ["app": "cart"]],
                    "rules": [
                        [
                            "from": [["source": ["requestPrincipals": ["https://issuer.test/*"]]]],
                            "when": [["key": "request.auth.claims[group]", "values": ["admin"]]],
                        ]
                    ],
                ])
            try await lab.eventually("who has no token is not allowed") { try await ask(nil).status == 403 }
            #expect(try await ask(alice).status == 200)
            #expect(try await ask(bob).status == 403)
            try await lab.eventually("it is said to be enforced") {
                try await lab.condition("RequestAuthentication", "tokens", "weft.dev/Effective") == "True Enforced"
            }
        }
    }

    @Test("another who is asked decides (CUSTOM), over mutual TLS as all others are", arguments: sidecars)
    func asked(server: MeshLab.Sidecar) async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web")
            let cart = try await lab.pod("cart-1", account: "cart", sidecar: server)
            let address = try await lab.service("cart", app: "cart")
            try await lab.endpoints("cart", [cart])
            var providers = "extensionProviders:\n"
            for (name, status) in [("yes", 200), ("no", 403)] {
                let pod = try await lab.pod("\(name)-1", account: name, status: status)
                _ = try await lab.service(name, app: name)
                try await lab.endpoints(name, [pod])
                providers +=
                    "- {name: \(name), envoyExtAuthzHttp: {service: \(name).shop.svc.cluster.local, port: 80}}\n"
            }
            var settings = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "kube-system", name: "istio")
            settings.json["data"] = ["mesh": .string(providers)]
            try await lab.client.put(.configMaps, settings)
            // Whoever asks in plain text is answered with 403, which would be a refusal.
            try await lab.policy("PeerAuthentication", "default", ["mtls": ["mode": "STRICT"]])
            func ask(_ path: String) async throws -> Int {
                try await lab.get("http://\(address)\(path)", from: web).status
            }
            try await lab.eventually("web reaches cart") { try await ask("/") == 200 }
            func decides(_ name: String) async throws {
                try await lab.policy(
                    "AuthorizationPolicy", "asks",
                    [
                        "selector": ["matchLabels": ["app": "cart"]], "action": "CUSTOM",
                        "provider": ["name": .string(name)],
                        "rules": [["to": [["operation": ["paths": ["/private*"]]]]]],
                    ])
            }
            try await decides("no")
            try await lab.eventually("it refuses") { try await ask("/private") == 403 }
            #expect(try await ask("/") == 200)
            try await decides("yes")
            try await lab.eventually("the other allows") { try await ask("/private") == 200 }
            try await decides("nobody")
            try await lab.eventually("nobody is there to allow") { try await ask("/private") == 403 }
            #expect(try await ask("/") == 200)
        }
    }

    @Test("what a sidecar refuses is said by the route that it comes from, in its own words", arguments: sidecars)
    func refusal(client: MeshLab.Sidecar) async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web", sidecar: client)
            let cart = try await lab.pod("cart-1", account: "cart")
            let address = try await lab.service("cart", app: "cart")
            try await lab.endpoints("cart", [cart])
            // Whoever calls a Service is told of its routes.
            for pod in [web, cart] {
                try await lab.eventually("\(pod.key) reaches cart") {
                    try await lab.get("http://\(address)/", from: pod).status == 200
                }
            }
            // No proxy takes a host away from a request, and nothing in the API forbids to ask for it.
            try await lab.route(
                "bad", to: "cart", ["type": "RequestHeaderModifier", "requestHeaderModifier": ["remove": ["host"]]])
            try await lab.eventually("the route tells why it is not used") {
                let (status, message) = try await lab.routeCondition("bad", "weft.dev/Programmed")
                return status == "False" && message.contains("sidecar~cart-1.shop refuses rds: ")
                    && message.hasSuffix(" (and others)") && message.contains("host")
            }
            let answer = try await lab.get("http://\(address)/", from: web)
            #expect(answer.status == 200, "what the proxy had goes on")
            try await lab.route(
                "bad", to: "cart", ["type": "RequestHeaderModifier", "requestHeaderModifier": ["remove": ["x"]]])
            try await lab.eventually("what is taken is said no more to be refused") {
                try await lab.routeCondition("bad", "weft.dev/Programmed").status == ""
            }
        }
    }
}
