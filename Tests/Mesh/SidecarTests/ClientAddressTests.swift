import JSON
import TestSupport
import Testing

/// What applications see of their clients, in both families, by real packets between real sidecars.
@Suite(
    "Clients as applications see them", .serialized,
    .enabled(if: MeshLab.isAvailable, "needs root, nft and weft-proxy"),
    .enabled(if: EnvoyBinary.path != nil, "Envoy cannot be installed"))
struct ClientAddressTests {
    static let sidecars: [MeshLab.Sidecar] = [.weft, .envoy]

    private static func url(_ address: String, _ port: Int = 80) -> String {
        "http://\(address.contains(":") ? "[\(address)]" : address):\(port)/"
    }

    /// One a family, each with the pod's address of that family alone.
    private static func services(_ lab: MeshLab, _ pod: MeshLab.Pod) async throws -> [String] {
        var addresses: [String] = []
        for family in ["IPv4", "IPv6"] {
            let name = "cart-\(family.lowercased())"
            addresses.append(try await lab.service(name, app: pod.account, over: family))
            try await lab.endpoints(name, [pod], over: family)
        }
        return addresses
    }

    private static func peer(_ answer: (status: Int, body: String)) -> String {
        let json = try? JSONValue.parse(Array(answer.body.utf8))
        return json?["peer"]?.string ?? "\(answer.status) \(answer.body)"
    }

    @Test(
        "under TPROXY an application sees its clients' own addresses, by mutual TLS and in plain text",
        arguments: sidecars)
    func kept(server: MeshLab.Sidecar) async throws {
        try await MeshLab.run(isDualStack: true) { lab in
            let bare = try await lab.pod("bare-1", in: "other", account: "bare", sidecar: .none)
            let web = try await lab.pod("web-1", account: "web")
            let cart = try await lab.pod(
                "cart-1", account: "cart", sidecar: server,
                annotations: [
                    "sidecar.istio.io/interceptionMode": "TPROXY", "mesh.weft.dev/excludeInboundPorts": "9001",
                ])
            let services = try await Self.services(lab, cart)
            for (service, client, other, own) in [
                (services[0], web.address, bare.address, cart.address),
                (services[1], web.address6, bare.address6, cart.address6),
            ] {
                try await lab.eventually("web reaches cart at \(service)") {
                    try await lab.get(Self.url(service), from: web).body.contains("sa/web")
                }
                // Mutual TLS, several times over what is open.
                for _ in 0..<3 {
                    let answer = try await lab.get(Self.url(service), from: web)
                    #expect(Self.peer(answer) == client && answer.body.contains("sa/web"), "\(answer)")
                }
                let stream = try await lab.run(["python3", MeshLab.script, "who", service, "90"], in: web)
                #expect(stream == client)
                // Plain text, from two clients in turn.
                for _ in 0..<2 {
                    let plain = try await lab.get(Self.url(own, 8080), from: bare)
                    #expect(Self.peer(plain) == other && !plain.body.contains("spiffe"), "\(plain)")
                    #expect(try await lab.run(["python3", MeshLab.script, "who", own, "9000"], in: bare) == other)
                }
                // The pod itself, by its Service and without.
                let call = try await lab.get(Self.url(service), from: cart)
                #expect(Self.peer(call) == own && call.body.contains("sa/cart"), "\(call)")
                let direct = try await lab.get(Self.url(own, 8080), from: cart)
                #expect(Self.peer(direct) == own && !direct.body.contains("spiffe"), "\(direct)")
                // The sidecar's own ports are no way in.
                for port in [15001, 15006] {
                    let answer = try await lab.get(Self.url(own, port), from: bare, "-m", "1")
                    #expect(answer.status == 0)
                }
            }
            // Many connections, each of a port of its own.
            let load = try await lab.load(from: bare, Self.url(cart.address, 8080), Self.url(cart.address6, 8080))
            for _ in 0..<20 { _ = try await lab.get(Self.url(services[0]), from: web) }
            let counts = try await load.end()
            #expect(counts.keys.sorted() == ["cart-1"], "\(counts)")
        }
    }

