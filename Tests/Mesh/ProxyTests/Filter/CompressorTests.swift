import Compression
import Testing

@testable import Proxy

@Suite("The compressor")
struct CompressorTests {
    @Test(
        "an Accept-Encoding field says",
        arguments: [
            ("gzip", AcceptEncoding.Choice.encoding), ("br;q=1, gzip;q=0.5", .encoding), ("GZIP ; q=1", .encoding),
            ("gzip;q=0", .none), ("br", .none), ("*", .wildcard), ("*;q=0", .none), ("identity", .identity),
            ("gzip;q=0.5, identity", .identity), ("gzip;q=x", .none), ("", .none), ("br, *;q=0.1", .wildcard),
        ])
    func choice(field: String, choice: AcceptEncoding.Choice) {
        var field = field
        let found = field.withUTF8 { AcceptEncoding.choice(of: "gzip", in: UnsafeRawBufferPointer($0)) }
        #expect(found == choice)
    }

    private static let configuration = ProxyBench.http(
        filters: """
            - name: compressor
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor
                response_direction_config: { common_config: { min_content_length: 30 } }
                compressor_library:
                  name: text
                  typed_config: { "@type": type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip }
            """)

    private static let text = String(repeating: "the same again; ", count: 4000)

    @Test("a long text is compressed for who asks, smaller than it was, and comes out as it was")
    func compressed() async throws {
        let headers = "content-type: text/plain\r\netag: \"a\"\r\n"
        try await ProxyBench.run(
            Self.configuration, upstreams: [ScriptedUpstream.says(Self.text, headers: headers)]
        ) { bench in
            let client = try await bench.client()
            try await client.send("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
            let raw = try await client.connection.readToEnd(limit: 1 << 20)
            let end = try #require(raw.indices.first { raw[$0...].starts(with: Array("\r\n\r\n".utf8)) })
            let head = String(decoding: raw[..<end], as: UTF8.self)
            #expect(head.contains("content-encoding: gzip"))
            #expect(head.contains("vary: Accept-Encoding"))
            #expect(!head.contains("etag"))
            #expect(!head.contains("content-length"))
            #expect(raw.count < Self.text.utf8.count / 4)
            let body = try Self.unchunked(raw[(end + 4)...])
            let decompressor = try #require(GzipDecompressor())
            var plain: [UInt8] = []
            let isSound = body.withUnsafeBytes { decompressor.write($0, maximumRatio: 10_000) { plain += $0 } }
            #expect(isSound)
            #expect(plain.elementsEqual(Self.text.utf8))
        }
    }

    @Test("what is short, encoded already, of another type or not asked for stays as it is")
    func untouched() async throws {
        let rows: [(headers: String, body: String, request: String, varies: Bool)] = [
            ("content-type: text/plain\r\n", "short", "Accept-Encoding: gzip\r\n", false),
            ("content-type: image/png\r\n", Self.text, "Accept-Encoding: gzip\r\n", false),
            ("content-encoding: br\r\n", Self.text, "Accept-Encoding: gzip\r\n", false),
            ("cache-control: no-transform\r\n", Self.text, "Accept-Encoding: gzip\r\n", false),
            ("content-type: text/plain\r\n", Self.text, "", true),
            ("content-type: text/plain\r\n", Self.text, "Accept-Encoding: br\r\n", true),
        ]
        for row in rows {
            try await ProxyBench.run(
                Self.configuration, upstreams: [ScriptedUpstream.says(row.body, headers: row.headers)]
            ) { bench in
                let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\(row.request)\r\n")
                #expect(answer.body == row.body)
                #expect((answer["vary"] == "Accept-Encoding") == row.varies, "\(row.headers)")
            }
        }
    }

    private static func unchunked(_ bytes: ArraySlice<UInt8>) throws -> [UInt8] {
        var (body, rest): ([UInt8], ArraySlice<UInt8>) = ([], bytes)
        while let end = rest.firstIndex(of: UInt8(ascii: "\r")) {
            let count = try #require(Int(String(decoding: rest[..<end], as: UTF8.self), radix: 16))
            guard count > 0 else { break }
            body += rest[(end + 2)..<(end + 2 + count)]
            rest = rest[(end + 2 + count + 2)...]
        }
        return body
    }
}
