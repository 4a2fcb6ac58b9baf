import Bytes
import Reactor
import Testing

@testable import Proxy

/// Servers of clients of whom nobody knows whether they will speak, or wait.
@Suite("Servers that speak first", .timeLimit(.minutes(2)))
struct ServerFirstTests {
    /// TLS is told so; what comes in plain text goes to `port`. Inspection waits for as long as the test may run.
    private static func configuration(_ port: UInt16, memory: Double = 0, patience: Double = 0.02) -> String {
        let types = "type.googleapis.com/envoy.extensions.filters"
        return """
            static_resources:
              listeners:
              - name: main
                stat_prefix: main
                address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
                metadata: { filter_metadata: { weft.server_first: { patience: \(patience), memory: \(memory) } } }
                listener_filters_timeout: 600s
                continue_on_listener_filters_timeout: true
                listener_filters: [{ name: t, typed_config: { "@type": \(types).listener.tls_inspector.v3.TlsInspector } }]
                filter_chains:
                - filter_chain_match: { transport_protocol: tls }
                  filters: [{ name: d, typed_config: { "@type": \(types).network.direct_response.v3.Config, response: { inline_string: secured } } }]
                - filter_chain_match: { transport_protocol: raw_buffer }
                  filters: [{ name: t, typed_config: { "@type": \(types).network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: c } }]
              clusters:
              - name: c
                load_assignment: { cluster_name: c, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } } }] }] }
            """
    }

    /// A ClientHello that names nobody, whole (RFC 8446 §4.1.2).
    private static let hello: [UInt8] = {
        let body: [UInt8] = [3, 3] + Array(repeating: 7, count: 32) + [0, 0, 2, 0x13, 1, 1, 0]
        let message: [UInt8] = [1, 0, 0, UInt8(body.count)] + body
        return [22, 3, 1, 0, UInt8(message.count)] + message
    }()

    private static func has(_ line: String, _ bench: ProxyBench) async -> Bool {
        let page = await AdminServer(bench.server) {}.answer(AdminRequest(method: "GET", target: "/stats"))
        return page.body.split(separator: "\n").contains { $0 == line }
    }

    @Test("a client that waits for its server hears it, and is answered from then on")
    func serverSpeaks() async throws {
        try await PlainUpstream.run { upstream in
            try await ProxyBench.run(Self.configuration(upstream.port)) { bench in
                let client = try await bench.client().connection
                let server = try await upstream.next()
                try await server.send("220 ready")
                #expect(try await client.text(9) == "220 ready")
                // What looks like TLS is the client's own business now.
                try await client.write(Self.hello)
                #expect(try await server.read(exactly: Self.hello.count) == Self.hello)
                await client.shutdownWrite()
                #expect(try await server.rest() == "")
            }
        }
    }

    @Test("one that speaks late, in plain text, is heard by the server that was called for it")
    func clientSpeaks() async throws {
        try await PlainUpstream.run { upstream in
            try await ProxyBench.run(Self.configuration(upstream.port)) { bench in
                let client = try await bench.client().connection
                let server = try await upstream.next()
                try await client.send("hello")
                #expect(try await server.text(5) == "hello")
                try await server.send("hello")
                #expect(try await client.text(5) == "hello")
            }
        }
    }

    @Test(
        "one that begins with TLS late gets the chain for it; the server has heard nothing, and nothing is counted twice"
    )
    func clientHello() async throws {
        try await PlainUpstream.run { upstream in
            try await ProxyBench.run(Self.configuration(upstream.port)) { bench in
                let client = try await bench.client().connection
                let server = try await upstream.next()
                // In two parts, the first of which does not tell who is asked for.
                try await client.write(Array(Self.hello.prefix(20)))
                #expect(try await server.rest() == "")
                try await client.write(Array(Self.hello.dropFirst(20)))
                #expect(try await client.rest() == "secured")
                try await bench.until { await Self.has("listener.main.downstream_cx_destroy: 1", bench) }
                #expect(await Self.has("listener.main.downstream_cx_total: 1", bench))
                #expect(await Self.has("tcp.t.downstream_cx_total: 0", bench))
            }
        }
    }

    @Test("of a client that has come in plain text the next one's server is called at once; its neighbour's is not")
    func memory() async throws {
        try await PlainUpstream.run { upstream in
            try await ProxyBench.run(Self.configuration(upstream.port, memory: 600, patience: 600)) { bench in
                let first = try await bench.client().connection
                try await first.send("hello")
                let heard = try await upstream.next()
                #expect(try await heard.text(5) == "hello")
                let address = try await bench.address()
                let loop = bench.group.all[0]
                let other = try await StreamConnection.connect(
                    to: address, on: loop, from: .ip(IPAddress("127.0.0.9")!, 0))
                try await other.send("late")
                let late = try await upstream.next()
                #expect(try await late.text(4) == "late")
                let second = try await bench.client().connection
                let server = try await upstream.next()
                try await server.send("220 ready")
                #expect(try await second.text(9) == "220 ready")
            }
        }
    }

    @Test("who goes without a word takes the server along")
    func silence() async throws {
        try await PlainUpstream.run { upstream in
            try await ProxyBench.run(Self.configuration(upstream.port)) { bench in
                let client = try await bench.client().connection
                let server = try await upstream.next()
                await client.shutdownWrite()
                #expect(try await server.rest() == "")
                await server.shutdownWrite()
                #expect(try await client.rest() == "")
            }
        }
    }
}