    @Test(
        "TPROXY: strict mode holds, also where there is no sidecar; probes and open connections pass",
        arguments: sidecars)
    func strict(server: MeshLab.Sidecar) async throws {
        try await MeshLab.run(isDualStack: true) { lab in
            let bare = try await lab.pod("bare-1", in: "other", account: "bare", sidecar: .none)
            let web = try await lab.pod("web-1", account: "web")
            let cart = try await lab.pod(
                "cart-1", account: "cart", sidecar: server,
                annotations: [
                    "mesh.weft.dev/interceptionMode": "TPROXY",
                    "traffic.sidecar.istio.io/excludeInboundPorts": "9000",
                ])
            let services = try await Self.services(lab, cart)
            try await lab.policy("PeerAuthentication", "default", ["mtls": ["mode": "STRICT"]])
            try await lab.eventually("bare is refused") {
                try await lab.get(Self.url(cart.address, 8080), from: bare).status == 403
            }
            try await lab.onNode("ip addr add 169.254.7.127/32 dev lo")
            try await lab.onNode("ip addr add fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128 dev lo nodad")
            for (service, own, other, client, prober) in [
                (services[0], cart.address, bare.address, web.address, "169.254.7.127"),
                (services[1], cart.address6, bare.address6, web.address6, "fd16:9254:7127:1337:ffff:ffff:ffff:ffff"),
            ] {
                #expect(try await lab.get(Self.url(own, 8080), from: bare).status == 403)
                try await lab.eventually("web reaches cart at \(service)") {
                    try await lab.get(Self.url(service), from: web).body.contains("sa/web")
                }
                #expect(Self.peer(try await lab.get(Self.url(service), from: web)) == client)
                let excluded = try await lab.run(["python3", MeshLab.script, "who", own, "9000"], in: bare)
                #expect(excluded == other, "an excluded port is not the sidecar's business")
                let probe = try await lab.probe(Self.url(own, 8080), from: prober)
                #expect(Self.peer(probe) == prober, "\(probe)")
            }
            try await lab.killSidecar(cart)
            for address in [cart.address, cart.address6] {
                let answer = try await lab.get(Self.url(address, 8080), from: bare)
                #expect(answer.status == 0, "nobody comes past a sidecar that is not there: \(answer)")
            }
        }
    }

    @Test(
        "IPv6: Services, pods, streams, calls to oneself and exclusions pass sidecars as over IPv4", arguments: sidecars
    )
    func dualStack(server: MeshLab.Sidecar) async throws {
        try await MeshLab.run(isDualStack: true) { lab in
            let bare = try await lab.pod("bare-1", in: "other", account: "bare", sidecar: .none)
            let cart = try await lab.pod(
                "cart-1", account: "cart", sidecar: server,
                annotations: ["traffic.sidecar.istio.io/excludeInboundPorts": "9000"])
            let spare = try await lab.pod("spare-1", account: "spare", sidecar: .none)
            let web = try await lab.pod(
                "web-1", account: "web",
                annotations: ["traffic.sidecar.istio.io/excludeOutboundIPRanges": "\(cart.address6)/128"])
            let shop = try await lab.pod("shop-1", account: "shop", sidecar: server)
            let service = try await Self.services(lab, cart)[1]
            #expect(service.hasPrefix("fd00:96:"))
            try await lab.eventually("shop reaches cart at \(service)") {
                try await lab.get(Self.url(service), from: shop).body.contains("sa/shop")
            }
            let sniffer = try await lab.sniff("watchword")
            let answer = try await lab.get(Self.url(service) + "watchword", from: shop)
            #expect(answer.status == 200 && Self.peer(answer) == "::6", "\(answer)")
            let seen = try await sniffer.end()
            #expect(seen["word"] == 0 && seen["all", default: 0] > 0, "\(seen)")
            // By the pod's own address, and what is in no Service.
            let direct = try await lab.get(Self.url(cart.address6, 8080), from: shop)
            #expect(direct.status == 200 && Self.peer(direct) == "::6", "\(direct)")
            try await lab.eventually("shop reaches spare") {
                Self.peer(try await lab.get(Self.url(spare.address6, 8080), from: shop)) == shop.address6
            }
            let plain = try await lab.get(Self.url(cart.address6, 8080), from: bare)
            #expect(Self.peer(plain) == "::6" && !plain.body.contains("spiffe"), "\(plain)")
            // To itself.
            let own = try await lab.get(Self.url(service), from: cart)
            #expect(own.status == 200 && own.body.contains("sa/cart"), "\(own)")
            // What is excluded, going out and coming in.
            try await lab.policy("PeerAuthentication", "default", ["mtls": ["mode": "STRICT"]])
            try await lab.eventually("bare is refused") {
                try await lab.get(Self.url(cart.address6, 8080), from: bare).status == 403
            }
            let passedBy = try await lab.get(Self.url(cart.address6, 8080), from: web)
            #expect(passedBy.status == 403, "a range that is excluded is called in plain text: \(passedBy)")
            try await lab.eventually("web reaches cart by its Service") {
                try await lab.get(Self.url(service), from: web).body.contains("sa/web")
            }
            #expect(
                try await lab.run(["python3", MeshLab.script, "who", cart.address6, "9000"], in: bare) == bare.address6)
        }
    }
}
