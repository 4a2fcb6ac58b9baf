import Bytes
import Reactor
import Testing

@testable import Proxy

@Suite("TCP proxy", .timeLimit(.minutes(1)))
struct TCPProxyTests {
    /// A listener `main` that passes connections on to `port`.
    static func configuration(
        _ port: UInt16, tcp: String = "", filters: String = "", listener: String = "", cluster: String = ""
    ) -> String {
        let types = "type.googleapis.com/envoy.extensions.filters.network"
        return """
            static_resources:
              listeners:
              - name: main
                address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
                \(listener)
                filter_chains:
                - filters:
                  \(filters)
                  - name: tcp
                    typed_config: { "@type": \(types).tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: c\(tcp) }
              clusters:
              - name: c
                connect_timeout: 5s
                \(cluster)
                load_assignment:
                  cluster_name: c
                  endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } } }] }]
            """
    }

    private func client(_ bench: ProxyBench) async throws -> StreamConnection { try await bench.client().connection }

    @Test("each side's bytes reach the other, whoever speaks first, and each side ends by itself")
    func halfClose() async throws {
        try await PlainUpstream.run { upstream in
            try await ProxyBench.run(Self.configuration(upstream.port)) { bench in
                let client = try await client(bench)
                let server = try await upstream.next()
                try await server.send("220 ready")
                #expect(try await client.text(9) == "220 ready")
                try await client.send("hello")
                #expect(try await server.text(5) == "hello")
                await client.shutdownWrite()
                #expect(try await server.rest() == "")
                try await server.send("after your end")
                #expect(try await client.text(14) == "after your end")
                await server.shutdownWrite()
                #expect(try await client.rest() == "")
            }
        }
    }

    @Test("the server may end first, and is still told what the client says")
    func serverEnds() async throws {
        try await PlainUpstream.run { upstream in
            try await ProxyBench.run(Self.configuration(upstream.port)) { bench in
                let client = try await client(bench)
                let server = try await upstream.next()
                await server.shutdownWrite()
                #expect(try await client.rest() == "")
                try await client.send("more")
                await client.shutdownWrite()
                #expect(try await server.rest() == "more")
            }
        }
    }

    @Test("many bytes pass both ways at once, also when a reader is slow")
    func manyBytes() async throws {
        let count = 8 << 20
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) }
        try await PlainUpstream.run { upstream in
            let limit = "per_connection_buffer_limit_bytes: 16384"
            try await ProxyBench.run(Self.configuration(upstream.port, listener: limit)) { bench in
                let client = try await client(bench)
                let server = try await upstream.next()
                async let up: Void = client.write(bytes)
                async let down: Void = server.write(bytes)
                let atServer = try await server.read(exactly: count)
                let atClient = try await client.read(exactly: count)
                try await up
                try await down
                #expect(atServer == bytes)
                #expect(atClient == bytes)
            }
        }
    }

    @Test("a client whose upstream refuses is closed after the attempts it may make", arguments: [1, 3])
    func refused(attempts: Int) async throws {
        let tcp = ", max_connect_attempts: \(attempts), backoff_options: { base_interval: 0.001s }"
        try await ProxyBench.run(Self.configuration(PlainUpstream.refusingPort, tcp: tcp)) { bench in
            let client = try await client(bench)
            await #expect(throws: Never.self) { _ = try await client.rest() }
            let worker = bench.worker
            let failures = try await worker.loop.perform {
                ClusterID(known: "c").flatMap { worker.cluster($0)?.stats.connectFailures }
            }
            #expect(failures == UInt64(attempts))
        }
    }

    @Test("a connection in which nothing moves is closed after idle_timeout")
    func idle() async throws {
        try await PlainUpstream.run { upstream in
            try await ProxyBench.run(Self.configuration(upstream.port, tcp: ", idle_timeout: 0.05s")) { bench in
                let client = try await client(bench)
                let server = try await upstream.next()
                #expect(try await client.rest() == "")
                #expect((try? await server.rest()) ?? "" == "")
            }
        }
    }

    @Test("the upstream is told the client by a PROXY header, in either version", arguments: ["V1", "V2"])
    func proxyHeader(version: String) async throws {
        let types = "type.googleapis.com/envoy.extensions.transport_sockets"
        let socket = """
            transport_socket: { name: p, typed_config: { "@type": \(types).proxy_protocol.v3.ProxyProtocolUpstreamTransport, config: { version: \(version) }, transport_socket: { name: r, typed_config: { "@type": \(types).raw_buffer.v3.RawBuffer } } } }
            """
        try await PlainUpstream.run { upstream in
            try await ProxyBench.run(Self.configuration(upstream.port, cluster: socket)) { bench in
                let client = try await client(bench)
                let server = try await upstream.next()
                try await client.send("x")
                await client.shutdownWrite()
                let bytes = try await server.readToEnd(limit: 1 << 16)
                guard case .found(let header, let length) = bytes.withUnsafeBytes({ ProxyProtocolDecoder().decode($0) })
                else {
                    Issue.record("no PROXY header in \(bytes)")
                    return
                }
                #expect(header.version == (version == "V1" ? .v1 : .v2))
                let proxy = try await bench.address()
                #expect(header.destination == proxy)
                #expect(header.source?.address == .loopbackV4)
                #expect(Array(bytes[length...]) == Array("x".utf8))
            }
        }
    }
}

