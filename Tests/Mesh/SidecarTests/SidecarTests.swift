// Sidecars at work: real ones, ours and Envoy 1.40, under the mesh's control plane and a real API server.
import ClusterAPI
import JSON
import TestSupport
import Testing

@Suite(
    "Pods behind sidecars", .serialized, .enabled(if: MeshLab.isAvailable, "needs root, nft and weft-proxy"),
    .enabled(if: EnvoyBinary.path != nil, "Envoy cannot be installed"))
struct SidecarTests {
    static let sidecars: [MeshLab.Sidecar] = [.weft, .envoy]
    static let pairs: [(MeshLab.Sidecar, MeshLab.Sidecar)] = [(.weft, .weft), (.weft, .envoy), (.envoy, .weft)]

    @Test(
        "a call goes by mutual TLS and says who calls; a server may speak first; a pod may call itself",
        arguments: pairs)
    func mutualTLS(client: MeshLab.Sidecar, server: MeshLab.Sidecar) async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web", sidecar: client)
            let cart = try await lab.pod("cart-1", account: "cart", sidecar: server)
            let address = try await lab.service("cart", app: "cart")
            try await lab.endpoints("cart", [cart])
            try await lab.eventually("web reaches cart") {
                let answer = try await lab.get("http://\(address)/", from: web)
                guard answer.body.contains("spiffe") else { throw MeshLab.Failure(description: "\(answer)") }
                return true
            }
            let sniffer = try await lab.sniff("watchword")
            let answer = try await lab.get("http://\(address)/watchword", from: web, "-H", "host: whatever")
            let json = try JSONValue.parse(Array(answer.body.utf8))
            #expect(answer.status == 200 && json.text("path") == "/watchword" && json.text("host") == "whatever")
            #expect(json.text("identity").contains("URI=spiffe://cluster.local/ns/shop/sa/web"), "\(json)")
            let seen = try await sniffer.end()
            #expect(seen["word"] == 0 && seen["all", default: 0] > 0, "\(seen)")
            let greeting = try await lab.run(["python3", MeshLab.script, "greet", address, "90"], in: web)
            #expect(greeting == "hello from cart-1")
            // Its own endpoint, by the Service's address.
            let own = try await lab.get("http://\(address)/", from: cart)
            #expect(own.status == 200 && own.body.contains("sa/cart"), "\(own)")
            // What is no Service's goes where it was going; without a sidecar there it is plain.
            let bare = try await lab.pod("bare-1", account: "bare", sidecar: .none)
            try await lab.eventually("web reaches bare") {
                try await lab.get("http://\(bare.address):8080/", from: web).body.contains("bare-1")
            }
        }
    }

    @Test(
        "plain text is taken until a namespace is strict, then refused with a word; streams are reset",
        arguments: sidecars)
    func modes(server: MeshLab.Sidecar) async throws {
        try await MeshLab.run { lab in
            let bare = try await lab.pod("bare-1", in: "other", account: "bare", sidecar: .none)
            let web = try await lab.pod("web-1", account: "web")
            let cart = try await lab.pod("cart-1", account: "cart", sidecar: server)
            let address = try await lab.service("cart", app: "cart")
            try await lab.endpoints("cart", [cart])
            try await lab.eventually("cart speaks HTTP") {
                try await lab.get("http://\(address)/", from: web).body.contains("sa/web")
            }
            try await lab.eventually("bare reaches cart in plain text") {
                let answer = try await lab.get("http://\(cart.address):8080/", from: bare)
                return answer.status == 200 && !answer.body.contains("spiffe")
            }
            // Nobody says himself who he is.
            let liar = try await lab.get(
                "http://\(cart.address):8080/", from: bare, "-H",
                "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/shop/sa/web")
            #expect(liar.status == 200 && !liar.body.contains("spiffe"))
            let greeting = try await lab.run(["python3", MeshLab.script, "greet", cart.address, "9000"], in: bare)
            #expect(greeting == "hello from cart-1", "the server speaks first, to one who says nothing")
            try await lab.policy("PeerAuthentication", "default", ["mtls": ["mode": "STRICT"]])
            try await lab.eventually("bare is refused") {
                try await lab.get("http://\(cart.address):8080/", from: bare).status == 403
            }
            let refusal = try await lab.get("http://\(cart.address):8080/", from: bare)
            #expect(
                refusal.body.contains(
                    "shop/cart-1 takes nothing but mutual TLS on port 8080 (PeerAuthentication STRICT)"))
            let stream = try await lab.run(
                [
                    "curl", "-sS", "--stderr", "-", "-m", "30", "telnet://\(cart.address):9000", "--upload-file",
                    MeshLab.script,
                ], in: bare)
            #expect(!stream.contains("hello"), "\(stream)")
            // Of a port that no Service leads to the same holds.
            let other = try await lab.get("http://\(cart.address):8081/", from: bare)
            #expect(other.status == 0)
            let member = try await lab.get("http://\(address)/", from: web)
            #expect(member.status == 200 && member.body.contains("sa/web"))
            // One port may have a mode of its own.
            try await lab.policy(
                "PeerAuthentication", "cart",
                ["selector": ["matchLabels": ["app": "cart"]], "portLevelMtls": ["8080": ["mode": "DISABLE"]]])
            try await lab.eventually("bare reaches the port that takes plain text") {
                try await lab.get("http://\(cart.address):8080/", from: bare).status == 200
            }
            try await lab.eventually("web speaks plain text to it") {
                let answer = try await lab.get("http://\(address)/", from: web)
                return answer.status == 200 && !answer.body.contains("spiffe")
            }
        }
    }

    @Test("policies deny and allow by who calls, what, and where; a dry one only tells", arguments: sidecars)
    func authorization(server: MeshLab.Sidecar) async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web")
            let api = try await lab.pod("api-1", account: "api")
            let cart = try await lab.pod("cart-1", account: "cart", sidecar: server)
            let address = try await lab.service("cart", app: "cart")
            try await lab.endpoints("cart", [cart])
            func status(_ pod: MeshLab.Pod, _ path: String, _ more: String...) async throws -> Int {
                try await lab.get("http://\(address)\(path)", from: pod, more).status
            }
            for pod in [web, api] {
                try await lab.eventually("\(pod.key) reaches cart") { try await status(pod, "/") == 200 }
            }
            try await lab.policy(
                "AuthorizationPolicy", "no-admin",
                [
                    "action": "DENY", "selector": ["matchLabels": ["app": "cart"]],
                    "rules": [
                        [
                            "from": [["source": ["principals": ["cluster.local/ns/shop/sa/web"]]]],
                            "to": [["operation": ["paths": ["/admin*"], "ports": ["8080"]]]],
                            "when": [["key": "request.headers[x-break-glass]", "notValues": ["yes"]]],
                        ]
                    ],
                ])
            try await lab.eventually("web is denied /admin") { try await status(web, "/admin/x") == 403 }
            let denied = try await lab.get("http://\(address)/admin", from: web)
            #expect(denied.body == "RBAC: access denied")
            #expect(try await status(web, "/") == 200)
            #expect(try await status(api, "/admin") == 200)
            #expect(try await status(web, "/admin", "-H", "x-break-glass: yes") == 200)
            // Once something is allowed, nothing else is; a stream as well.
            try await lab.policy(
                "AuthorizationPolicy", "readers",
                [
                    "selector": ["matchLabels": ["app": "cart"]],
                    "rules": [
                        [
                            "from": [["source": ["serviceAccounts": ["api"]]]],
                            "to": [["operation": ["methods": ["GET"], "ports": ["8080"]]]],
                        ],
                        [
                            "from": [["source": ["namespaces": ["shop"], "notPrincipals": ["*/sa/api"]]]],
                            "to": [["operation": ["ports": ["9000"]]]],
                        ],
                    ],
                ])
            try await lab.eventually("web is not allowed") { try await status(web, "/") == 403 }
            #expect(try await status(api, "/") == 200)
            #expect(try await status(api, "/", "-X", "POST") == 403)
            func stream(_ pod: MeshLab.Pod) async throws -> Bool {
                let text = try await lab.run(
                    ["curl", "-s", "-m", "2", "telnet://\(address):90", "--upload-file", MeshLab.script], in: pod)
                return text.contains("An application in a pod")
            }
            #expect(try await stream(web))
            #expect(try await !stream(api))
            // Nothing at all, but only to see what it would do.
            try await lab.remove("AuthorizationPolicy", "readers")
            try await lab.policy("AuthorizationPolicy", "nothing", dry: true, [:])
            try await lab.eventually("all are allowed") { try await status(web, "/") == 200 }
            try await lab.eventually("the dry policy tells") {
                _ = try await status(web, "/")
                let address = try await lab.adminAddress(cart)
                let stats = try await lab.run(
                    ["curl", "-s", "http://\(address)/stats?filter=istio_dry_run_allow_"], in: cart)
                return stats.split(separator: "\n").contains {
                    $0.hasPrefix("http.") && $0.contains("shadow_denied: ") && !$0.hasSuffix(": 0")
                }
            }
            try await lab.policy("AuthorizationPolicy", "nothing", [:])
            try await lab.eventually("nobody is allowed") { try await status(api, "/") == 403 }
        }
    }

    @Test(
        "a canary moves, testers go where their header says, a failing version is hidden, and no request fails meanwhile"
    )
    func canary() async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web")
            let first = try await lab.pod("v1-1", account: "v1")
            let second = try await lab.pod("v2-1", account: "v2")
            let address = try await lab.service("cart", app: "v1")
            for (name, pods) in [("cart", [first]), ("cart-v1", [first]), ("cart-v2", [second])] {
                if name != "cart" { _ = try await lab.service(name, app: String(name.dropFirst(5))) }
                try await lab.endpoints(name, pods)
            }
            try await lab.eventually("web reaches v1") {
                try await lab.get("http://\(address)/", from: web).body.contains("v1-1")
            }
            let load = try await lab.load(from: web, "http://\(address)/")
            for weight in [10, 50, 100] {
                try await lab.split("cart", ["cart-v1": 100 - weight, "cart-v2": weight], testers: "cart-v2")
                let testers = try await lab.get("http://\(address)/", from: web, "-H", "x-tester: yes")
                #expect(testers.status == 200)
                try await lab.eventually("v2 answers with \(weight) %") {
                    try await lab.get("http://\(address)/", from: web).body.contains("v2-1")
                }
            }
            try await lab.eventually("testers reach v2") {
                try await lab.get("http://\(address)/", from: web, "-H", "x-tester: yes").body.contains("v2-1")
            }
            // A pod that comes takes its share, one that fails is hidden and ejected, one that goes is not missed.
            let failing = try await lab.pod("v2-2", account: "v2", status: 503)
            try await lab.endpoints("cart-v2", [second, failing])
            try await lab.eventually("the failing pod is ejected") {
                let address = try await lab.adminAddress(web)
                let text = try await lab.run(["curl", "-s", "http://\(address)/clusters"], in: web)
                return text.split(separator: "\n").contains {
                    $0.contains("cart-v2") && $0.contains(failing.address) && $0.contains("failed_outlier_check")
                }
            }
            let third = try await lab.pod("v2-3", account: "v2")
            try await lab.endpoints("cart-v2", [third])
            try await lab.eventually("the new pod answers") {
                try await lab.get("http://\(address)/", from: web).body.contains("v2-3")
            }
            try await lab.split("cart", ["cart-v1": 100, "cart-v2": 0], testers: "cart-v2")
            try await lab.eventually("v1 answers again") {
                try await lab.get("http://\(address)/", from: web).body.contains("v1-1")
            }
            let seen = try await load.end()
            #expect(Set(seen.keys).isSubset(of: ["v1-1", "v2-1", "v2-3"]), "\(seen)")
            // The third pod was seen above; how much of the load came while it had a share is the machine's to say.
            #expect(seen["v2-1", default: 0] > 0)
        }
    }
}
