import Bytes
import Glibc
import HTTP
import Reactor
import TLS
import TestSupport
import Testing
import XDS

@testable import Proxy

@Suite("Secrets", .timeLimit(.minutes(2)))
struct SecretTests {
    private static let types = "type.googleapis.com/envoy.extensions"
    private static let secretType = "\(types).transport_sockets.tls.v3.Secret"

    /// An authority with what it issued to a server and to a client, in files of its name.
    private struct Family {
        let name: String
        let authority: CertificateAuthority
        let folder: ScratchFolder

        init(_ name: String, _ folder: ScratchFolder) throws {
            self.name = name
            self.folder = folder
            authority = try CertificateAuthority.create(commonName: name)
            let template = CertificateTemplate(
                subject: DistinguishedName(commonName: name), names: AlternativeNames(dns: ["a.test"]), purpose: .peer)
            let identity = try authority.issue(template)
            try Files.writeAtomically("\(folder.path)/\(name).pem", identity.chain[0].pem)
            try Files.writeAtomically("\(folder.path)/\(name).key", identity.key.pem)
            try Files.writeAtomically("\(folder.path)/\(name)-ca.pem", authority.certificate.pem)
        }

        var certificate: String {
            "{ certificate_chain: { filename: \(folder.path)/\(name).pem }, private_key: { filename: \(folder.path)/\(name).key } }"
        }

        var validation: String { "{ trusted_ca: { filename: \(folder.path)/\(name)-ca.pem } }" }

        /// A client that trusts nobody else.
        func client(_ address: SocketAddress, on loop: EventLoop) throws -> HTTPClient {
            let verification = PeerVerification(trust: .authorities([authority.certificate]))
            return HTTPClient(
                on: loop, endpoint: try #require(HTTPEndpoint(address, isSecure: true)),
                tls: try TLSContext(client: TLSClientConfiguration(verification: verification)))
        }
    }

    private static func secrets(_ list: [(name: String, kind: String, value: String)]) -> String {
        let all = list.map { "{ \"@type\": \(secretType), name: \($0.name), \($0.kind): \($0.value) }" }
        return "{ resources: [ \(all.joined(separator: ", ")) ] }"
    }

    private static func source(_ name: String, _ path: String) -> String {
        "{ name: \(name), sds_config: { path_config_source: { path: \(path) } } }"
    }

    /// A listener with TLS that answers every request itself.
    private static func listener(_ common: String, address: String? = nil, more: String = "") -> String {
        let address = address ?? "{ socket_address: { address: 127.0.0.1, port_value: 0 } }"
        return """
              - name: tls
                address: \(address)
                filter_chains:
                - transport_socket:
                    name: t
                    typed_config: { "@type": \(types).transport_sockets.tls.v3.DownstreamTlsContext, \(more) common_tls_context: \(common) }
                  filters:
                  - name: hcm
                    typed_config:
                      "@type": \(types).filters.network.http_connection_manager.v3.HttpConnectionManager
                      stat_prefix: t
                      route_config: { virtual_hosts: [ { name: v, domains: ["*"], routes: [ { match: { prefix: / }, direct_response: { status: 200, body: { inline_string: well } } } ] } ] }
                      http_filters: [ { name: r, typed_config: { "@type": \(types).filters.http.router.v3.Router } } ]

            """
    }

    private static func bootstrap(_ listeners: String, secrets: String = "") -> String {
        "static_resources:\n  secrets: [\(secrets)]\n  listeners:\n\(listeners)"
    }

    private func answers(_ client: HTTPClient) async -> Bool {
        (try? await client.request("GET", "/").status) == 200
    }

