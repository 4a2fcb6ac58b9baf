import Bytes
import Reactor
import Testing

@testable import Proxy

@Suite("A DNS cluster")
struct NameDiscoveryTests {
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    private func run(
        _ type: String, _ first: NameServerOfTests.Answer,
        _ body: (ProxyBench, NameServerOfTests) async throws -> Void
    ) async throws {
        let group = try EventLoopGroup(count: 1, name: "dns")
        let server = try await NameServerOfTests(on: group.all[0])
        server.say(first)
        let cluster = """

              - name: c
                \(type)
                dns_lookup_family: V4_ONLY
                dns_refresh_rate: 0.05s
                connect_timeout: 1s
                typed_dns_resolver_config:
                  name: cares
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
                    resolvers:
                    - socket_address: { address: 127.0.0.1, port_value: \(try await server.port) }
                load_assignment:
                  cluster_name: c
                  endpoints:
                  - lb_endpoints:
                    - endpoint: { address: { socket_address: { address: svc.test., port_value: $0 } } }
            """
        let head = ProxyBench.http(routes: "- match: { prefix: / }\n  route: { cluster: c }", clusters: 0)
        try await ProxyBench.run(head + cluster, upstreams: [ScriptedUpstream.says("a")]) { bench in
            try await body(bench, server)
        }
        server.close()
        await group.shutdown()
    }

    private func loopback(_ last: UInt32) -> IPAddress { IPAddress(v4: 0x7F00_0000 | last) }

    @Test(
        "is warm when its names are, and follows them",
        arguments: ["type: STRICT_DNS", "type: LOGICAL_DNS"])
    func follows(type: String) async throws {
        try await run(type, .addresses([loopback(1)], ttl: 60)) { bench, server in
            let answer = try await bench.exchange(get)
            #expect(answer.body == "a")
            // Nobody listens there.
            server.say(.addresses([loopback(2)], ttl: 60))
            try await bench.until { try await bench.exchange(get).status == 503 }
            server.say(.addresses([loopback(1)], ttl: 60))
            try await bench.until { try await bench.exchange(get).status == 200 }
        }
    }

    static let useless: [NameServerOfTests.Answer] = [
        .silence, .code(2), .code(5), .lie(IPAddress(v4: 0x7F00_0002)),
    ]

    @Test("keeps its hosts while nobody answers, or with errors, or to other questions", arguments: useless.indices)
    func keeps(row: Int) async throws {
        try await run("type: STRICT_DNS", .addresses([loopback(1)], ttl: 60)) { bench, server in
            server.say(Self.useless[row])
            let asked = server.questions
            try await bench.until { server.questions > asked }
            for _ in 0..<3 {
                let answer = try await bench.exchange(get)
                #expect(answer.status == 200)
            }
        }
    }

    @Test("has no hosts when the name is gone")
    func gone() async throws {
        try await run("type: STRICT_DNS", .addresses([loopback(1)], ttl: 60)) { bench, server in
            server.say(.code(3))
            try await bench.until { try await bench.exchange(get).body == "no healthy upstream" }
        }
    }

    @Test("looks names up as the host does")
    func hostResolution() {
        let host = HostResolution(
            resolver: "nameserver 10.0.0.1\nsearch a.test b.test\noptions ndots:2 rotate\nnameserver ::1\n",
            hosts: "127.0.0.1 localhost me # not\n::1 localhost\n")
        #expect(host.servers.map(\.description) == ["10.0.0.1:53", "[::1]:53"])
        #expect(host.candidates("x.y").map(\.description) == ["x.y.a.test.", "x.y.b.test.", "x.y."])
        #expect(host.candidates("x.y.z").first?.description == "x.y.z.")
        #expect(host.candidates("x.").map(\.description) == ["x."])
        #expect(host.hosts["localhost"]?.count == 2)
        #expect(host.hosts["not"] == nil)
    }
}
