import Testing

@testable import HTTP

@Suite("HTTP/1 responses and bodies")
struct HTTP1ResponseTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var wire: String
        var answering: HTTPMethod = .get
        /// Status, framing and persistence; nil if it must be refused.
        var expected: (Int, BodyFraming, Bool)?
        var testDescription: String { wire.debugDescription }
    }

    static let table: [Row] = [
        Row(wire: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", expected: (200, .length(3), true)),
        Row(wire: "HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", expected: (200, .length(3), true)),
        Row(wire: "HTTP/1.1 200 \r\n\r\n", expected: (200, .untilClose, false)),
        Row(
            wire: "HTTP/1.1 404 Nicht da \u{e9}\r\nTransfer-Encoding: chunked\r\n\r\n", expected: (404, .chunked, true)),
        Row(wire: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", answering: .head, expected: (200, .none, true)),
        Row(wire: "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", expected: (204, .none, true)),
        Row(wire: "HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\n", expected: (304, .none, true)),
        Row(wire: "HTTP/1.1 100 Continue\r\n\r\n", expected: (100, .none, true)),
        Row(wire: "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", expected: (101, .none, true)),
        Row(wire: "HTTP/1.1 200 OK\r\n\r\n", answering: .connect, expected: (200, .none, true)),
        Row(wire: "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", expected: (200, .length(3), false)),
        Row(wire: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", expected: nil),
        Row(wire: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", expected: nil),
        Row(wire: "HTTP/1.1 99 OK\r\n\r\n", expected: nil),
        Row(wire: "HTTP/1.1 2x0 OK\r\n\r\n", expected: nil),
        Row(wire: "HTTP/1.1 099 OK\r\n\r\n", expected: nil),
        Row(wire: "HTTP/1.1  200 OK\r\n\r\n", expected: nil),
        Row(wire: "HTTP/1.1 200 O\0K\r\n\r\n", expected: nil),
        Row(wire: "HTTP/2 200 OK\r\n\r\n", expected: nil),
        Row(wire: "SSH-2.0-OpenSSH\r\n", expected: nil),
    ]

    @Test("each response of the table is read or refused as the RFC says", arguments: table)
    func responses(_ row: Row) {
        let wire = row.wire.unicodeScalars.map { UInt8($0.value) }
        let head = MessageHead(capacity: 128)
        wire.withUnsafeBytes { bytes in
            for count in 0...wire.count {
                var parser = HTTP1Parser(.response)
                let part = UnsafeRawBufferPointer(rebasing: bytes[..<count])
                let parsed = try? parser.parse(part, into: head, answering: row.answering)
                guard count == wire.count, let expected = row.expected else {
                    #expect((parsed ?? nil) == nil)
                    continue
                }
                #expect((parsed ?? nil) == wire.count)
                #expect(head.status == expected.0)
                #expect(head.framing == expected.1)
                #expect(head.keepsAlive == expected.2)
            }
        }
    }

    /// Runs a decoder over pieces of the given size; nil if it refuses.
    static func decode(_ framing: BodyFraming, _ wire: [UInt8], piece: Int) -> (
        body: [UInt8], rest: [UInt8], done: Bool
    )? {
        var decoder = BodyDecoder(framing)
        var body: [UInt8] = []
        var from = 0
        while from < wire.count {
            let input = Array(wire[from..<min(from + piece, wire.count)])
            var consumed = 0
            let ended: Bool? = input.withUnsafeBytes { bytes in
                while true {
                    guard let event = try? decoder.next(bytes, consumed: &consumed) else { return nil }
                    switch event {
                    case .data(let range): body += bytes[range]
                    case .end: return true
                    case .needsMore: return false
                    }
                }
            }
            guard let ended else { return nil }
            from += consumed
            if ended { return (body, Array(wire[from...]), true) }
        }
        return (body, [], false)
    }

    @Test("a chunked body is the same however it is cut into pieces")
    func chunkedPieces() {
        let wire = Array("5\r\nhello\r\n00a;x=\"y\"\r\n, world ok\r\n0\r\n\r\nNEXT".utf8)
        for piece in 1...wire.count {
            let result = Self.decode(.chunked, wire, piece: piece)
            #expect(result.map { String(decoding: $0.body, as: UTF8.self) } == "hello, world ok")
            #expect(result?.done == true)
            #expect(result.map { String(decoding: $0.rest, as: UTF8.self) } == "\r\nNEXT")
        }
    }

    @Test(
        "malformed chunks are refused",
        arguments: [
            "\r\n", "g\r\n", "-1\r\n", "+1\r\n", " 1\r\na\r\n", "1 \r\na\r\n", "1\na\n", "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "1;\u{1}\r\n", "fffffffffffffffff\r\n", "0x1\r\n", "1\rX", "1;a\nb\r\n",
        ])
    func badChunks(_ wire: String) {
        #expect(Self.decode(.chunked, Array(wire.utf8), piece: 100) == nil)
        #expect(Self.decode(.chunked, Array(wire.utf8), piece: 1) == nil)
    }

    @Test("chunk extensions have a limit over the whole body")
    func extensionFlood() {
        let flood = Array(String(repeating: "1;" + String(repeating: "e", count: 100) + "\r\na\r\n", count: 50).utf8)
        #expect(Self.decode(.chunked, flood, piece: 1000) == nil)
    }

    @Test("a body of known length ends after it, whatever follows")
    func knownLength() {
        let result = Self.decode(.length(3), Array("abcdef".utf8), piece: 2)
        #expect(result.map { String(decoding: $0.body, as: UTF8.self) } == "abc")
    }

    @Test("trailers are read up to the empty line, and framing fields are refused among them")
    func trailers() throws {
        let parser = HTTP1Parser(.request)
        let head = MessageHead(capacity: 4)
        func parse(_ wire: String) throws -> Int? {
            try Array(wire.utf8).withUnsafeBytes { try parser.parseTrailers($0, into: head) }
        }
        #expect(try parse("\r\nX") == 2)
        #expect(try parse("Grpc-Status: 0\r\n\r\n") == 18)
        #expect(head.fieldCount == 1)
        #expect(try parse("Grpc-Status: 0\r\n") == nil)
        #expect(try parse("Grpc-Status: 0\r\n\r") == nil)
        #expect(throws: HTTP1Violation.self) { try parse("Content-Length: 0\r\n\r\n") }
        #expect(throws: HTTP1Violation.self) { try parse("Transfer-Encoding: chunked\r\n\r\n") }
        #expect(throws: HTTP1Violation.self) { try parse(String(repeating: "A: b\r\n", count: 5) + "\r\n") }
    }
}

@Suite("HTTP values")
struct HTTPValueTests {
    @Test("headers are found in any case, set, added and removed")
    func headers() {
        var headers: HTTPHeaders = ["Content-Type": "text/plain", "X-Thing": "1"]
        headers.add("x-thing", "2")
        #expect(headers["content-type"] == "text/plain")
        #expect(headers[.contentType] == "text/plain")
        #expect(headers.values("X-THING") == ["1", "2"])
        headers["X-Thing"] = "3"
        #expect(headers.values("x-thing") == ["3"])
        headers["X-Thing"] = nil
        #expect(headers["x-thing"] == nil)
        #expect(headers.count == 1)
        headers.add("Connection", "keep-alive, Upgrade")
        #expect(headers.contains(token: "upgrade", in: .connection))
        #expect(!headers.contains(token: "up", in: .connection))
    }

    @Test("a line break in a value cannot start a new field")
    func injection() {
        let headers: HTTPHeaders = ["X": "a\r\nSet-Cookie: b"]
        #expect(headers["x"] == "a  Set-Cookie: b")
    }

    @Test("percent-encoding round-trips and refuses malformed escapes")
    func percent() {
        #expect(PercentEncoding.decode("a%2Fb%20c+") == "a/b c+")
        #expect(PercentEncoding.decode("a+b", plusIsSpace: true) == "a b")
        #expect(PercentEncoding.decode("%") == nil)
        #expect(PercentEncoding.decode("%4") == nil)
        #expect(PercentEncoding.decode("%zz") == nil)
        #expect(PercentEncoding.decode("%ff") == nil)
        #expect(PercentEncoding.encode("a/b ü~") == "a%2Fb%20%C3%BC~")
    }

    @Test("the date header is right on days that are easy to get wrong")
    func dates() {
        func date(_ seconds: Int64) -> String {
            var header = DateHeader()
            header.update(seconds)
            return header.withBytes { String(decoding: $0, as: UTF8.self) }
        }
        #expect(date(0) == "Thu, 01 Jan 1970 00:00:00 GMT")
        #expect(date(784_887_151) == "Tue, 15 Nov 1994 08:12:31 GMT")
        #expect(date(951_782_399) == "Mon, 28 Feb 2000 23:59:59 GMT")
        #expect(date(951_782_400) == "Tue, 29 Feb 2000 00:00:00 GMT")
        #expect(date(4_107_542_400) == "Mon, 01 Mar 2100 00:00:00 GMT")
    }
}
