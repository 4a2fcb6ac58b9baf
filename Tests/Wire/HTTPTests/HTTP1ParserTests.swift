import Testing

@testable import HTTP

/// One request on the wire and what must become of it.
struct RequestCase: Sendable, CustomTestStringConvertible {
    enum Outcome: Hashable, Sendable {
        case accepted(method: String, target: String, authority: String, framing: BodyFraming, keepsAlive: Bool)
        case refused(Int)
    }
    var wire: String
    var outcome: Outcome
    var testDescription: String { wire.debugDescription }

    static func ok(
        _ wire: String, _ method: String = "GET", _ target: String = "/", authority: String = "h",
        framing: BodyFraming = .none, keep: Bool = true
    ) -> RequestCase {
        RequestCase(
            wire: wire,
            outcome: .accepted(
                method: method, target: target, authority: authority, framing: framing, keepsAlive: keep))
    }
    static func bad(_ wire: String, _ status: Int = 400) -> RequestCase {
        RequestCase(wire: wire, outcome: .refused(status))
    }
}

/// What the parser made of a request.
func outcome(_ wire: [UInt8], limits: HTTPLimits = .standard) -> RequestCase.Outcome? {
    var parser = HTTP1Parser(.request, limits: limits)
    let head = MessageHead(capacity: limits.headerCount)
    return wire.withUnsafeBytes { bytes in
        do throws(HTTP1Violation) {
            guard try parser.parse(bytes, into: head) != nil else { return nil }
            return .accepted(
                method: text(head.methodText), target: text(head.target), authority: text(head.authority),
                framing: head.framing, keepsAlive: head.keepsAlive)
        } catch { return .refused(error.status) }
    }
}

func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }

