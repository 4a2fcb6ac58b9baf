import JSON
import Reactor
import TestSupport
import Testing

/// Sidecars whose control plane is away.
@Suite("Without a control plane", .serialized, .enabled(if: MeshLab.isAvailable, "needs root, nft and weft-proxy"))
struct OutageTests {
    @Test(
        "a sidecar reaches who it has never called: a STRICT server by mutual TLS, with its identity, and a bare pod in plain text"
    )
    func neverCalled() async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web")
            let cart = try await lab.pod("cart-1", account: "cart")
            let bare = try await lab.pod("bare-1", account: "bare", sidecar: .none)
            let address = try await lab.service("cart", app: "cart")
            try await lab.endpoints("cart", [cart])
            try await lab.policy("PeerAuthentication", "default", ["mtls": ["mode": "STRICT"]])
            try await lab.eventually("cart is strict") {
                try await lab.get("http://\(cart.address):8080/", from: bare).status == 403
            }
            // As kube-proxy has it, on the node.
            try await lab.onNode(
                """
                echo 1 > /proc/sys/net/ipv4/ip_forward
                nft 'table ip services {
                    chain before { type nat hook prerouting priority -100; ip daddr \(address) tcp dport 80 dnat to \(cart.address):8080; ip daddr \(address) tcp dport 90 dnat to \(cart.address):9000; }
                    chain after { type nat hook postrouting priority 100; ct status dnat masquerade; }
                }'
                """)
            await lab.stopControlPlane()
            try await lab.eventually("web knows that nobody can be asked") {
                let text = try await lab.run(
                    ["curl", "-s", "http://\(try await lab.adminAddress(web))/stats?filter=connected_state"], in: web)
                return text.contains("control_plane.connected_state: 0")
            }
            let sniffer = try await lab.sniff("watchword")
            for host in [address, cart.address + ":8080"] {
                let answer = try await lab.get("http://\(host)/watchword", from: web)
                #expect(answer.status == 200, "\(answer)")
                #expect(answer.body.contains("URI=spiffe://cluster.local/ns/shop/sa/web"), "\(answer)")
            }
            let seen = try await sniffer.end()
            #expect(seen["word"] == 0 && seen["all", default: 0] > 0, "\(seen)")
            let greeting = try await lab.run(["python3", MeshLab.script, "greet", address, "90"], in: web)
            #expect(greeting == "hello from cart-1")
            // Neither HTTP nor a server that speaks first takes TLS there.
            let plain = try await lab.get("http://\(bare.address):8080/", from: web)
            #expect(plain.status == 200 && plain.body.contains("bare-1") && !plain.body.contains("spiffe"), "\(plain)")
            let first = try await lab.run(["python3", MeshLab.script, "greet", bare.address, "9000"], in: web)
            #expect(first == "hello from bare-1")
            let stats = try await lab.run(
                ["curl", "-s", "http://\(try await lab.adminAddress(web))/stats?filter=tls_offer"], in: web)
            #expect(stats.contains("cluster.OpportunisticPassthroughCluster.tls_offer.taken: 3"), "\(stats)")
            #expect(stats.contains("cluster.OpportunisticPassthroughCluster.tls_offer.refused: 2"), "\(stats)")
        }
    }

    @Test("sidecars that are killed meanwhile come back, and their pods are called and call as before")
    func killed() async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web")
            let cart = try await lab.pod("cart-1", account: "cart")
            let bare = try await lab.pod("bare-1", account: "bare", sidecar: .none)
            let address = try await lab.service("cart", app: "cart")
            try await lab.endpoints("cart", [cart])
            try await lab.policy("PeerAuthentication", "default", ["mtls": ["mode": "STRICT"]])
            try await lab.policy(
                "AuthorizationPolicy", "no-admin",
                ["action": "DENY", "rules": [["to": [["operation": ["paths": ["/admin"]]]]]]])
            try await lab.eventually("cart is strict") {
                try await lab.get("http://\(cart.address):8080/", from: bare).status == 403
            }
            try await lab.eventually("the policy holds") {
                let open = try await lab.get("http://\(address)/", from: web)
                let denied = try await lab.get("http://\(address)/admin", from: web)
                return open.body.contains("sa/web") && denied.status == 403
            }
            try await lab.eventually("both have written down what they were told") {
                let states = try [web, cart].map { try Files.read("\($0.folder)/state") }
                return states[0].contains("\(address)_80".utf8) && states[1].contains("/admin".utf8)
                    && states[1].contains("takes nothing but mutual TLS on port 8080".utf8)
            }
            await lab.stopControlPlane()
            for pod in [web, cart] {
                try await lab.killSidecar(pod)
                try await lab.restartSidecar(pod)
            }
            // A proxy says that it listens a moment before it does.
            try await lab.eventually("web reaches cart") {
                try await lab.get("http://\(address)/", from: web).status == 200
            }
            let answer = try await lab.get("http://\(address)/", from: web)
            #expect(answer.status == 200 && answer.body.contains("URI=spiffe://cluster.local/ns/shop/sa/web"))
            #expect(try await lab.get("http://\(address)/admin", from: web).status == 403)
            #expect(try await lab.get("http://\(cart.address):8080/", from: bare).status == 403)
            // And to whom it has never called.
            #expect(try await lab.get("http://\(bare.address):8080/", from: web).body.contains("bare-1"))
        }
    }
}
