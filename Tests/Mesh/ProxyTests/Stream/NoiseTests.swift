import Bytes
import Reactor
import Testing

@testable import Proxy

@Suite("Noise")
struct NoiseTests {
    private static let requests: [[UInt8]] = [
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "HEAD / HTTP/1.0\r\n\r\n",
    ].map { Array($0.utf8) }

    /// HTTP/2's preface, settings, and a few frames of a client that means little by them.
    private static func frames(_ random: inout SplitMix64) -> [UInt8] {
        var bytes = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(4, 0, 0, [])
        let head: [UInt8] = [0x82, 0x86, 0x84, 0x41, 0x01, 0x61]
        var stream: UInt32 = 1
        for _ in 0..<Int.random(in: 1...10, using: &random) {
            switch Int.random(in: 0..<5, using: &random) {
            case 0, 1:
                bytes += frame(1, Bool.random(using: &random) ? 4 : 5, stream, head)
                stream += 2
            case 2: bytes += frame(3, 0, max(1, stream &- 2), [0, 0, 0, UInt8.random(in: 0...13, using: &random)])
            case 3: bytes += frame(0, Bool.random(using: &random) ? 0 : 1, max(1, stream &- 2), [1, 2, 3])
            default:
                let size = Int.random(in: 0...40, using: &random)
                let payload = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
                bytes += frame(
                    UInt8.random(in: 0...12, using: &random), UInt8.random(in: 0...255, using: &random),
                    UInt32.random(in: 0...9, using: &random), payload)
            }
        }
        return bytes
    }

    private static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
        [0, UInt8(payload.count >> 8), UInt8(payload.count & 255), type, flags]
            + withUnsafeBytes(of: stream.bigEndian) { Array($0) } + payload
    }

    private static func spoil(_ bytes: [UInt8], _ random: inout SplitMix64) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 0...4, using: &random) where !bytes.isEmpty {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0, 1: bytes[index] = UInt8.random(in: 0...255, using: &random)
            case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: index)
            default: bytes.removeSubrange(index..<min(index + 5, bytes.count))
            }
        }
        return bytes
    }

    @Test("from clients, whole or cut, leaves a proxy that serves", arguments: [UInt64(1), 2, 3, 4])
    func clients(seed: UInt64) async throws {
        var random = SplitMix64(seed: seed)
        let manager = "upgrade_configs: [{ upgrade_type: websocket }]"
        try await ProxyBench.run(ProxyBench.http(manager: manager), upstreams: [ScriptedUpstream.echo]) { bench in
            let address = try await bench.address()
            for _ in 0..<150 {
                let isHTTP2 = Int.random(in: 0..<3, using: &random) == 0
                let clean =
                    isHTTP2
                    ? Self.frames(&random) : Self.requests[Int.random(in: 0..<Self.requests.count, using: &random)]
                let bytes = Self.spoil(clean, &random)
                let connection = try await StreamConnection.connect(to: address, on: bench.group.all[0])
                let cut = Int.random(in: 0...bytes.count, using: &random)
                // The proxy may have closed between the pieces.
                try? await connection.write(Array(bytes[..<cut]))
                try? await connection.write(Array(bytes[cut...]))
                connection.close()
            }
            let answer = try await bench.exchange("GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(answer.status == 200, "seed \(seed)")
        }
    }

    @Test(
        "from an upstream is an answer of 502 or 503, or a cut one, and the next request is served",
        arguments: [UInt64(1), 2, 3])
    func upstreams(seed: UInt64) async throws {
        let answers = [
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ]
        let script: ScriptedUpstream.Script = { request, number in
            guard !request.hasPrefix("GET /after ") else { return .answerAndClose(answers[0]) }
            var random = SplitMix64(seed: seed << 32 | UInt64(number))
            let spoiled = Self.spoil(Array(answers[number % answers.count].utf8), &random)
            return .answerAndClose(String(decoding: spoiled, as: UTF8.self))
        }
        try await ProxyBench.run(ProxyBench.http(), upstreams: [script]) { bench in
            for _ in 0..<100 {
                let client = try await bench.client()
                try await client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                let text = try await client.everything()
                #expect(text.isEmpty || text.hasPrefix("HTTP/1.1 "), "seed \(seed): \(text)")
            }
            let answer = try await bench.exchange("GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(answer.status == 200 && answer.body == "ok", "seed \(seed)")
        }
    }
}
