import Bytes
import DNSMessage
import Testing

@Suite struct DNSMessageTests {
    /// A query for `Cart.Shop.` A with an OPT record of 4096 octets and DO.
    static let query: [UInt8] =
        [0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1] + [4] + Array("Cart".utf8) + [4] + Array("Shop".utf8)
        + [0, 0, 1, 0, 1] + [0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 0]

    func parse(_ bytes: [UInt8]) throws(DNSQuery.Failure) -> DNSQuery {
        let result = bytes.withUnsafeBytes { buffer in Result { () throws(DNSQuery.Failure) in try DNSQuery(buffer) } }
        return try result.get()
    }

    @Test("a query is read in place")
    func read() throws {
        let query = try parse(Self.query)
        #expect(query.id == 0x1234)
        #expect(query.type == .a)
        #expect(query.isRecursionDesired)
        #expect(query.extended?.payloadSize == 4096)
        #expect(query.extended?.wantsDNSSEC == true)
        #expect(Self.query.withUnsafeBytes { query.name(in: $0) } == DNSName("cart.shop"))
    }

    @Test("every prefix is refused, and nothing traps")
    func prefixes() {
        for count in 0..<Self.query.count {
            #expect(throws: DNSQuery.Failure.self) { try self.parse(Array(Self.query[..<count])) }
        }
    }

    @Test("random bytes and flipped bits are read or refused, and nothing traps")
    func fuzz() {
        var random = SplitMix64(seed: 20_261_124)
        for round in 0..<20_000 {
            var bytes = Self.query
            if round % 4 == 0 {
                bytes = (0..<Int.random(in: 0..<80, using: &random)).map { _ in .random(in: 0...255, using: &random) }
            }
            for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            _ = try? parse(bytes)
            bytes.withUnsafeBytes { _ = DNSResponse($0) }
            if bytes.count > 2 {
                bytes[2] |= 0x80
                bytes.withUnsafeBytes { _ = DNSResponse($0) }
            }
        }
    }

    @Test(
        "what is no single plain question is answered by the protocol's own error",
        arguments: [
            (2, UInt8(0x28), "NOTIMP"), (5, 0, "FORMERR"), (5, 2, "FORMERR"), (12, 0xC0, "FORMERR"),
            (12, 0x40, "FORMERR"), (2, 0x80, "drop"),
        ])
    func refusals(offset: Int, value: UInt8, outcome: String) {
        var bytes = Self.query
        bytes[offset] = value
        let got: String
        do {
            _ = try parse(bytes)
            got = "read"
        } catch {
            switch error {
            case .drop: got = "drop"
            case .malformed(id: 0x1234): got = "FORMERR"
            case .unsupported(id: 0x1234, opcode: 5): got = "NOTIMP"
            default: got = "\(error)"
            }
        }
        #expect(got == outcome)
    }

    @Test(
        "names are read from text and written again",
        arguments: [
            ("cart.shop.svc.cluster.local", "cart.shop.svc.cluster.local."), ("A.b.", "a.b."), (".", "."), ("", "."),
            (#"a\.b.c"#, #"a\.b.c."#), (#"\007x"#, #"\007x."#),
        ])
    func names(text: String, written: String) { #expect(DNSName(text)?.description == written) }

    @Test(
        "impossible names are none",
        arguments: [
            "a..b", ".a", String(repeating: "x", count: 64),
            Array(repeating: "abcdefg", count: 40).joined(separator: "."), #"a\"#,
        ])
    func noNames(text: String) { #expect(DNSName(text) == nil) }

    @Test("a name is in its zones and in no other") func zones() throws {
        let name = try #require(DNSName("a.b.c"))
        for zone in ["a.b.c", "b.c", "c", "."] { #expect(name.isIn(try #require(DNSName(zone)))) }
        for zone in ["x.a.b.c", ".b.c.d", "bb.c", "d"] {
            #expect(!name.isIn(DNSName(zone) ?? DNSName(reverse: .loopbackV4)))
        }
    }

    @Test("addresses have their names in the reverse zones") func reverse() throws {
        #expect(DNSName(reverse: try #require(IPAddress("10.96.0.1"))).description == "1.0.96.10.in-addr.arpa.")
        #expect(
            DNSName(reverse: try #require(IPAddress("fd00::1"))).description
                == "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.")
    }

    @Test("an answer that does not fit loses additional records silently, answers with TC")
    func truncation() throws {
        let query = try parse(Self.query)
        var content = DNSAnswerWriter.Content()
        for i in 0..<20 { content.answers.append(IPAddress(v4: 10, 0, 0, UInt8(i)), ttl: 30) }
        for i in 0..<20 { content.additionals.append(IPAddress(v4: 10, 0, 1, UInt8(i)), ttl: 30, owner: DNSName("x")) }
        var writer = DNSAnswerWriter()
        try Self.query.withUnsafeBytes { message in
            let whole = writer.write(query, message, content, limit: 1232)
            #expect(!whole)
            let silently = writer.write(query, message, content, limit: 400)
            #expect(!silently)
            let without = try #require(writer.bytes.withUnsafeBytes { DNSResponse($0) })
            #expect(without.answerCount == 20 && !without.isTruncated)
            let loudly = writer.write(query, message, content, limit: 200)
            #expect(loudly)
            let cut = try #require(writer.bytes.withUnsafeBytes { DNSResponse($0) })
            #expect(cut.isTruncated && cut.answerCount == 10 && writer.bytes.count <= 200)
            // The question's case comes back as it was sent.
            #expect(writer.bytes[12..<17].elementsEqual([4] + Array("Cart".utf8)))
        }
    }

    @Test("rotation changes the order and loses nothing") func rotation() throws {
        let query = try parse(Self.query)
        var content = DNSAnswerWriter.Content()
        for i in 0..<3 { content.answers.append(IPAddress(v4: 10, 0, 0, UInt8(i)), ttl: 30) }
        var writer = DNSAnswerWriter()
        var firsts: Set<UInt8> = []
        Self.query.withUnsafeBytes { message in
            for i in 0..<3 {
                content.rotation = i
                writer.write(query, message, content, limit: 512)
                firsts.insert(writer.bytes[query.questionEnd + 15])
            }
        }
        #expect(firsts == [0, 1, 2])
    }
}
