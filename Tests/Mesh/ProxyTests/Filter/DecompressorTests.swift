import Bytes
import Testing

@testable import Proxy

/// Bytes that Python's gzip made. What Envoy answers to sound streams the oracle's scene compares; here stands what differs.
@Suite("The decompressor")
struct DecompressorTests {
    private static let text = "compress me, and then once more compress me"
    private static let compressed = """
        1f8b08000000000002ff4bcecf2d284a2d2e56c84dd55148cc4b5128c948cd53c8cf4b4e55c8cd2f4a554846c803001c5b6b902b000000
        """
    /// 100 000 letters.
    private static let bomb =
        "1f8b08000000000002ffedc13101000000c2a0aceb5fc21a1e4001" + String(repeating: "00", count: 96)
        + "af0687fae21ba0860100"

    private static func configuration(_ more: String = "") -> String {
        ProxyBench.http(
            filters: """
                - name: envoy.filters.http.decompressor
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.decompressor.v3.Decompressor
                    decompressor_library: { name: lib, typed_config: { "@type": type.googleapis.com/envoy.extensions.compression.gzip.decompressor.v3.Gzip\(more) } }
                """)
    }

    private static func post(_ bench: ProxyBench, _ hex: String, pieces: Int = 1) async throws -> RawResponse {
        let body = try #require(Hex.decode(hex))
        let client = try await bench.client()
        try await client.send(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip\r\ncontent-length: \(body.count)\r\n\r\n")
        let size = (body.count + pieces - 1) / pieces
        for start in stride(from: 0, to: body.count, by: size) {
            try await client.connection.write(Array(body[start..<min(start + size, body.count)]))
        }
        return try await client.response()
    }

    @Test("a compressed request reaches the upstream as text, whatever pieces it comes in", arguments: [1, 3, 55])
    func request(pieces: Int) async throws {
        try await ProxyBench.run(Self.configuration(), upstreams: [ScriptedUpstream.echo]) { bench in
            let got = try await Self.post(bench, Self.compressed, pieces: pieces)
            #expect(got.status == 200)
            // What came in chunks stands between their sizes.
            let body = got.body.components("\r\n\r\n", limit: 1).last ?? ""
            let lines = body.components("\r\n")
            let chunks = stride(from: 1, to: lines.count, by: 2).map { lines[$0] }
            #expect(chunks.joined() == Self.text)
            #expect(!got.body.contains("content-encoding"))
            #expect(!got.body.contains("content-length"))
            #expect(got.body.contains("accept-encoding: gzip\r\n"))
            let count = await bench.counter("http.test.decompressor.lib.gzip.request.decompressed")
            #expect(count == 1)
        }
    }

    @Test("a request that is no gzip stream, or was touched, is refused")
    func brokenRequest() async throws {
        try await ProxyBench.run(Self.configuration(), upstreams: [ScriptedUpstream.echo]) { bench in
            let nonsense = try await Self.post(bench, Hex.encode(Array("no gzip at all".utf8)))
            #expect(nonsense.status == 400)
            let touched = try await Self.post(bench, Self.compressed.replacing("1c5b6b90", with: "1c5b6b91"))
            #expect(touched.status == 400)
        }
    }

    @Test("a request that grows beyond the ratio is refused")
    func bomb() async throws {
        try await ProxyBench.run(Self.configuration(), upstreams: [ScriptedUpstream.echo]) { bench in
            let got = try await Self.post(bench, Self.bomb)
            #expect(got.status == 400)
        }
        try await ProxyBench.run(
            Self.configuration(", max_inflate_ratio: 1000"), upstreams: [ScriptedUpstream.echo]
        ) { bench in
            let got = try await Self.post(bench, Self.bomb)
            #expect(got.status == 200)
        }
    }

    @Test("a response that is no gzip stream is cut, not made shorter")
    func brokenResponse() async throws {
        try await ProxyBench.run(
            Self.configuration(),
            upstreams: [ScriptedUpstream.says("no gzip at all", headers: "content-encoding: gzip\r\n")]
        ) { bench in
            let client = try await bench.client()
            try await client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            let all = try await client.everything()
            #expect(all.hasPrefix("HTTP/1.1 200"))
            #expect(!all.hasSuffix("0\r\n\r\n"))
        }
    }
}
