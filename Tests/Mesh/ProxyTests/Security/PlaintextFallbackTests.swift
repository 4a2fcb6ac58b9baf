import Bytes
import HTTP
import Reactor
import TLS
import TestSupport
import Testing

@testable import Proxy

/// Clusters whose hosts are offered TLS, and spoken to in plain text where that is not taken.
@Suite("TLS as an offer", .timeLimit(.minutes(2)))
struct PlaintextFallbackTests {
    private static let types = "type.googleapis.com/envoy.extensions"

    /// An authority and what it issued to a member of its mesh, as configuration has it.
    private struct Mesh {
        let authority: CertificateAuthority
        let common: String

        init() throws {
            authority = try CertificateAuthority.create(commonName: "mesh")
            let identity = try authority.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: "a"),
                    names: AlternativeNames(dns: ["a.test"], uris: ["spiffe://mesh/ns/n/sa/a"]), purpose: .peer))
            func quoted(_ text: String) -> String { "\"\(text.replacing("\n", with: "\\n"))\"" }
            common = """
                tls_certificates: [{ certificate_chain: { inline_string: \(quoted(identity.chain[0].pem)) }, private_key: { inline_string: \(quoted(identity.key.pem)) } }], validation_context: { trusted_ca: { inline_string: \(quoted(authority.certificate.pem)) }, match_typed_subject_alt_names: [{ san_type: URI, matcher: { prefix: "spiffe://mesh/" } }] }
                """
        }
    }

    /// More fields of a cluster.
    private static func offer(_ mesh: Mesh, handshake: Double = 30, memory: Double = 600) -> String {
        """
        metadata: { filter_metadata: { weft.plaintext_fallback: { handshake_timeout: \(handshake), memory: \(memory) } } }
        transport_socket: { name: t, typed_config: { "@type": \(types).transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: { alpn_protocols: [weft], \(mesh.common) } } }
        """
    }

    private static func indented(_ text: String) -> String {
        text.split(separator: "\n").joined(separator: "\n    ")
    }

    private static func configuration(_ port: UInt16, _ offer: String, tcp: String = "") -> String {
        TCPProxyTests.configuration(port, tcp: tcp, cluster: indented(offer))
    }

    /// A proxy that tells its clients who they are, those that come in plain text as well.
    private static func peer(_ mesh: Mesh, requiresClient: Bool = true) -> String {
        func says(_ text: String) -> String {
            """
            filters: [{ name: hcm, typed_config: { "@type": \(types).filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: p, forward_client_cert_details: SANITIZE_SET, route_config: { virtual_hosts: [{ name: v, domains: ["*"], routes: [{ match: { prefix: / }, direct_response: { status: 200, body: { inline_string: \(text) } } }] }] }, http_filters: [{ name: r, typed_config: { "@type": \(types).filters.http.router.v3.Router } }] } }]
            """
        }
        return """
            static_resources:
              listeners:
              - name: main
                address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
                listener_filters: [{ name: i, typed_config: { "@type": \(types).filters.listener.tls_inspector.v3.TlsInspector } }]
                filter_chains:
                - filter_chain_match: { transport_protocol: tls }
                  transport_socket: { name: t, typed_config: { "@type": \(types).transport_sockets.tls.v3.DownstreamTlsContext, require_client_certificate: \(requiresClient), common_tls_context: { \(requiresClient ? mesh.common : mesh.common.components(", validation_context")[0]) } } }
                  \(says("secured"))
                - filter_chain_match: { transport_protocol: raw_buffer }
                  \(says("plain"))
            """
    }

    private static let request = "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"

    private func offers(_ bench: ProxyBench) async -> [String: Int64] {
        var offers: [String: Int64] = [:]
        for leaf in ["taken", "refused", "not_made"] {
            offers[leaf] = await bench.stat("c", "tls_offer.\(leaf)")
        }
        return offers
    }

    @Test("a member of the mesh takes it, every time; its access log tells so")
    func taken() async throws {
        let mesh = try Mesh()
        let folder = try ScratchFolder()
        let log =
            ", access_log: [{ name: f, typed_config: { \"@type\": \(Self.types).access_loggers.file.v3.FileAccessLog, path: \(folder.path)/log, log_format: { text_format_source: { inline_string: \"%UPSTREAM_TLS_VERSION% %RESPONSE_FLAGS%\\n\" } } } }]"
        try await ProxyBench.run(Self.peer(mesh)) { peer in
            let port = try #require(try await peer.address().port?.rawValue)
            try await ProxyBench.run(Self.configuration(port, Self.offer(mesh), tcp: log)) { bench in
                for _ in 0..<3 {
                    #expect(try await bench.exchange(Self.request).body == "secured")
                }
                #expect(await offers(bench) == ["taken": 3, "refused": 0, "not_made": 0])
                try await bench.until {
                    (try? Files.readText("\(folder.path)/log")) == String(repeating: "TLSv1.3 -\n", count: 3)
                }
            }
        }
    }

    enum Refusal: String, CaseIterable { case answersPlainly, speaksFirst, isSilent, closes, resets, alerts }

    /// What a server does with the connection on which it was offered TLS.
    private func refuse(_ refusal: Refusal, _ server: StreamConnection) async throws {
        if refusal == .speaksFirst { return try await server.send("220 ready\r\n") }
        let head = try await server.read(exactly: 5)
        // What is not read makes the kernel reset the connection.
        if refusal == .resets { return server.close() }
        _ = try await server.read(exactly: Int(head[3]) << 8 | Int(head[4]))
        switch refusal {
        case .answersPlainly: try await server.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        case .closes: server.close()
        // A fatal alert: no_application_protocol.
        case .alerts: try await server.write([21, 3, 3, 0, 2, 2, 120])
        case .isSilent, .speaksFirst, .resets: break
        }
    }

    @Test(
        "who does not take it is called again in plain text, hears nothing twice, and is not asked again for some time",
        arguments: Refusal.allCases)
    func refused(refusal: Refusal) async throws {
        let mesh = try Mesh()
        let folder = try ScratchFolder()
        let log =
            ", access_log: [{ name: f, typed_config: { \"@type\": \(Self.types).access_loggers.file.v3.FileAccessLog, path: \(folder.path)/log, log_format: { text_format_source: { inline_string: \"%UPSTREAM_TLS_VERSION% %RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\\n\" } } } }]"
        let offer = Self.offer(mesh, handshake: refusal == .isSilent ? 0.2 : 30)
        try await PlainUpstream.run { upstream in
            try await ProxyBench.run(Self.configuration(upstream.port, offer, tcp: log)) { bench in
                for round in 1...2 {
                    let client = try await bench.client().connection
                    if round == 1 {
                        let offered = try await upstream.next()
                        try await refuse(refusal, offered)
                    }
                    let server = try await upstream.next()
                    try await server.send("220 ready")
                    #expect(try await client.text(9) == "220 ready")
                    try await client.send("hello")
                    #expect(try await server.text(5) == "hello")
                    await client.shutdownWrite()
                    #expect(try await server.rest() == "")
                    await server.shutdownWrite()
                    #expect(try await client.rest() == "")
                }
                #expect(await offers(bench) == ["taken": 0, "refused": 1, "not_made": 2])
                #expect(await bench.stat("c", "upstream_cx_connect_fail") == 0)
                try await bench.until { (try? Files.readText("\(folder.path)/log")) == "- - 1\n- - 1\n" }
            }
        }
    }

    @Test("what a foreign server's TLS has to say is for the client, whose own TLS goes through")
    func foreign() async throws {
        let (mesh, other) = (try Mesh(), try Mesh())
        try await ProxyBench.run(Self.peer(other, requiresClient: false)) { peer in
            let port = try #require(try await peer.address().port?.rawValue)
            try await ProxyBench.run(Self.configuration(port, Self.offer(mesh))) { bench in
                let trust = PeerVerification(trust: .authorities([other.authority.certificate]))
                let client = HTTPClient(
                    on: bench.group.all[0],
                    endpoint: try #require(HTTPEndpoint(try await bench.address(), isSecure: true)),
                    tls: try TLSContext(client: TLSClientConfiguration(verification: trust)))
                let answer = try await client.request("GET", "/")
                #expect(String(decoding: answer.body, as: UTF8.self) == "secured")
                #expect(await offers(bench)["refused"] == 1)
                #expect(await bench.stat("c", "ssl.fail_verify_error") == 1)
            }
        }
    }

    @Test("a host that nobody listens at is a failure, and is offered TLS with the next connection")
    func unreachable() async throws {
        let mesh = try Mesh()
        try await ProxyBench.run(Self.configuration(PlainUpstream.refusingPort, Self.offer(mesh))) { bench in
            for _ in 0..<2 {
                let text = try await bench.client().everything()
                #expect(text == "")
            }
            #expect(await offers(bench) == ["taken": 0, "refused": 0, "not_made": 0])
            #expect(await bench.stat("c", "upstream_cx_connect_fail") == 2)
        }
    }

    @Test("after its time a host is offered TLS again")
    func again() async throws {
        let mesh = try Mesh()
        try await PlainUpstream.run { upstream in
            let offer = Self.offer(mesh, memory: 0.05)
            try await ProxyBench.run(Self.configuration(upstream.port, offer)) { bench in
                for _ in 0..<2 {
                    let client = try await bench.client().connection
                    try await refuse(.closes, try await upstream.next())
                    let server = try await upstream.next()
                    try await client.send("hello")
                    #expect(try await server.text(5) == "hello")
                    client.close()
                    let end = MonotonicTime.now().adding(.milliseconds(60))
                    try await bench.until { MonotonicTime.now() >= end }
                }
                #expect(await offers(bench)["refused"] == 2)
            }
        }
    }

    @Test("requests go the same way: by TLS where it is taken, else in plain text without a failed one")
    func requests() async throws {
        let mesh = try Mesh()
        try await ProxyBench.run(Self.peer(mesh)) { peer in
            let port = try #require(try await peer.address().port?.rawValue)
            let taking = ProxyBench.http(cluster: Self.offer(mesh)).replacing("$0", with: "\(port)")
            try await ProxyBench.run(taking) { bench in
                let answer = try await bench.exchange(Self.request)
                #expect(answer.body == "secured")
                #expect(await bench.stat("c0", "tls_offer.taken") == 1)
            }
        }
        try await PlainUpstream.run { upstream in
            let refusing = ProxyBench.http(cluster: Self.offer(mesh)).replacing("$0", with: "\(upstream.port)")
            try await ProxyBench.run(refusing) { bench in
                let client = try await bench.client()
                try await client.send(Self.request)
                try await refuse(.answersPlainly, try await upstream.next())
                let server = try await upstream.next()
                #expect(try await server.text(14) == "GET / HTTP/1.1")
                try await server.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain")
                #expect(try await client.response().body == "plain")
                #expect(await bench.stat("c0", "upstream_cx_connect_fail") == 0)
                #expect(await bench.stat("c0", "upstream_rq_total") == 1)
            }
        }
    }

    @Test("without TLS there is nothing to offer, and the configuration says so")
    func configuration() async throws {
        let offer = "metadata: { filter_metadata: { weft.plaintext_fallback: {} } }"
        await #expect(throws: (any Error).self) {
            try await ProxyBench.run(Self.configuration(1, offer)) { _ in }
        }
    }

    @Test("hosts that are remembered are so many at most, the newest among them")
    func bound() {
        var hosts = PlaintextPeers()
        let addresses = (0...PlaintextPeers.most).map {
            SocketAddress.ip(IPAddress(v4: 10, 0, UInt8($0 >> 8), UInt8($0 & 255)), 80)
        }
        for address in addresses { hosts.add(address, until: 10, now: 1) }
        #expect(addresses.count { hosts.contains($0, now: 2) } == PlaintextPeers.most)
        #expect(hosts.contains(addresses[PlaintextPeers.most], now: 9))
        #expect(!addresses.contains { hosts.contains($0, now: 10) })
    }
}
