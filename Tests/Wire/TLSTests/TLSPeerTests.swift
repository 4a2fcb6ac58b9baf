import Bytes
import Glibc
import Reactor
import Testing

@testable import TLS

@Suite("TLS with other programs")
struct TLSPeerTests {
    let fixture: Fixture
    init() throws { fixture = try Fixture.shared.get() }

    /// A loop, and a folder with the fixture's files, for one test.
    func withWorkshop(_ body: @escaping @Sendable (EventLoop, String) async throws -> Void) async throws {
        let folder = "/tmp/weft-tls-peer-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectories(folder)
        defer { try? Files.removeTree(folder) }
        try Files.writeAtomically("\(folder)/ca.pem", fixture.authority.certificate.pem)
        for (name, identity) in [("server", fixture.server), ("client", fixture.client)] {
            try Files.writeAtomically("\(folder)/\(name).pem", identity.leaf.pem)
            try Files.writeAtomically("\(folder)/\(name).key", identity.key.pem)
        }
        let group = try EventLoopGroup(count: 1, name: "peer")
        let loop = group.all[0]
        let result: Result<Void, any Error>
        do { result = .success(try await loop.perform { try await body(loop, folder) }) } catch {
            result = .failure(error)
        }
        await group.shutdown()
        try result.get()
    }

    static func run(_ script: String, in folder: String, on loop: EventLoop) async throws -> String {
        var configuration = ChildProcess.Configuration(["sh", "-c", script])
        configuration.workingDirectory = folder
        let output = try await ChildProcess.run(configuration, on: loop, timeout: .seconds(60))
        return output.text + output.errorText
    }

