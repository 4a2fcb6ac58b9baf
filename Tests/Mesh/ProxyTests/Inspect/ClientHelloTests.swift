import Bytes
import Testing

@testable import Proxy

@Suite("ClientHello inspection")
struct ClientHelloTests {
    private static func inspect(
        _ bytes: [UInt8], _ limits: ClientHelloInspector.Limits = .init(),
        _ prints: ClientHelloInspector.Fingerprints = []
    ) -> String {
        var inspector = ClientHelloInspector(limits, fingerprints: prints)
        return describe(bytes.withUnsafeBytes { inspector.inspect($0) })
    }

    private static func describe(_ verdict: ClientHelloInspector.Verdict) -> String {
        switch verdict {
        case .needsMore: "more"
        case .notTLS: "not TLS"
        case .malformed: "malformed"
        case .tooLarge: "too large"
        case .found(let hello): "\(hello.serverName) \(hello.applicationProtocols.joined(separator: ","))"
        }
    }

    @Test("name, protocols and version are found, the name in lower case")
    func found() throws {
        var inspector = ClientHelloInspector()
        let bytes = HelloBuilder.named("A.Example.TEST", protocols: ["h2", "http/1.1"]).records()
        let verdict = bytes.withUnsafeBytes { inspector.inspect($0) }
        guard case .found(let hello) = verdict else {
            Issue.record("\(verdict)")
            return
        }
        #expect(hello.serverName == "a.example.test")
        #expect(hello.applicationProtocols == ["h2", "http/1.1"])
        #expect(hello.version == 0x0304)
        #expect(Self.inspect(HelloBuilder.named("").records()) == " ")
    }

    @Test("every prefix asks for more, however the message is cut into records", arguments: [1, 2, 3, 5, 50, 16384])
    func prefixes(recordSize: Int) {
        let bytes = HelloBuilder.named("a.test", protocols: ["h2"]).records(of: recordSize)
        var inspector = ClientHelloInspector()
        for count in bytes.indices {
            let verdict = bytes[..<count].withUnsafeBytes { inspector.inspect($0) }
            guard case .needsMore(let peek) = verdict else {
                Issue.record("\(count) bytes of \(bytes.count): \(verdict)")
                return
            }
            #expect(peek > count)
        }
        #expect(Self.describe(bytes.withUnsafeBytes { inspector.inspect($0) }) == "a.test h2")
        // What comes behind the hello does not matter.
        #expect(Self.inspect(bytes + [1, 2, 3]) == "a.test h2")
    }

    @Test("what is no hello is told from its first bytes")
    func others() {
        for (bytes, verdict) in [
            (Array("GET / HTTP/1.1\r\n".utf8), "not TLS"), ([0x16], "more"), ([0x16, 2], "not TLS"),
            ([21, 3, 1, 0, 2], "not TLS"),
            ([22, 3, 1, 0, 0], "malformed"), ([22, 3, 1, 0x40, 1], "malformed"), ([22, 3, 1, 0, 5, 2], "malformed"),
            ([], "more"), ([22, 3, 1, 0, 4, 1, 0, 0, 0], "malformed"),
            ([22, 3, 1, 0, 1, 1, 23, 3], "malformed"),
        ] as [([UInt8], String)] {
            #expect(Self.inspect(bytes) == verdict, "\(bytes)")
        }
    }

    @Test("a hello longer than allowed is told as soon as its length is known")
    func tooLarge() {
        var builder = HelloBuilder.named("a.test")
        builder.extensions.append((21, [UInt8](repeating: 0, count: 1000)))
        let bytes = builder.records()
        #expect(Self.inspect(bytes, .init(largestHello: bytes.count)) == "a.test ")
        #expect(Self.inspect(bytes, .init(largestHello: bytes.count - 1)) == "too large")
        #expect(Self.inspect(Array(bytes[..<9]), .init(largestHello: bytes.count - 1)) == "too large")
        #expect(Self.inspect(Array(bytes[..<8]), .init(largestHello: 8)) == "too large")
        let cut = builder.records(of: 100)
        #expect(Self.inspect(cut, .init(largestHello: cut.count)) == "a.test ")
        #expect(Self.inspect(cut, .init(largestHello: cut.count - 1)) == "too large")
    }

    @Test("the window to peek at begins as configured and doubles up to the largest hello")
    func windows() {
        var inspector = ClientHelloInspector(.init(initialPeek: 100, largestHello: 300))
        var builder = HelloBuilder.named("a.test")
        builder.extensions.append((21, [UInt8](repeating: 0, count: 150)))
        let bytes = builder.records()
        #expect(inspector.firstPeek == 100)
        var asked: [Int] = []
        for count in [0, 99, 100, 150, 199, 200, 210] {
            if case .needsMore(let peek) = bytes[..<count].withUnsafeBytes({ inspector.inspect($0) }) {
                asked.append(peek)
            }
        }
        #expect(asked == [100, 100, 200, 200, 200, 300, 300])
    }