    @Test("a listener serves when its secret comes; a new one is for new connections, and old ones live on")
    func listenerSecret() async throws {
        let folder = try ScratchFolder()
        let path = "\(folder.path)/sds.yaml"
        let (first, second) = (try Family("first", folder), try Family("second", folder))
        let listener = Self.listener("{ tls_certificate_sds_secret_configs: [ \(Self.source("server", path)) ] }")
        try await ProxyBench.run("static_resources: {}", workers: 2) { bench in
            let server = bench.server
            let loading = Task { try await bench.reload(Self.bootstrap(listener)) }
            try await bench.until { await server.warmingListeners["tls"] != nil }
            #expect(await bench.addresses(of: "tls").isEmpty)
            try Files.writeAtomically(path, Self.secrets([("server", "tls_certificate", first.certificate)]))
            try await loading.value
            let address = try await bench.address(of: "tls")
            let kept = try first.client(address, on: bench.group.all[0])
            #expect(await answers(kept))
            try Files.writeAtomically(path, Self.secrets([("server", "tls_certificate", second.certificate)]))
            try await bench.until { await answers(try second.client(address, on: bench.group.all[0])) }
            // A connection that trusts only the first authority can be none but the old one.
            #expect(await answers(kept))
            #expect(await answers(try first.client(address, on: bench.group.all[0])) == false)
            // What is no good leaves what was before.
            let before = server.problems.count
            try Files.writeAtomically(
                path, Self.secrets([("server", "tls_certificate", "{ private_key: { inline_string: x } }")]))
            try await bench.until { server.problems.count > before }
            #expect(await answers(try second.client(address, on: bench.group.all[0])))
        }
    }

    @Test("certificate files are read again when they are replaced, with a secret or without one")
    func replacedFiles() async throws {
        for inSecret in [false, true] {
            let folder = try ScratchFolder()
            let path = "\(folder.path)/sds.yaml"
            let first = try Family("server", folder)
            try Files.writeAtomically(path, Self.secrets([("server", "tls_certificate", first.certificate)]))
            let common =
                inSecret
                ? "{ tls_certificate_sds_secret_configs: [ \(Self.source("server", path)) ] }"
                : "{ tls_certificates: [ \(first.certificate) ] }"
            try await ProxyBench.run(Self.bootstrap(Self.listener(common))) { bench in
                let address = try await bench.address(of: "tls")
                let kept = try first.client(address, on: bench.group.all[0])
                #expect(await answers(kept))
                let second = try Family("server", folder)
                try await bench.until { await answers(try second.client(address, on: bench.group.all[0])) }
                #expect(await answers(kept))
            }
        }
    }

    @Test("a watched directory whose link is swapped, as a mounted volume does it, brings all of its files at once")
    func swappedVolume() async throws {
        let folder = try ScratchFolder()
        func publish(_ version: String) throws -> Family {
            let place = "\(folder.path)/\(version)"
            try Files.makeDirectories(place)
            let made = try ScratchFolder()
            let family = try Family("tls", made)
            for file in ["tls.pem", "tls.key"] {
                try Files.writeAtomically("\(place)/\(file)", try Files.readText("\(made.path)/\(file)"))
            }
            #expect(symlink(version, "\(folder.path)/next") == 0)
            #expect(rename("\(folder.path)/next", "\(folder.path)/data") == 0)
            return family
        }
        let first = try publish("v1")
        let certificate =
            "{ watched_directory: { path: \(folder.path) }, certificate_chain: { filename: \(folder.path)/data/tls.pem }, private_key: { filename: \(folder.path)/data/tls.key } }"
        try await ProxyBench.run(Self.bootstrap(Self.listener("{ tls_certificates: [ \(certificate) ] }"))) { bench in
            let address = try await bench.address(of: "tls")
            #expect(await answers(try first.client(address, on: bench.group.all[0])))
            let second = try publish("v2")
            try await bench.until { await answers(try second.client(address, on: bench.group.all[0])) }
            #expect(bench.server.problems.count == 0)
        }
    }

