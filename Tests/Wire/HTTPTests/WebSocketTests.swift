import Bytes
import Testing

@testable import HTTP

@Suite("WebSocket")
struct WebSocketTests {
    typealias Message = WebSocketDecoder.Message

    /// Decodes everything, offering the input in pieces.
    func decode(_ wire: [UInt8], role: WebSocketDecoder.Role, piece: Int, limit: Int = 1 << 20) throws -> [Message] {
        var decoder = WebSocketDecoder(role, maximumMessage: limit)
        var messages: [Message] = []
        var pending: [UInt8] = []
        for start in stride(from: 0, to: wire.count, by: piece) {
            pending += wire[start..<min(start + piece, wire.count)]
            var consumed = 0
            try pending.withUnsafeBytes { bytes in
                while let message = try decoder.next(bytes, consumed: &consumed) { messages.append(message) }
            }
            pending.removeFirst(consumed)
        }
        return messages
    }

    @Test(
        "what one side encodes the other decodes, of any length and however it is cut",
        arguments: [1, 3, 1000, 200_000])
    func roundTrip(piece: Int) throws {
        for (from, to) in [(WebSocketDecoder.Role.client, WebSocketDecoder.Role.server), (.server, .client)] {
            let encoder = WebSocketEncoder(from)
            var wire: [UInt8] = []
            var expected: [Message] = []
            for count in [0, 1, 125, 126, 127, 65_535, 65_536] where piece > 2 || count < 1000 {
                let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
                encoder.binary(bytes, into: &wire)
                expected.append(.binary(bytes))
            }
            encoder.text("héllo".utf8, into: &wire)
            encoder.ping([1], into: &wire)
            encoder.pong([2], into: &wire)
            encoder.close(code: 1000, reason: "bye", into: &wire)
            expected += [.text(Array("héllo".utf8)), .ping([1]), .pong([2]), .close(code: 1000, reason: "bye")]
            #expect(try decode(wire, role: to, piece: piece) == expected)
        }
    }

    @Test("fragments are one message, and control frames may come between them")
    func fragments() throws {
        let wire: [UInt8] = [0x02, 1, 7, 0x89, 0, 0x00, 1, 8, 0x80, 1, 9]
        #expect(try decode(wire, role: .client, piece: 1) == [.ping([]), .binary([7, 8, 9])])
    }

    @Test(
        "broken frames are refused with the code the RFC names",
        arguments: [
            ([0xc2, 0], 1002), ([0x82, 0x80, 1, 2, 3, 4], 1002), ([0x80, 0], 1002), ([0x83, 0], 1002),
            ([0x82, 126, 0, 5], 1002), ([0x82, 127, 0, 0, 0, 0, 0, 0, 0, 9], 1002), ([0x09, 0], 1002),
            ([0x89, 126, 0, 126], 1002), ([0x02, 0, 0x82, 0], 1002), ([0x88, 1, 3], 1002), ([0x88, 2, 3, 237], 1002),
            ([0x81, 1, 0xff], 1007), ([0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1009),
            ([0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1009),
        ] as [([UInt8], UInt16)])
    func violations(_ wire: [UInt8], _ code: UInt16) {
        let error = #expect(throws: WebSocketDecoder.Violation.self) { try decode(wire, role: .client, piece: 100) }
        #expect(error?.code == code)
    }

    @Test("fragments together may be as long as the limit and not longer")
    func limit() throws {
        #expect(
            try decode([0x02, 2, 1, 2, 0x80, 2, 3, 4], role: .client, piece: 100, limit: 4) == [.binary([1, 2, 3, 4])])
        let error = #expect(throws: WebSocketDecoder.Violation.self) {
            try decode([0x02, 2, 1, 2, 0x80, 2, 3, 4], role: .client, piece: 100, limit: 3)
        }
        #expect(error?.code == 1009)
    }

    @Test("random bytes never trap", arguments: [UInt64(1), 2])
    func fuzz(seed: UInt64) {
        var random = SplitMix(seed)
        for _ in 0..<20_000 {
            let wire = (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random)
            }
            _ = try? decode(wire, role: .client, piece: Int.random(in: 1...10, using: &random), limit: 64)
        }
    }

    @Test("the answer to a handshake is the RFC's")
    func handshake() throws {
        #expect(WebSocketHandshake.answer(to: "dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        var request = HTTPRequest(
            method: "GET", target: "/", headers: ["Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"],
            peer: .ip(.loopbackV4, 1))
        #expect(throws: HTTPError.self) { try WebSocketHandshake.accept(request, protocols: []) }
        request.headers["Sec-WebSocket-Version"] = "13"
        request.headers["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
        request.headers["Sec-WebSocket-Protocol"] = "v5.channel.k8s.io, v4.channel.k8s.io"
        let answer = try WebSocketHandshake.accept(request, protocols: ["v4.channel.k8s.io"])
        #expect(answer["sec-websocket-protocol"] == "v4.channel.k8s.io")
        #expect(throws: HTTPError.self) { try WebSocketHandshake.accept(request, protocols: ["v3"]) }
    }
}
