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