    @Test("a cluster warms until its secrets are there, and follows them; rules of its own are laid below what comes")
    func clusterSecrets() async throws {
        let folder = try ScratchFolder()
        let path = "\(folder.path)/sds.yaml"
        let (first, second) = (try Family("first", folder), try Family("second", folder))
        let socket = "weft-secret-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        func said(_ family: Family) -> String {
            Self.secrets([
                ("own", "tls_certificate", family.certificate), ("peers", "validation_context", family.validation),
            ])
        }
        let server = Self.listener(
            "{ tls_certificate_sds_secret_configs: [ \(Self.source("own", path)) ], validation_context_sds_secret_config: \(Self.source("peers", path)) }",
            address: "{ pipe: { path: \"@\(socket)\" } }", more: "require_client_certificate: true,")
        func configuration(_ name: String) -> String {
            let names =
                "match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: \(name) } } ]"
            let common =
                "{ tls_certificate_sds_secret_configs: [ \(Self.source("own", path)) ], combined_validation_context: { default_validation_context: { \(names) }, validation_context_sds_secret_config: \(Self.source("peers", path)) } }"
            let head = ProxyBench.http(routes: "- match: { prefix: / }\n  route: { cluster: c }", clusters: 0)
            let cluster = """
                  - name: c
                    max_requests_per_connection: 1
                    transport_socket: { name: t, typed_config: { "@type": \(Self.types).transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: \(common) } }
                    load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "@\(socket)" } } } } ] } ] }
                """
            return head.replacing("  clusters:\n", with: server + "  clusters:\n") + "\n" + cluster
        }
        let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
        try await ProxyBench.run("static_resources: {}") { bench in
            let loading = Task { try await bench.reload(configuration("a.test")) }
            try await bench.until {
                await bench.server.stats().samples.contains {
                    $0.name == "cluster_manager.warming_clusters" && $0.value == 1
                }
            }
            try Files.writeAtomically(path, said(first))
            try await loading.value
            #expect(try await bench.exchange(get).body == "well")
            // Each side shows one family and trusts the other: nobody is let in.
            let torn = Self.secrets([
                ("own", "tls_certificate", second.certificate), ("peers", "validation_context", first.validation),
            ])
            try Files.writeAtomically(path, torn)
            try await bench.until { try await bench.exchange(get).status == 503 }
            try Files.writeAtomically(path, said(second))
            try await bench.until { try await bench.exchange(get).body == "well" }
            try await bench.reload(configuration("b.test"))
            #expect(try await bench.exchange(get).status == 503)
        }
    }

    @Test("the bootstrap's own secrets are known by name")
    func staticSecrets() async throws {
        let folder = try ScratchFolder()
        let family = try Family("first", folder)
        let listener = Self.listener(
            "{ tls_certificate_sds_secret_configs: [ { name: server } ] }")
        let text = Self.bootstrap(listener, secrets: "{ name: server, tls_certificate: \(family.certificate) }")
        try await ProxyBench.run(text) { bench in
            let address = try await bench.address(of: "tls")
            #expect(await answers(try family.client(address, on: bench.group.all[0])))
        }
    }

    @Test(
        "what cannot be used is refused by name",
        arguments: [
            ("{ tls_certificate_sds_secret_configs: [ { name: nobody } ] }", "", "unknown static secret 'nobody'"),
            (
                "{ tls_certificate_sds_secret_configs: [ { name: a, sds_config: { ads: {}, resource_api_version: V2 } } ] }",
                "",
                "resource_api_version"
            ),
            (
                "{ tls_certificate_sds_secret_configs: [ { name: a } ] }",
                "{ name: a, generic_secret: { secret: { inline_string: x } } }", "has no tls_certificate"
            ),
            (
                "{ tls_certificate_sds_secret_configs: [ { name: a } ] }",
                "{ name: a, validation_context: { trust_chain_verification: ACCEPT_UNTRUSTED } }",
                "has no tls_certificate"
            ),
            ("{}", "{ name: a, tls_certificate: { private_key_provider: { provider_name: x } } }", "tls_certificate"),
        ])
    func refusals(_ common: String, _ secrets: String, _ reason: String) async throws {
        var found = ""
        do { try await ProxyBench.run(Self.bootstrap(Self.listener(common), secrets: secrets)) { _ in } } catch {
            found = "\(error)"
        }
        #expect(found.contains(reason), "\(found)")
    }
}
