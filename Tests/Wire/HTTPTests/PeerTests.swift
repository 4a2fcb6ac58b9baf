import Bytes
import Glibc
import Reactor
import TLS
import Testing

@testable import HTTP

@Suite("Real peers")
struct PeerTests {
    @Test("curl over HTTP/1.1, HTTP/2 with prior knowledge, and both over TLS")
    func curl() async throws {
        let certificates = try Certificates.shared.get()
        let directory = try certificates.writeFiles()
        defer { try? Files.removeTree(directory) }
        try await withServer { server in
            let url = "http://127.0.0.1:\(server.port)"
            let one = try await shell("curl -s --http1.1 \(url)/a \(url)/b -w \"%{num_connects} \"")
            #expect(one == "GET /a HTTP/1.1 127.0.0.1:\(server.port)\n1 GET /b HTTP/1.1 127.0.0.1:\(server.port)\n0 ")
            for version in ["--http1.1", "--http2-prior-knowledge"] {
                // curl announces a body of this size with Expect, and then sends it.
                let upload = try await shell(
                    "head -c 2000000 /dev/zero | curl -s \(version) --data-binary @- -o /dev/null -D - \(url)/echo")
                #expect(upload.contains("x-length: 2000000"), "\(version): \(upload)")
                let chunked = try await shell(
                    "echo chunked | curl -s \(version) -T - -X POST \(url)/echo")
                #expect(chunked == "chunked\n", "\(version)")
                let refused = try await shell(
                    "head -c 4000000 /dev/zero | curl -s \(version) --data-binary @- -o /dev/null -w %{http_code} \(url)/echo"
                )
                #expect(refused == "413", "\(version)")
                let stream = try await shell("curl -s \(version) \(url)/stream?n=3")
                #expect(stream == "piece 0\npiece 1\npiece 2\n", "\(version)")
                try await expect("curl -s -I \(version) \(url)/echo", contains: "200")
            }
        }
        try await withServer(tls: certificates.serverContext()) { server in
            let url = "https://127.0.0.1:\(server.port)"
            let trust = "--cacert \(directory)/ca.pem"
            let identity = "--cert \(directory)/client.pem --key \(directory)/client.key"
            for version in ["--http1.1", "--http2"] {
                try await expect("curl -s \(version) \(trust) \(url)/who", prints: "nobody")
                try await expect("curl -s \(version) \(trust) \(identity) \(url)/who", prints: "O=dev, CN=alice")
                try await expect(
                    "curl -s \(version) \(trust) \(url)/", contains: version == "--http2" ? "HTTP/2" : "HTTP/1.1")
            }
            try await expect("curl -s \(url)/who || echo $?", contains: "60")
            try await expect(
                "curl -s --http2 \(trust) \(url)/who \(url)/who -w \"%{num_connects} \"", prints: "nobody1 nobody0 ")
        }
        try await withServer(tls: certificates.serverContext(.required)) { server in
            let url = "https://localhost:\(server.port)"
            let refused = try await shell("curl -s --cacert \(directory)/ca.pem \(url)/who || echo failed")
            #expect(refused.contains("failed"))
            let taken = try await shell(
                "curl -s --cacert \(directory)/ca.pem --cert \(directory)/client.pem --key \(directory)/client.key \(url)/who"
            )
            #expect(taken == "O=dev, CN=alice")
        }
    }

    @Test("nghttp and h2load", .timeLimit(.minutes(1)))
    func nghttp() async throws {
        let certificates = try Certificates.shared.get()
        try await withServer(tls: certificates.serverContext()) { server in
            let url = "https://127.0.0.1:\(server.port)"
            let verbose = try await shell("nghttp -nv --data=/etc/hostname \(url)/echo")
            #expect(verbose.contains(":status: 200"), "\(verbose)")
            let load = try await shell("h2load -n 5000 -c 10 -m 20 \(url)/")
            #expect(load.contains("5000 succeeded, 0 failed, 0 errored"), "\(load)")
            let stream = try await shell("h2load -n 500 -c 5 -m 10 \"\(url)/stream?n=100\"")
            #expect(stream.contains("500 succeeded, 0 failed, 0 errored"), "\(stream)")
        }
        try await withServer { server in
            let load = try await shell("h2load --h1 -n 5000 -c 20 -m 4 http://127.0.0.1:\(server.port)/")
            #expect(load.contains("5000 succeeded, 0 failed, 0 errored"), "\(load)")
            let clear = try await shell("h2load -n 5000 -c 5 -m 50 http://127.0.0.1:\(server.port)/")
            #expect(clear.contains("5000 succeeded, 0 failed, 0 errored"), "\(clear)")
        }
    }