    @Test("contents that break the protocol's rules make no hello")
    func malformed() {
        var cases: [HelloBuilder] = []
        func add(_ type: UInt16, _ data: [UInt8]) {
            var builder = HelloBuilder()
            builder.extensions = [(type, data)]
            cases.append(builder)
        }
        add(0, [])
        add(0, HelloBuilder.serverName([]))
        add(0, HelloBuilder.serverName(Array("a\0b".utf8)))
        add(0, HelloBuilder.serverName(.init(repeating: 97, count: 256)))
        add(0, HelloBuilder.serverName([97]) + [0])
        add(0, HelloBuilder.vector16([1] + HelloBuilder.vector16([97])))
        add(16, HelloBuilder.vector16([]))
        add(16, HelloBuilder.alpn([""]))
        add(16, HelloBuilder.vector16([3, 97]))
        add(43, [3, 3, 4, 3])
        var twice = HelloBuilder.named("a.test")
        twice.extensions.append((0, HelloBuilder.serverName([97])))
        cases.append(twice)
        var none = HelloBuilder()
        none.ciphers = []
        cases.append(none)
        for builder in cases { #expect(Self.inspect(builder.records()) == "malformed", "\(builder)") }
        #expect(Self.inspect(HelloBuilder.named(String(repeating: "a", count: 255)).records()).count == 256)
    }

    @Test("flipped bytes, cut lengths and noise never trap", arguments: [UInt64(1), 2, 3])
    func noise(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for size in [7, 16384] {
            let bytes = HelloBuilder.named("a.test", protocols: ["h2"]).records(of: size)
            for index in bytes.indices {
                for _ in 0..<8 {
                    var flipped = bytes
                    flipped[index] = .random(in: 0...255, using: &random)
                    var inspector = ClientHelloInspector(fingerprints: [.ja3, .ja4])
                    for count in stride(from: 0, through: flipped.count, by: 5) {
                        _ = flipped[..<count].withUnsafeBytes { inspector.inspect($0) }
                    }
                    _ = Self.inspect(flipped, .init(), [.ja3, .ja4])
                }
            }
        }
        for _ in 0..<2000 {
            let length = Int.random(in: 0..<200, using: &random)
            let body = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            _ = Self.inspect([22, 3, 1, 0, UInt8(length)] + body)
            let message = [22, 3, 1] + HelloBuilder.vector16([1, 0, 0, UInt8(length)] + body)
            _ = Self.inspect(message, .init(), [.ja3, .ja4])
        }
    }

    @Test("JA3 and JA4 of published examples")
    func fingerprints() throws {
        // FoxIO's example for JA4: Chrome.
        var chrome = HelloBuilder()
        chrome.ciphers = [
            0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
            0x009d,
            0x002f, 0x0035,
        ]
        let algorithms: [UInt16] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]
        chrome.extensions = [
            (0x1a1a, []), (0x001b, [0]), (0x0000, HelloBuilder.serverName([97])), (0x0033, [0]),
            (0x0010, HelloBuilder.alpn(["h2"])),
            (0x4469, [0]), (0x0017, []), (0x002d, [0]),
            (0x000d, HelloBuilder.vector16(algorithms.flatMap(HelloBuilder.two))),
            (0x0005, [0]), (0x0023, []), (0x0012, []), (0x002b, [4, 3, 4, 3, 3]), (0xff01, [0]), (0x000b, [1, 0]),
            (0x000a, [0, 2, 0, 29]), (0x0015, [0]),
        ]
        // FoxIO counts its own GREASE at the end too.
        let body = Array(chrome.message[4...])
        let hello = try #require(body.withUnsafeBytes { ClientHello($0, fingerprints: [.ja3, .ja4]) })
        #expect(hello.ja4 == "t13d1516h2_8daaf6152771_e5627efa2ab1")

        // Salesforce's example for JA3: 769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0
        var old = HelloBuilder()
        old.legacyVersion = 769
        old.ciphers = [47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4]
        old.extensions = [
            (0, HelloBuilder.serverName([97])), (10, HelloBuilder.vector16([0, 23, 0, 24, 0, 25])), (11, [1, 0]),
        ]
        let oldBody = Array(old.message[4...])
        let oldHello = try #require(oldBody.withUnsafeBytes { ClientHello($0, fingerprints: .ja3) })
        #expect(oldHello.ja3 == "ada70206e40642a3e4461f35503241d5")
        #expect(oldHello.ja4 == nil)
    }

    @Test("what openssl and curl send is understood", .enabled(if: CapturedPeer.isInstalled("openssl")))
    func peers() async throws {
        @Sendable func isHello(_ bytes: [UInt8]) -> Bool { !["more"].contains(Self.inspect(bytes)) }
        let openssl = try await CapturedPeer.firstBytes(
            of: { port in
                [
                    "openssl", "s_client", "-connect", "127.0.0.1:\(port)", "-servername", "Name.TEST", "-alpn",
                    "istio-peer-exchange,h2",
                ]
            }, until: isHello)
        #expect(Self.inspect(openssl) == "name.test istio-peer-exchange,h2")
        // 512 bytes are not enough for this one.
        let split = try await CapturedPeer.firstBytes(
            of: { port in
                [
                    "openssl", "s_client", "-connect", "127.0.0.1:\(port)", "-noservername", "-split_send_frag", "512",
                    "-tls1_2",
                ]
            }, until: isHello)
        #expect(Self.inspect(split) == " ")
        if CapturedPeer.isInstalled("curl") {
            let curl = try await CapturedPeer.firstBytes(
                of: { port in
                    ["curl", "-sk", "--http2", "--resolve", "c.test:\(port):127.0.0.1", "https://c.test:\(port)/"]
                }, until: isHello)
            #expect(Self.inspect(curl) == "c.test h2,http/1.1")
        }
    }
}
