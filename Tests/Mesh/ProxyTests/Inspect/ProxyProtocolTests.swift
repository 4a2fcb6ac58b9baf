import Bytes
import Glibc
import Reactor
import Testing

@testable import Proxy

@Suite("PROXY protocol")
struct ProxyProtocolTests {
    private typealias Header = ProxyProtocolHeader

    private static func decode(
        _ bytes: [UInt8], _ decoder: ProxyProtocolDecoder = ProxyProtocolDecoder()
    ) -> ProxyProtocolDecoder.Verdict {
        bytes.withUnsafeBytes { decoder.decode($0) }
    }

    private static func reason(_ bytes: [UInt8]) -> String? {
        if case .refused(let refusal) = decode(bytes) { refusal.description } else { nil }
    }

    private static let v2: [UInt8] = Header.signature
    private static let client = SocketAddress.ip(IPAddress("192.0.2.1")!, 56324)
    private static let server = SocketAddress.ip(IPAddress("198.51.100.9")!, 443)
    private static let client6 = SocketAddress.ip(IPAddress("2001:db8::1")!, 1)
    private static let server6 = SocketAddress.ip(IPAddress("2001:db8::2")!, 65535)

    @Test("version 1's lines")
    func version1() {
        let line = "PROXY TCP4 192.0.2.1 198.51.100.9 56324 443\r\n"
        #expect(
            Self.decode(Array((line + "GET").utf8))
                == .found(Header(.v1, source: Self.client, destination: Self.server), length: line.utf8.count))
        let line6 = "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"
        #expect(
            Self.decode(Array(line6.utf8))
                == .found(Header(.v1, source: Self.client6, destination: Self.server6), length: line6.utf8.count))
        let unknown = "PROXY UNKNOWN ffff::1 whatever\r\n"
        #expect(
            Self.decode(Array(unknown.utf8))
                == .found(Header(.v1, source: nil, destination: nil), length: unknown.utf8.count))
        #expect(Header(.v1, source: nil, destination: nil).command == .local)
    }

    @Test(
        "version 1's mistakes are named",
        arguments: [
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "LF without CR"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "4 words instead of 5"),
            ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", "6 words instead of 5"),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", "an address is not one of its protocol's"),
            ("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "an address is not one of its protocol's"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "a port is not a number up to 65535"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "a port is not a number up to 65535"),
            ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "the protocol is not TCP4, TCP6 or UNKNOWN"),
            ("PROXY \r\n", "the protocol is not TCP4, TCP6 or UNKNOWN"),
            ("PROXY TCP4 " + String(repeating: "1", count: 100), "no line end within 107 bytes"),
        ])
    func mistakes1(_ line: String, _ reason: String) {
        #expect(Self.reason(Array(line.utf8)) == "PROXY header, version 1: \(reason)")
    }

    @Test("what is neither version is refused, or left alone where that is allowed")
    func absence() {
        for text in ["GET / HTTP/1.1\r\n", "PROXYING\r\n", "\r\n\r\nx", "X"] {
            #expect(
                Self.reason(Array(text.utf8)) == "PROXY header: the connection begins with neither version's signature")
            #expect(Self.decode(Array(text.utf8), ProxyProtocolDecoder(allowsAbsence: true)) == .absent)
        }
        for text in ["", "P", "PROXY", "\r", "\r\n\r\n"] {
            #expect(Self.decode(Array(text.utf8), ProxyProtocolDecoder(allowsAbsence: true)) == .needsMore)
        }
    }

    @Test("a version that is not allowed is refused as such")
    func disallowed() {
        let decoder = ProxyProtocolDecoder(disallowed: [.v1, .v2])
        for bytes in [Array("PROXY UNKNOWN\r\n".utf8), Self.v2 + [0x20, 0, 0, 0]] {
            guard case .refused(let refusal) = Self.decode(bytes, decoder) else {
                Issue.record("not refused")
                continue
            }
            #expect(refusal.isDisallowedVersion)
        }
        let only2 = ProxyProtocolDecoder(disallowed: [.v1])
        #expect(
            Self.decode(Self.v2 + [0x20, 0, 0, 0], only2)
                == .found(Header(.v2, source: nil, destination: nil), length: 16))
    }

    @Test("version 2's mistakes are named")
    func mistakes2() {
        let cases: [([UInt8], String)] = [
            ([0x11, 0x11, 0, 12], "its version field says 1"), ([0x22, 0x11, 0, 12], "unknown command 2"),
            ([0x21, 0x41, 0, 12], "unknown address family 4 or transport 1"),
            ([0x21, 0x13, 0, 12], "unknown address family 1 or transport 3"),
            ([0x21, 0x12, 0, 12], "not a stream"), ([0x21, 0x11, 0, 11], "11 bytes are too few for its addresses"),
            ([0x21, 0x21, 0, 35], "35 bytes are too few for its addresses"),
            ([0x21, 0x31, 0, 215], "215 bytes are too few for its addresses"),
        ]
        for (bytes, reason) in cases {
            #expect(Self.reason(Self.v2 + bytes) == "PROXY header, version 2: \(reason)")
        }
        let addresses = [UInt8](repeating: 1, count: 12)
        #expect(
            Self.reason(Self.v2 + [0x21, 0x11, 0, 15] + addresses + [5, 0, 1])
                == "PROXY header, version 2: a type-length-value reaches over the header's end")
        #expect(
            Self.reason(Self.v2 + [0x21, 0x11, 0, 19] + addresses + [3, 0, 4, 1, 2, 3, 4])
                == "PROXY header, version 2: its checksum is wrong")
    }

    @Test("what is encoded is decoded again, in both versions and all families, with and without a checksum")
    func roundTrip() throws {
        let values = [Header.TypeLengthValue(type: 0xea, value: [1, 2]), .init(type: 2, value: Array("a.test".utf8))]
        let pairs: [(SocketAddress?, SocketAddress?)] = [
            (Self.client, Self.server), (Self.client6, Self.server6), (nil, nil),
            (.unix(path: "/run/a.sock"), .abstract(name: "b")), (.unix(path: ""), .unix(path: "/run/b.sock")),
        ]
        for (source, destination) in pairs {
            for withChecksum in [false, true] {
                var header = Header(.v2, source: source, destination: destination, values: values)
                let bytes = try #require(header.encoded(withChecksum: withChecksum))
                if header.command == .local { header.values = [] }
                #expect(Self.decode(bytes + [0]) == .found(header, length: bytes.count))
                for count in bytes.indices where count < bytes.count {
                    #expect(Self.decode(Array(bytes[..<count])) == .needsMore)
                }
                guard withChecksum, header.command == .proxy else { continue }
                for index in 16..<bytes.count {
                    var flipped = bytes
                    flipped[index] ^= 1
                    #expect(Self.decode(flipped) != .found(header, length: bytes.count))
                }
            }
        }
        for (source, destination) in pairs.prefix(3) {
            let header = Header(.v1, source: source, destination: destination)
            let bytes = try #require(header.encoded())
            #expect(Self.decode(bytes) == .found(header, length: bytes.count))
            for count in bytes.indices { #expect(Self.decode(Array(bytes[..<count])) == .needsMore) }
        }
    }

    @Test("addresses of two families meet as mapped ones; too many values are refused")
    func encoding() throws {
        let mixed = Header(.v1, source: Self.client, destination: Self.server6)
        #expect(
            String(decoding: try #require(mixed.encoded()), as: UTF8.self)
                == "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 56324 65535\r\n")
        let big = Header(
            .v2, source: Self.client, destination: Self.server,
            values: [.init(type: 1, value: .init(repeating: 0, count: 0xffff))])
        #expect(big.encoded() == nil)
        let unix = Header(.v1, source: .unix(path: "/a"), destination: .unix(path: "/b"))
        #expect(unix.encoded() == Array("PROXY UNKNOWN\r\n".utf8))
    }

    @Test("the checksum is CRC-32C (RFC 3720 appendix B.4)")
    func checksum() {
        var sum = CRC32C()
        sum.combine([UInt8](repeating: 0, count: 32))
        #expect(sum.value == 0x8A91_36AA)
        var other = CRC32C()
        other.combine(Array("123456789".utf8))
        #expect(other.value == 0xE306_9283)
    }

    @Test("noise behind either signature never traps", arguments: [UInt64(1), 2, 3])
    func noise(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<20_000 {
            var bytes = Bool.random(using: &random) ? Self.v2 + [0x21, 0x11] : Array("PROXY TCP4 1.2.3.4 ".utf8)
            bytes += (0..<Int.random(in: 0..<60, using: &random)).map { _ in UInt8.random(in: 0...40, using: &random) }
            if let index = bytes.indices.randomElement(using: &random) {
                bytes[index] = .random(in: 0...255, using: &random)
            }
            _ = Self.decode(bytes)
        }
    }

    @Test(
        "haproxy's headers are understood, also with what it adds", .enabled(if: CapturedPeer.isInstalled("haproxy")),
        arguments: [
            ("send-proxy", Header.Version.v1), ("send-proxy-v2", .v2),
            ("send-proxy-v2-ssl-cn proxy-v2-options crc32c,unique-id,authority", .v2),
        ])
    func haproxy(_ options: String, _ version: ProxyProtocolHeader.Version) async throws {
        let bytes = try await Haproxy.headerSent(with: options) { bytes in
            if case .needsMore = Self.decode(bytes) { false } else { true }
        }
        guard case .found(let header, _) = Self.decode(bytes) else {
            Issue.record("\(Self.decode(bytes)) from \(bytes)")
            return
        }
        #expect(header.version == version)
        #expect(header.command == .proxy)
        #expect(header.source?.address == .loopbackV4)
        #expect(header.destination?.address == .loopbackV4)
        #expect(header.source?.port != header.destination?.port)
        // The TLVs of the third one: unique id, and what haproxy knows of a connection without TLS.
        if options.contains("unique-id") { #expect(header.values.contains { $0.type == 5 }) }
    }
}

/// A haproxy that hands one connection on, with a header before it.
private enum Haproxy {
    static func headerSent(
        with options: String, until isEnough: @escaping @Sendable ([UInt8]) -> Bool
    ) async throws -> [UInt8] {
        let settings = "/tmp/weft-haproxy-\(getpid())-\(UInt32.random(in: 0 ... .max)).cfg"
        defer { unlink(settings) }
        // The client's connection waits in the backlog until haproxy takes the listening socket over.
        let front = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        let client = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        defer {
            close(front)
            close(client)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isConnected = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(front, pointer, length) == 0 && listen(front, 1) == 0 && getsockname(front, pointer, &length) == 0
                    && connect(client, pointer, length) == 0
            }
        }
        try #require(isConnected)
        send(client, "x", 1, 0)
        return try await CapturedPeer.firstBytes(
            of: { port in
                let text = """
                    defaults
                      mode tcp
                      timeout connect 30s
                      timeout client 30s
                      timeout server 30s
                    frontend front
                      bind fd@3
                      unique-id-format id-%pid
                      default_backend back
                    backend back
                      server s 127.0.0.1:\(port) \(options)

                    """
                try? Files.writeAtomically(settings, text)
                return ["haproxy", "-db", "-f", settings]
            }, inheriting: [3: front], until: isEnough)
    }
}