let requestTable: [RequestCase] = [
    .ok("GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    .ok("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    .ok("GET /a?b=c&d=%20 HTTP/1.1\r\nhOsT:h\r\n\r\n", "GET", "/a?b=c&d=%20"),
    .ok("PURGE / HTTP/1.1\r\nHost: h\r\n\r\n", "PURGE"),
    .ok("GET / HTTP/1.1\r\nHost:  \t h:80 \t\r\n\r\n", authority: "h:80"),
    .ok("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", authority: "[::1]:80"),
    .ok("GET / HTTP/1.1\r\nHost:\r\n\r\n", authority: ""),
    .ok("GET / HTTP/1.1\r\nHost: h\r\nX: \u{e9}\ta b\r\n\r\n"),
    .ok("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "POST"),
    .ok("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0012\r\n\r\n", "POST", framing: .length(12)),
    .ok("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n", "POST", framing: .chunked),
    .ok("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", keep: false),
    .ok("GET / HTTP/1.1\r\nHost: h\r\nConnection: foo , Close\r\n\r\n", keep: false),
    .ok("GET / HTTP/1.0\r\n\r\n", authority: "", keep: false),
    .ok("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", authority: "", keep: true),
    .ok("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", authority: "", keep: false),
    .ok("GET http://other:81/x?y HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/x?y", authority: "other:81"),
    .ok("GET HTTP://other HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/", authority: "other"),
    .ok("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS", "*"),
    .ok("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT", "a:443", authority: "a:443"),

    // The request line.
    .bad("GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad(" GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET /  HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET / HTTP/1.1 \r\nHost: h\r\n\r\n"),
    .bad("GET /\r\nHost: h\r\n\r\n"),
    .bad("GET / http/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    .bad("GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505),
    .bad("GET / HTTP/11\r\nHost: h\r\n\r\n"),
    .bad("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET a HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET ftp://a/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET http://user@h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("G(T / HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("\u{16}\u{3}\u{1}\u{2}\0", 400),
    .bad(String(repeating: "A", count: 40) + " / HTTP/1.1\r\n\r\n", 501),

    // Line ends.
    .bad("GET / HTTP/1.1\nHost: h\n\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\n\n"),
    .bad("GET / HTTP/1.1\rHost: h\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n"),
    .bad("\r\rGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"),

    // Fields.
    .bad("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\n\tX: a\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\nX\u{e9}: a\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\nX: a\u{7f}b\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\nX: a\u{1}b\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    .bad("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"),

    // Framing.
    .bad("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 5\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775808\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551617\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 501),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n"),
    .bad("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    .bad("POST / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\n", 417),
    .bad("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"),
    .bad("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\n"),
]

@Suite("HTTP/1 requests")
struct HTTP1RequestTests {
    @Test("each request of the table is read or refused as the RFC says", arguments: requestTable)
    func table(_ row: RequestCase) {
        #expect(outcome([UInt8](row.wire.unicodeScalars.map { UInt8($0.value) })) == row.outcome)
    }

    @Test("a prefix of a request is never complete and never refused if the whole is good", arguments: requestTable)
    func prefixes(_ row: RequestCase) {
        let wire = [UInt8](row.wire.unicodeScalars.map { UInt8($0.value) })
        let whole = outcome(wire)
        for count in 0..<wire.count {
            let part = outcome(Array(wire[..<count]))
            if case .accepted = whole { #expect(part == nil, "after \(count) bytes") }
            if case .accepted = part { Issue.record("\(count) bytes were taken for the whole") }
        }
    }

    @Test("a request that comes byte by byte is read like one that comes at once", arguments: requestTable)
    func bytewise(_ row: RequestCase) {
        let wire = [UInt8](row.wire.unicodeScalars.map { UInt8($0.value) })
        var parser = HTTP1Parser(.request)
        let head = MessageHead(capacity: 128)
        var last: RequestCase.Outcome?
        for count in 1...wire.count {
            wire[..<count].withUnsafeBytes { bytes in
                do throws(HTTP1Violation) {
                    guard try parser.parse(bytes, into: head) != nil else { return }
                    last = .accepted(
                        method: text(head.methodText), target: text(head.target), authority: text(head.authority),
                        framing: head.framing, keepsAlive: head.keepsAlive)
                } catch { last = .refused(error.status) }
            }
            if last != nil { break }
        }
        #expect(last == row.outcome || last == nil && row.outcome == .refused(400))
    }

    @Test("any byte flipped in a request never traps and never gives slices outside of it")
    func flips() {
        let wire = [UInt8]("POST /path?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\nX-A: b\r\n\r\n".utf8)
        let head = MessageHead(capacity: 128)
        for index in wire.indices {
            for value in UInt8.min...UInt8.max {
                var flipped = wire
                flipped[index] = value
                var parser = HTTP1Parser(.request)
                flipped.withUnsafeBytes { bytes in
                    guard let count = try? parser.parse(bytes, into: head) else { return }
                    #expect(count <= bytes.count)
                    for field in head.fields { _ = (text(head.name(field)), text(head.value(field))) }
                }
            }
        }
    }

    @Test("random bytes and random mixtures of valid pieces never trap", arguments: [1, 2, 3, 4] as [UInt64])
    func fuzz(seed: UInt64) {
        var random = SplitMix(seed)
        let pieces = requestTable.flatMap { $0.wire.split(separator: "\r\n", omittingEmptySubsequences: false) }
        let head = MessageHead(capacity: 128)
        for _ in 0..<5000 {
            var wire: [UInt8] = []
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                wire += pieces.randomElement(using: &random).map { Array($0.utf8) } ?? []
                wire += [13, 10]
            }
            wire += [13, 10]
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                wire[Int.random(in: 0..<wire.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            var whole = HTTP1Parser(.request)
            var split = HTTP1Parser(.request)
            let cut = Int.random(in: 0...wire.count, using: &random)
            wire.withUnsafeBytes { bytes in
                let expected = try? whole.parse(bytes, into: head)
                let first = try? split.parse(UnsafeRawBufferPointer(rebasing: bytes[..<cut]), into: head)
                if let first = first ?? nil {
                    #expect(first == expected, "seed \(seed)")
                } else if let second = try? split.parse(bytes, into: head) {
                    #expect(second == expected, "seed \(seed)")
                }
            }
        }
    }

    @Test("header names are found in any case, and others are kept")
    func names() {
        for name in HeaderName.allCases where name != .other {
            #expect(HeaderName("\(name.text)") == name)
            #expect(HeaderName("\(name.text)".uppercased()) == name)
            #expect(HeaderName("\(name.text)x") != name)
        }
        #expect(HeaderName("") == .other)
    }

    @Test("a head may be as long as the limit and not a byte longer")
    func headLimit() {
        var limits = HTTPLimits()
        limits.headerBytes = 1024
        func request(_ total: Int) -> [UInt8] {
            let start = "GET / HTTP/1.1\r\nHost: h\r\nX: "
            return Array((start + String(repeating: "a", count: total - start.utf8.count - 4) + "\r\n\r\n").utf8)
        }
        guard case .accepted = outcome(request(1024), limits: limits) else {
            Issue.record("1024 bytes were refused")
            return
        }
        #expect(outcome(request(1025), limits: limits) == .refused(431))
        #expect(outcome(Array(request(5000).prefix(1025)), limits: limits) == .refused(431))
        #expect(outcome(Array(request(5000).prefix(1024)), limits: limits) == nil)
    }

    @Test("a head may have as many fields as the limit and not one more")
    func fieldLimit() {
        var limits = HTTPLimits()
        limits.headerCount = 4
        let three = String(repeating: "X: a\r\n", count: 3)
        guard case .accepted = outcome(Array("GET / HTTP/1.1\r\nHost: h\r\n\(three)\r\n".utf8), limits: limits) else {
            Issue.record("four fields were refused")
            return
        }
        #expect(
            outcome(Array("GET / HTTP/1.1\r\nHost: h\r\n\(three)X: a\r\n\r\n".utf8), limits: limits) == .refused(431))
    }

    @Test("control characters are found wherever they stand in a word")
    func controls() {
        for length in 0..<40 {
            for position in 0..<length {
                for control: UInt8 in [0, 10, 13, 31, 127] {
                    var bytes = [UInt8](repeating: 0xff, count: length)
                    if position > 0 { bytes[position - 1] = 9 }
                    bytes[position] = control
                    if position + 1 < length { bytes[position + 1] = 0x80 }
                    let found = bytes.withUnsafeBufferPointer {
                        indexOfControl($0.baseAddress!, from: 0, count: length)
                    }
                    #expect(found == position)
                }
            }
            let clean = [UInt8](repeating: 0x20, count: length + 1)
            #expect(clean.withUnsafeBufferPointer { indexOfControl($0.baseAddress!, from: 0, count: length) } == length)
        }
    }
}

/// A seeded generator, so that a failing run can be repeated.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