    @Test("openssl s_client sees the certificate, the protocol and a proper end")
    func openssl() async throws {
        let certificates = try Certificates.shared.get()
        let directory = try certificates.writeFiles()
        defer { try? Files.removeTree(directory) }
        try await withServer(tls: certificates.serverContext()) { server in
            let output = try await shell(
                "printf \"GET / HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n\" | openssl s_client -quiet -verify_return_error -CAfile \(directory)/ca.pem -alpn http/1.1 -connect 127.0.0.1:\(server.port) -ign_eof"
            )
            #expect(output.contains("HTTP/1.1 200 OK"), "\(output)")
            let brief = try await shell(
                "openssl s_client -brief -verify_return_error -CAfile \(directory)/ca.pem -alpn h2 -connect 127.0.0.1:\(server.port) < /dev/null"
            )
            #expect(brief.contains("Verification: OK"), "\(brief)")
            #expect(brief.contains("TLSv1.3"))
            let old = try await shell(
                "openssl s_client -tls1_1 -connect 127.0.0.1:\(server.port) < /dev/null || echo refused")
            #expect(old.contains("refused"))
        }
    }

    @Test("python's http.client: kept connections, chunks both ways, client certificates")
    func python() async throws {
        let certificates = try Certificates.shared.get()
        let directory = try certificates.writeFiles()
        defer { try? Files.removeTree(directory) }
        let script = """
            import http.client, ssl, sys
            port, secure, directory = int(sys.argv[1]), sys.argv[2] == "tls", sys.argv[3]
            if secure:
                context = ssl.create_default_context(cafile=directory + "/ca.pem")
                context.load_cert_chain(directory + "/client.pem", directory + "/client.key")
                c = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
            else:
                c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            def ask(*a, **k):
                c.request(*a, **k)
                r = c.getresponse()
                return r.status, r.read()
            for i in range(20):
                body = bytes([i]) * (i * 5000)
                assert ask("POST", "/echo", body) == (200, body)
                assert ask("POST", "/echo", iter([b"ab", b"", b"c"]), encode_chunked=True) == (200, b"abc")
                assert ask("GET", "/empty") == (204, b"")
                assert ask("HEAD", "/stream") == (200, b"")
                assert ask("GET", "/stream?n=2") == (200, b"piece 0\\npiece 1\\n")
            print(ask("GET", "/who")[1].decode())
            """
        try Files.writeAtomically("\(directory)/peer.py", Array(script.utf8))
        try await withServer { server in
            try await expect("python3 \(directory)/peer.py \(server.port) plain \(directory)", prints: "nobody\n")
            #expect(await server.server.counters().connections == 1)
        }
        try await withServer(tls: certificates.serverContext()) { server in
            try await expect(
                "python3 \(directory)/peer.py \(server.port) tls \(directory)", prints: "O=dev, CN=alice\n")
        }
    }

    @Test("a client that does not trust a server says so, and why")
    func untrusted() async throws {
        let certificates = try Certificates.shared.get()
        let stranger = try CertificateAuthority.create(commonName: "stranger")
        try await withServer(tls: certificates.serverContext()) { server in
            let client = server.client(
                secure: try TLSContext(connecting: TrustPool([stranger.certificate]), protocols: ["http/1.1"]))
            let error = await #expect(throws: HTTPError.self) { try await client.request("GET", "/") }
            #expect(error?.kind == .connect)
            #expect(error?.message.contains("certificate") == true, "\(String(describing: error))")
            let trusting = server.client(secure: try certificates.clientContext(identity: true))
            #expect(try await trusting.request("GET", "/who").text == "O=dev, CN=alice")
            #expect(await server.server.counters().handshakeFailures >= 1)
        }
        // TLS spoken to a server without it, and the other way round.
        try await withServer { server in
            let client = server.client(secure: try certificates.clientContext())
            await #expect(throws: HTTPError.self) { try await client.request("GET", "/", timeout: .seconds(60)) }
        }
        try await withServer(tls: certificates.serverContext()) { server in
            await #expect(throws: HTTPError.self) {
                try await server.client().request("GET", "/", timeout: .seconds(60))
            }
        }
    }

    @Test("two thousand idle connections are all still served")
    func idleConnections() async throws {
        try await withServer { server in
            var peers: [RawPeer] = []
            for _ in 0..<2000 {
                let peer = try RawPeer(port: server.port)
                peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                peers.append(peer)
            }
            let all = peers
            try await blocking { for peer in all { _ = peer.receive(until: "\n") } }
            #expect(await server.server.openConnections() == 2000)
            try await blocking {
                for peer in all {
                    peer.send("GET /again HTTP/1.1\r\nHost: h\r\n\r\n")
                    #expect(peer.receive(until: "/again").contains("200 OK"))
                }
            }
        }
    }
}
