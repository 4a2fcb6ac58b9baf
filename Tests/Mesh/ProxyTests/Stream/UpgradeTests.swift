import Testing

@testable import Proxy

@Suite("Upgrades and tunnels")
struct UpgradeTests {
    private static let request = """
        GET /chat HTTP/1.1\r
        Host: h\r
        Connection: Upgrade\r
        Upgrade: websocket\r
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
        Sec-WebSocket-Version: 13\r
        \r

        """
    private static let upgrades = "upgrade_configs: [{ upgrade_type: websocket }]"

    /// Agrees to the upgrade, then sends back what comes in capitals.
    private static let upstream: ScriptedUpstream.Script = { request, number in
        .becomeTunnel("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n") {
            $0.uppercased()
        }
    }

    @Test("a WebSocket passes over HTTP/1, both ways, until either side ends it")
    func webSocket() async throws {
        try await ProxyBench.run(ProxyBench.http(manager: Self.upgrades), upstreams: [Self.upstream]) { bench in
            let client = try await bench.client()
            try await client.send(Self.request)
            let answer = try await client.response()
            #expect(answer.status == 101)
            #expect(answer["upgrade"] == "websocket")
            try await client.send("hello")
            #expect(try await client.read(5) == "HELLO")
            try await client.send("again")
            #expect(try await client.read(5) == "AGAIN")
            let seen = bench.upstreams[0].requests.first ?? ""
            #expect(seen.contains("upgrade: websocket\r\n") && seen.contains("connection: Upgrade\r\n"))
            await client.connection.shutdownWrite()
            #expect(try await client.everything() == "")
        }
    }

    @Test("an upgrade that is not configured is forbidden")
    func notConfigured() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [Self.upstream]) { bench in
            let answer = try await bench.exchange(Self.request)
            #expect(answer.status == 403)
            #expect(bench.upstreams[0].requests.isEmpty)
        }
    }

    @Test("an upstream that does not agree answers as usual")
    func declined() async throws {
        let script = ScriptedUpstream.says("no")
        try await ProxyBench.run(ProxyBench.http(manager: Self.upgrades), upstreams: [script]) { bench in
            let answer = try await bench.exchange(Self.request)
            #expect(answer.status == 200 && answer.body == "no")
        }
    }

    @Test("over HTTP/2 between two proxies it is an extended CONNECT, and the ends see HTTP/1")
    func overHTTP2() async throws {
        let inner = ProxyBench.http(manager: Self.upgrades + "\nhttp2_protocol_options: { allow_connect: true }")
        try await ProxyBench.run(inner, upstreams: [Self.upstream]) { second in
            guard let port = try await second.address().port?.rawValue else { throw Unexpected("no port") }
            let outer = ProxyBench.http(manager: Self.upgrades, cluster: "http2_protocol_options: {}")
            try await ProxyBench.run(outer.components("$0").joined(separator: "\(port)")) { first in
                let client = try await first.client()
                try await client.send(Self.request)
                let answer = try await client.response()
                #expect(answer.status == 101 && answer["upgrade"] == "websocket")
                try await client.send("hello")
                #expect(try await client.read(5) == "HELLO")
            }
            let seen = second.upstreams[0].requests.first ?? ""
            #expect(seen.hasPrefix("GET /chat HTTP/1.1\r\n"))
        }
    }
}