@Suite("Network filters", .timeLimit(.minutes(1)))
struct NetworkFilterTests {
    private static func filter(_ kind: String, _ fields: String) -> String {
        "- { name: f, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.\(kind), stat_prefix: f, \(fields) } }"
    }

    private static let anyone = "policies: { p: { permissions: [{ any: true }], principals: [{ any: true }] } }"

    struct Rule: Sendable, CustomTestStringConvertible {
        var fields: String
        var passes: Bool
        init(_ fields: String, _ passes: Bool) {
            self.fields = fields
            self.passes = passes
        }
        var testDescription: String { "\(fields): \(passes)" }
    }

    private static func policy(_ permission: String, _ principal: String = "any: true") -> String {
        "rules: { policies: { p: { permissions: [{ \(permission) }], principals: [{ \(principal) }] } } }"
    }

    @Test(
        "rbac lets pass whom its rules allow, once the first byte has come",
        arguments: [
            Rule("rules: { \(anyone) }", true),
            Rule("rules: { action: DENY, \(anyone) }", false),
            Rule("rules: { action: DENY, \(anyone) }, enforcement_type: CONTINUOUS, delay_deny: 0.02s", false),
            Rule("rules: { action: LOG, \(anyone) }", true),
            Rule("shadow_rules: { action: DENY, \(anyone) }", true),
            Rule(policy("destination_port: 1"), false),
            Rule(policy("destination_port_range: { start: 1, end: 65535 }"), true),
            Rule(policy("not_rule: { destination_port: 1 }"), true),
            Rule(policy("destination_ip: { address_prefix: 127.0.0.0, prefix_len: 8 }"), true),
            Rule(policy("and_rules: { rules: [{ any: true }, { destination_port: 1 }] }"), false),
            Rule(policy("or_rules: { rules: [{ destination_port: 1 }, { any: true }] }"), true),
            Rule(policy("requested_server_name: { exact: a.example }"), false),
            Rule(policy("any: true", "direct_remote_ip: { address_prefix: 127.0.0.1, prefix_len: 32 }"), true),
            Rule(policy("any: true", "remote_ip: { address_prefix: 10.0.0.0, prefix_len: 8 }"), false),
            Rule(policy("any: true", "not_id: { remote_ip: { address_prefix: 10.0.0.0, prefix_len: 8 } }"), true),
            Rule(policy("any: true", "authenticated: {}"), false),
        ])
    func rbac(rule: Rule) async throws {
        try await PlainUpstream.run { upstream in
            let text = TCPProxyTests.configuration(upstream.port, filters: Self.filter("rbac.v3.RBAC", rule.fields))
            try await ProxyBench.run(text) { bench in
                let client = try await bench.client().connection
                let server = try await upstream.next()
                try await client.send("x")
                if rule.passes {
                    #expect(try await server.text(1) == "x")
                } else {
                    #expect((try? await client.rest()) ?? "" == "")
                    #expect((try? await server.rest()) ?? "" == "")
                }
            }
        }
    }

    @Test("connection_limit closes the connection beyond it, and has room again when one is gone")
    func connectionLimit() async throws {
        try await PlainUpstream.run { upstream in
            let filter = Self.filter("connection_limit.v3.ConnectionLimit", "max_connections: 1")
            try await ProxyBench.run(TCPProxyTests.configuration(upstream.port, filters: filter)) { bench in
                let first = try await bench.client().connection
                let server = try await upstream.next()
                try await first.send("a")
                #expect(try await server.text(1) == "a")
                let second = try await bench.client().connection
                #expect((try? await second.rest()) ?? "" == "")
                await first.shutdownWrite()
                #expect(try await server.rest() == "")
                await server.shutdownWrite()
                #expect(try await first.rest() == "")
                let third = try await bench.client().connection
                let again = try await upstream.next()
                try await third.send("c")
                #expect(try await again.text(1) == "c")
            }
        }
    }

    @Test("local_ratelimit closes connections for which there is no token")
    func rateLimit() async throws {
        try await PlainUpstream.run { upstream in
            let filter = Self.filter(
                "local_ratelimit.v3.LocalRateLimit", "token_bucket: { max_tokens: 2, fill_interval: 3600s }")
            try await ProxyBench.run(TCPProxyTests.configuration(upstream.port, filters: filter)) { bench in
                for _ in 0..<2 {
                    let client = try await bench.client().connection
                    let server = try await upstream.next()
                    try await client.send("a")
                    #expect(try await server.text(1) == "a")
                }
                let third = try await bench.client().connection
                #expect((try? await third.rest()) ?? "" == "")
            }
        }
    }
}
