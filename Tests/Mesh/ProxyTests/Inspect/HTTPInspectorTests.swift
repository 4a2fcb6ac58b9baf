import Bytes
import Testing

@testable import Proxy

@Suite("HTTP inspection")
struct HTTPInspectorTests {
    private static func inspect(_ text: String) -> HTTPInspector.Verdict {
        var inspector = HTTPInspector()
        return Array(text.utf8).withUnsafeBytes { inspector.inspect($0) }
    }

    @Test(
        "a connection's first line says what it is",
        arguments: [
            ("GET / HTTP/1.1\r\n", .found(.http11)), ("GET / HTTP/1.0\r\n", .found(.http10)),
            ("GET / HTTP/1.1\n", .found(.http11)), ("M-SEARCH * HTTP/1.1\r\nHost: a", .found(.http11)),
            ("brew /pot HTTP/1.1\r\n", .found(.http11)), ("CONNECT a:443 HTTP/1.1\r\n", .found(.http11)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .found(.http2)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", .found(.http2)),
            ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", .notHTTP), ("", .needsMore), ("PRI", .needsMore), ("GET", .needsMore),
            ("GET /", .needsMore), ("GET / HTTP/1.1\r", .needsMore), ("GET / HTTP/1.2\r\n", .notHTTP),
            ("GET / HTTP/2.0\r\n", .notHTTP), ("GET  HTTP/1.1\r\n", .notHTTP), ("GET / \r\n", .notHTTP),
            ("GET /\r\n", .notHTTP), (" GET / HTTP/1.1\r\n", .notHTTP), ("\u{16}\u{3}\u{1}", .notHTTP),
            ("GET /a b HTTP/1.1\r\n", .notHTTP), ("GET /\u{7f} HTTP/1.1\r\n", .notHTTP),
            ("G(T / HTTP/1.1\r\n", .notHTTP),
            ("220 smtp ESMTP\r\n", .notHTTP), ("\0\0\0\u{8}", .notHTTP), ("SSH-2.0-OpenSSH\r\n", .notHTTP),
            ("\r\nGET / HTTP/1.1\r\n", .notHTTP),
        ] as [(String, HTTPInspector.Verdict)])
    func table(_ text: String, _ expected: HTTPInspector.Verdict) {
        #expect(Self.inspect(text) == expected)
    }

    @Test("every prefix waits, and the line is not read anew with every piece")
    func prefixes() {
        for (text, version) in [
            ("OPTIONS http://a.test/b?c HTTP/1.1\r\n", HTTPInspector.Version.http11),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .http2),
        ] {
            let bytes = Array(text.utf8)
            var inspector = HTTPInspector()
            for count in bytes.indices {
                #expect(bytes[..<count].withUnsafeBytes { inspector.inspect($0) } == .needsMore)
            }
            #expect(bytes.withUnsafeBytes { inspector.inspect($0) } == .found(version))
        }
    }

    @Test("a line without an end is given up at its limit")
    func limit() {
        let line = "GET /" + String(repeating: "a", count: HTTPInspector.longestLine)
        #expect(Self.inspect(String(line.prefix(HTTPInspector.longestLine - 1))) == .needsMore)
        #expect(Self.inspect(String(line.prefix(HTTPInspector.longestLine))) == .notHTTP)
        #expect(Self.inspect(String(repeating: "A", count: 40)) == .notHTTP)
        #expect(Self.inspect(line + " HTTP/1.1\r\n") == .notHTTP)
    }

    @Test("noise never traps", arguments: [UInt64(1), 2])
    func noise(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let line = Array("GET /path HTTP/1.1\r\n".utf8)
        for _ in 0..<20_000 {
            var bytes = Array(line.prefix(.random(in: 0...line.count, using: &random)))
            if let index = bytes.indices.randomElement(using: &random) {
                bytes[index] = .random(in: 0...255, using: &random)
            }
            var inspector = HTTPInspector()
            _ = bytes.withUnsafeBytes { inspector.inspect($0) }
        }
    }

    @Test("what was found is named as chains name it")
    func names() {
        let names = [HTTPInspector.Version.http10, .http11, .http2].map { version in
            version.applicationProtocol.map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(names == [["http/1.0"], ["http/1.1"], ["h2c"]])
    }

    @Test("curl's requests are known", .enabled(if: CapturedPeer.isInstalled("curl")))
    func curl() async throws {
        for (option, version) in [
            ("--http1.1", HTTPInspector.Version.http11), ("--http1.0", .http10), ("--http2-prior-knowledge", .http2),
        ] {
            let bytes = try await CapturedPeer.firstBytes(of: { ["curl", "-s", option, "http://127.0.0.1:\($0)/"] }) {
                Self.inspect(String(decoding: $0, as: UTF8.self)) != .needsMore
            }
            var inspector = HTTPInspector()
            #expect(bytes.withUnsafeBytes { inspector.inspect($0) } == .found(version), "\(option)")
        }
    }
}
