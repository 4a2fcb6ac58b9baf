import Bytes
import Glibc
import Reactor
import Testing

@testable import TLS

/// Our records of TLS 1.3 before the programs of others, over sockets.
@Suite("Records after the handshake, with other programs")
struct RecordPeersTests {
    let fixture: Fixture
    init() throws { fixture = try Fixture.shared.get() }

    /// Runs `script`, a Python program whose first argument is the port of a server that sends back all that it gets.
    private func withEcho(_ script: String) async throws -> String {
        let context = try TLSContext(serving: [fixture.server])
        let answer = Promise<String>()
        try await TLSPeerTests().withWorkshop { loop, folder in
            let listener = try Listener(.ip(.loopbackV4, 0), on: loop) { stream in
                guard let session = try? TLSSession(context) else { return }
                stream.handler = EchoStream(session)
            }
            defer { listener.close() }
            try Files.writeAtomically("\(folder)/client.py", script)
            let port = listener.address.port?.rawValue ?? 0
            answer.succeed(try await TLSPeerTests.run("python3 client.py \(port)", in: folder, on: loop))
        }
        return try await answer.value()
    }

    @Test(
        "openssl's client changes its key, and ours, between data",
        .enabled(if: access("/usr/bin/openssl", X_OK) == 0 && access("/usr/bin/python3", X_OK) == 0),
        arguments: ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
    func keyUpdates(suite: String) async throws {
        let output = try await withEcho(
            """
            import os, subprocess, sys
            client = subprocess.Popen(
                ["openssl", "s_client", "-connect", "127.0.0.1:" + sys.argv[1], "-servername", "a.test", "-CAfile", "ca.pem",
                 "-verify_return_error", "-tls1_3", "-ciphersuites", "\(suite)"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            def say(line, answer):
                os.write(client.stdin.fileno(), line.encode() + b"\\n")
                seen = b""
                while answer.encode() not in seen:
                    more = os.read(client.stdout.fileno(), 4096)
                    if not more: sys.exit("ended after %r: %r" % (line, seen[-300:]))
                    seen += more
            say("hello", "hello")
            for index, key in enumerate("KkKKkK"):
                say(key, "KEYUPDATE")
                say("word %d" % index, "word %d" % index)
            os.write(client.stdin.fileno(), b"Q\\n")
            print("exit", client.wait())
            """)
        #expect(output == "exit 0", "\(output.suffix(600))")
    }

    @Test(
        "Python gets back megabytes, a resumed session, and an end that is one",
        .enabled(if: access("/usr/bin/python3", X_OK) == 0))
    func python() async throws {
        let output = try await withEcho(
            """
            import os, socket, ssl, sys, threading
            context = ssl.create_default_context(cafile="ca.pem")
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            session = None
            for size in [1, 16384, 3000001]:
                plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
                stream = context.wrap_socket(
                    plain, server_hostname="a.test", suppress_ragged_eofs=False, session=session)
                data = os.urandom(size)
                writer = threading.Thread(target=stream.sendall, args=(data,))
                writer.start()
                back = b""
                while len(back) < size: back += stream.recv(65536)
                writer.join()
                session = stream.session
                print(back == data, stream.session_reused)
                stream.unwrap().close()
            """)
        #expect(output == "True False\nTrue True\nTrue True", "\(output.suffix(600))")
    }

    @Test(
        "curl takes a large answer under each cipher suite", .enabled(if: access("/usr/bin/curl", X_OK) == 0),
        arguments: ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
    func curl(suite: String) async throws {
        let context = try TLSContext(serving: [fixture.server])
        let body = String(repeating: "0123456789", count: 100_000)
        try await TLSPeerTests().withWorkshop { loop, folder in
            let listener = try Listener(.ip(.loopbackV4, 0), on: loop) { stream in
                guard let session = try? TLSSession(context) else { return }
                stream.handler = TLSStream(session) { session, _ in
                    "HTTP/1.1 200 OK\r\nX-Cipher: \(session.cipherName)\r\nConnection: close\r\n\r\n\(body)"
                }
            }
            defer { listener.close() }
            let port = listener.address.port?.rawValue ?? 0
            let output = try await TLSPeerTests.run(
                "curl -sS --cacert ca.pem --tlsv1.3 --tls13-ciphers \(suite) --resolve a.test:\(port):127.0.0.1 -o body -D - https://a.test:\(port)/ && wc -c < body",
                in: folder, on: loop)
            #expect(output.contains("X-Cipher: \(suite)\r\n") && output.hasSuffix("\r\n1000000"), "\(output)")
        }
    }
}

/// Sends back what it gets, and ends when the peer does.
private final class EchoStream: StreamHandler, @unchecked Sendable {
    private let session: TLSSession
    init(_ session: TLSSession) { self.session = session }

    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        do {
            var rest = bytes
            repeat {
                let taken = try session.receive(rest) { plaintext in
                    // Sealed within the callback, as a proxy does.
                    (try? self.session.send(plaintext)) == plaintext.count
                }
                rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
            } while !rest.isEmpty
            if session.isPeerClosed { session.sendClose() }
            flush(stream)
            if session.isPeerClosed { stream.closeAfterWrite() }
        } catch {
            flush(stream)
            stream.closeAfterWrite()
        }
        return bytes.count
    }

    private func flush(_ stream: StreamSocket) {
        session.withOutput { output in
            stream.write(output)
            return output.count
        }
    }
}