    @Test(
        "openssl's client is asked for another key share, and again with its session; its early data is not taken",
        .enabled(if: access("/usr/bin/openssl", X_OK) == 0),
        arguments: ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
    func helloRetry(suite: String) async throws {
        var configuration = TLSServerConfiguration(identities: [fixture.server])
        configuration.parameters.groups = ["P-384"]
        let context = try TLSContext(server: configuration)
        try await withWorkshop { loop, folder in
            let listener = try Listener(.ip(.loopbackV4, 0), on: loop) { stream in
                guard let session = try? TLSSession(context) else { return }
                stream.handler = TLSStream(session) { session, text in "resumed \(session.isResumed)\n" }
            }
            defer { listener.close() }
            let port = listener.address.port?.rawValue ?? 0
            func client(_ options: String) async throws -> String {
                try await Self.run(
                    "echo hello | openssl s_client -connect 127.0.0.1:\(port) -CAfile ca.pem -verify_return_error -ign_eof"
                        + " -trace -tls1_3 -ciphersuites \(suite) -groups X25519:P-384 -servername a.test \(options)",
                    in: folder, on: loop)
            }
            let first = try await client("-sess_out session")
            #expect(first.contains("resumed false"), "\(first.suffix(600))")
            // Two hellos each way: the first of the server is a HelloRetryRequest.
            #expect(
                first.split(separator: "\n").count { $0.contains("ClientHello, Length") } == 2, "\(first.prefix(600))")
            let again = try await client("-sess_in session")
            #expect(again.contains("resumed true"), "\(again.suffix(600))")
            try Files.writeAtomically("\(folder)/early", "early\n")
            let early = try await client("-sess_in session -early_data early")
            #expect(
                early.contains("resumed true") && !early.contains("Early data was accepted"), "\(early.suffix(600))")
        }
    }

    @Test(
        "openssl's client sees the certificate for its name, its protocol, and its session again",
        .enabled(if: access("/usr/bin/openssl", X_OK) == 0))
    func opensslClient() async throws {
        let rsa = try PrivateKey.generate(.rsa(bits: 2048))
        let template = CertificateTemplate(
            subject: DistinguishedName(commonName: "rsa"), names: AlternativeNames(dns: ["a.test"]), purpose: .server)
        var configuration = TLSServerConfiguration(
            identities: [
                fixture.server,
                try TLSIdentity(chain: [fixture.authority.issue(template, for: rsa.publicKey)], key: rsa),
            ],
            verification: PeerVerification(authorities: fixture.trust))
        configuration.protocols = ["h2", "http/1.1"]
        let context = try TLSContext(server: configuration)
        try await withWorkshop { loop, folder in
            let listener = try Listener(.ip(.loopbackV4, 0), on: loop) { stream in
                guard let session = try? TLSSession(context) else { return }
                stream.handler = TLSStream(session) { session, text in
                    "name \(session.serverName ?? "-") subject \(session.peerCertificate?.subjectText ?? "-") resumed \(session.isResumed) alpn \(session.negotiatedProtocol ?? "-")\n"
                }
            }
            defer { listener.close() }
            let port = listener.address.port?.rawValue ?? 0
            func client(_ options: String) async throws -> String {
                try await Self.run(
                    "echo hello | openssl s_client -connect 127.0.0.1:\(port) -CAfile ca.pem -verify_return_error -ign_eof \(options)",
                    in: folder, on: loop)
            }
            for version in ["-tls1_2", "-tls1_3"] {
                let plain = try await client("\(version) -servername a.test -alpn http/1.1 -sess_out s\(version)")
                #expect(plain.contains("name a.test subject - resumed false alpn http/1.1"), "\(plain)")
                #expect(plain.contains("subject=CN = server"))
                let again = try await client("\(version) -servername a.test -alpn http/1.1 -sess_in s\(version)")
                #expect(again.contains("resumed true"), "\(again)")
                let known = try await client(
                    "\(version) -servername b.wild.test -alpn spdy -cert client.pem -key client.key")
                #expect(
                    known.contains("name b.wild.test subject CN=alice,O=dev,O=system:masters resumed false alpn -"),
                    "\(known)")
            }
            let old = try await client("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256 -servername a.test")
            #expect(old.contains("subject=CN = rsa"), "\(old)")
        }
    }

    @Test(
        "curl takes pinned keys, and is refused without the certificate that is demanded",
        .enabled(if: access("/usr/bin/curl", X_OK) == 0))
    func curl() async throws {
        let context = try TLSContext(
            server: TLSServerConfiguration(
                identities: [fixture.server], verification: PeerVerification(authorities: fixture.trust),
                requiresClientCertificate: true))
        let pin = Base64.encode(fixture.server.leaf.publicKey.pin)
        try await withWorkshop { loop, folder in
            let listener = try Listener(.ip(.loopbackV4, 0), on: loop) { stream in
                guard let session = try? TLSSession(context) else { return }
                stream.handler = TLSStream(session) { session, _ in
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nalice"
                }
            }
            defer { listener.close() }
            let port = listener.address.port?.rawValue ?? 0
            let url = "--resolve a.test:\(port):127.0.0.1 https://a.test:\(port)/"
            let taken = try await Self.run(
                "curl -sS --cacert ca.pem --cert client.pem --key client.key --pinnedpubkey sha256//\(pin) \(url)",
                in: folder, on: loop)
            #expect(taken == "alice")
            let refused = try await Self.run("curl -sS --cacert ca.pem \(url); echo \" exit $?\"", in: folder, on: loop)
            #expect(refused.contains("alert certificate required") || refused.contains("exit 56"), "\(refused)")
        }
    }

    @Test(
        "nginx sees our certificate, our versions and our resumed session",
        .enabled(if: access("/usr/sbin/nginx", X_OK) == 0))
    func nginx() async throws {
        let fixture = fixture
        try await withWorkshop { loop, folder in
            let probe = try Listener(.ip(.loopbackV4, 0), on: loop) { _ in }
            let port = probe.address.port?.rawValue ?? 0
            probe.close()
            try Files.writeAtomically(
                "\(folder)/nginx.conf",
                """
                daemon off; master_process off; pid \(folder)/pid; error_log \(folder)/error.log;
                events {}
                http {
                  access_log off; client_body_temp_path \(folder)/a; proxy_temp_path \(folder)/b; fastcgi_temp_path \(folder)/c;
                  uwsgi_temp_path \(folder)/d; scgi_temp_path \(folder)/e;
                  server {
                    listen 127.0.0.1:\(port) ssl; ssl_certificate \(folder)/server.pem; ssl_certificate_key \(folder)/server.key;
                    ssl_protocols TLSv1.2 TLSv1.3; ssl_client_certificate \(folder)/ca.pem; ssl_verify_client on;
                    location / { return 200 "$ssl_protocol $ssl_cipher $ssl_client_verify $ssl_session_reused $ssl_server_name"; }
                  }
                }
                """)
            var program = ChildProcess.Configuration([
                "nginx", "-c", "\(folder)/nginx.conf", "-e", "\(folder)/error.log",
            ])
            program.deathSignal = SIGKILL
            let server = try ChildProcess(program, on: loop)
            defer { server.kill(SIGKILL) }
            try await withTimeout(.seconds(60), "nginx", on: loop) {
                while (try? await StreamConnection.connect(to: .ip(.loopbackV4, Port(port)), on: loop).close()) == nil {
                    try await loop.sleep(for: .milliseconds(20))
                }
            }
            for (version, name, cipher) in [
                (TLSVersion.v1_2, "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
                (.v1_3, "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
            ] {
                var configuration = TLSClientConfiguration(
                    verification: PeerVerification(authorities: fixture.trust), checksServerName: true)
                configuration.identity = fixture.client
                configuration.storedTickets = 1
                configuration.parameters = TLSParameters(
                    versions: version...version, cipherSuites: ["ECDHE-ECDSA-AES128-GCM-SHA256"])
                let context = try TLSContext(client: configuration)
                for resumed in [".", "r"] {
                    let client = TLSStream(
                        try TLSSession(context, serverName: "a.test"),
                        request: "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
                    _ = try StreamSocket.connect(to: .ip(.loopbackV4, Port(port)), on: loop, handler: client)
                    let answer = try await withTimeout(.seconds(60), "nginx's answer", on: loop) {
                        try await client.outcome.value()
                    }
                    #expect(answer.hasSuffix("\(name) \(cipher) SUCCESS \(resumed) a.test"), "\(answer)")
                }
            }
        }
    }
}
