import Bytes
import Glibc
import Testing

/// What `inet_pton` and `inet_ntop` make of a text: the oracle for our parser.
private func kernelBytes(_ text: String) -> [UInt8]? {
    var v4 = [UInt8](repeating: 0, count: 4)
    if inet_pton(AF_INET, text, &v4) == 1 { return v4 }
    var v6 = [UInt8](repeating: 0, count: 16)
    return inet_pton(AF_INET6, text, &v6) == 1 ? v6 : nil
}

@Suite struct IPAddressTests {
    @Test(
        "an address is accepted exactly when inet_pton accepts it",
        arguments: [
            "", "1.2.3.4", "01.2.3.4", "1.2.3", "1.2.3.4.", "1.2.3.4.5", ".1.2.3.4", "256.1.1.1", "255.255.255.255",
            "0.0.0.0", "1..2.3", " 1.2.3.4", "1.2.3.4 ", "::", "::1", "1::", ":::", ":", "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8::",
            "::1:2:3:4:5:6:7:8", "1::2::3", "fe80::1%eth0", "::ffff:1.2.3.4", "::1.2.3.4", "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5::1.2.3.4", "::1.2.3", "::1.2.3.4:5", "12345::", "g::", "ABCD::ef",
            "1:", ":1", "1:2", "::1:", "00001::", "0::0", "1:2:3:4:5:6::1.2.3.4",
        ])
    func acceptedAsKernel(text: String) {
        #expect(IPAddress(text)?.bytes == kernelBytes(text), "\(text)")
    }

    @Test("random and damaged addresses are read as inet_pton reads them, and written so that it reads them back")
    func property() throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SplitMix64(seed: seed)
        let alphabet = Array("0123456789abcdefABCDEF::::....%/ ".utf8)
        for _ in 0..<20_000 {
            let sparse: UInt64 = random.next() & random.next() & random.next()
            let address =
                Bool.random(using: &random)
                ? IPAddress(v4: UInt32(truncatingIfNeeded: random.next()))
                : IPAddress(v6: sparse & random.next(), sparse)
            let text = address.description
            #expect(IPAddress(text) == address, "seed \(seed): \(text)")
            #expect(kernelBytes(text) == address.bytes, "seed \(seed): \(text)")
            var damaged = Array(text.utf8)
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let at = Int.random(in: 0..<damaged.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: damaged[at] = alphabet.randomElement(using: &random) ?? 0
                case 1 where damaged.count > 1: damaged.remove(at: at)
                default: damaged.insert(alphabet.randomElement(using: &random) ?? 0, at: at)
                }
            }
            let broken = String(decoding: damaged, as: UTF8.self)
            #expect(IPAddress(broken)?.bytes == kernelBytes(broken), "seed \(seed): \(broken)")
        }
    }

    @Test(
        "IPv6 text follows RFC 5952",
        arguments: [
            ("2001:0db8:0:0:0:0:2:1", "2001:db8::2:1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("::ffff:c000:0280", "::ffff:192.0.2.128"), ("0:0:0:0:0:0:0:0", "::"), ("1:0:0:0:0:0:0:0", "1::"),
            ("FE80::A", "fe80::a"),
        ])
    func rfc5952(text: String, written: String) throws {
        #expect(try #require(IPAddress(text)).description == written)
    }

    @Test("adding carries through both halves and wraps at the family's end")
    func adding() throws {
        #expect(IPAddress(v4: 10, 0, 0, 255).adding(1).description == "10.0.1.0")
        #expect(IPAddress(v4: .max).adding(1) == .anyV4)
        #expect(IPAddress(v6: 1, .max).adding(2) == IPAddress(v6: 2, 1))
        #expect(IPAddress(v6: 1, 3).distance(from: IPAddress(v6: 0, 4)) == .max)
        #expect(IPAddress(v6: 1, 3).distance(from: IPAddress(v6: 1, 1)) == 2)
    }

    @Test("order is IPv4 first, then the number")
    func order() {
        let sorted = [IPAddress.loopbackV6, .loopbackV4, .anyV6, .anyV4].sorted()
        #expect(sorted == [.anyV4, .loopbackV4, .anyV6, .loopbackV6])
    }

    @Test("ends of sockets are read and written with brackets for IPv6")
    func endpoints() {
        #expect(SocketAddress("10.0.0.1:80") == .ip(IPAddress(v4: 10, 0, 0, 1), 80))
        #expect(SocketAddress("[::1]:53")?.description == "[::1]:53")
        #expect(SocketAddress("::1:53") == nil)
        #expect(SocketAddress("10.0.0.1:65536") == nil)
        #expect(SocketAddress("unix:@weft") == .abstract(name: "weft"))
        #expect(SocketAddress("/run/a.sock")?.description == "unix:/run/a.sock")
    }

    @Test("hardware addresses are six pairs, and random ones are local unicast")
    func hardware() throws {
        #expect(try #require(MACAddress("02:00:5e:10:00:FF")).description == "02:00:5e:10:00:ff")
        #expect(MACAddress("02:00:5e:10:00") == nil)
        #expect(MACAddress("02-00-5e-10-00-ff") == nil)
        var random = SplitMix64(seed: 1)
        for _ in 0..<100 {
            let address = MACAddress.random(using: &random)
            #expect(!address.isMulticast && address.bytes[0] & 2 == 2)
        }
    }
}

@Suite struct CIDRTests {
    @Test(
        "a prefix is read strictly",
        arguments: [
            ("10.0.0.5/24", "10.0.0.0", "10.0.0.255", UInt64(256)), ("10.0.0.5/32", "10.0.0.5", "10.0.0.5", 1),
            ("10.0.0.5/0", "0.0.0.0", "255.255.255.255", 1 << 32),
            ("10.96.0.0/12", "10.96.0.0", "10.111.255.255", 1 << 20),
            ("fd00::1/64", "fd00::", "fd00::ffff:ffff:ffff:ffff", .max), ("fd00::1/112", "fd00::", "fd00::ffff", 65536),
            ("fd00::1/8", "fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", .max), ("::/128", "::", "::", 1),
        ])
    func bounds(text: String, first: String, last: String, count: UInt64) throws {
        let cidr = try #require(CIDR(text))
        #expect(cidr.description == text)
        #expect(cidr.first.description == first)
        #expect(cidr.last.description == last)
        #expect(cidr.count == count)
        #expect(cidr.contains(cidr.first) && cidr.contains(cidr.last) && cidr.contains(cidr.network))
        if cidr.prefixLength > 0 { #expect(!cidr.contains(cidr.last.adding(1))) }
    }

    @Test(
        "what is no prefix is refused",
        arguments: [
            "10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/024", "::/129", "10.0.0.0/+8", "/8", "10.0.0.0/8 ",
        ])
    func refused(text: String) {
        #expect(CIDR(text) == nil)
    }

    @Test("subnets divide a prefix and end where it ends")
    func subnets() throws {
        let pods = try #require(CIDR("10.244.0.0/16"))
        #expect(pods.subnet(3, prefixLength: 24)?.description == "10.244.3.0/24")
        #expect(pods.subnet(256, prefixLength: 24) == nil)
        let wide = try #require(CIDR("fd00:1::/48"))
        #expect(wide.subnet(0x1FFFF, prefixLength: 65)?.description == "fd00:1:0:ffff:8000::/65")
        #expect(pods.netmask?.description == "255.255.0.0")
    }
}

@Suite struct TimestampTests {
    @Test("a time is written as strftime writes it and read back")
    func asStrftime() throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SplitMix64(seed: seed)
        for _ in 0..<20_000 {
            let seconds = Int64.random(in: -62_167_219_200...253_402_300_799, using: &random)
            let stamp = Timestamp(seconds: seconds, nanoseconds: Int32.random(in: 0..<1_000_000_000, using: &random))
            var time = time_t(seconds)
            var broken = tm()
            gmtime_r(&time, &broken)
            var room = [CChar](repeating: 0, count: 64)
            let year = String(broken.tm_year + 1900)
            strftime(&room, 64, "-%m-%dT%H:%M:%SZ", &broken)
            let end = room.firstIndex(of: 0) ?? 0
            let oracle =
                String(repeating: "0", count: 4 - year.count) + year
                + String(decoding: room[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            #expect(stamp.rfc3339 == oracle, "seed \(seed)")
            #expect(Timestamp(rfc3339: stamp.rfc3339Nano) == stamp, "seed \(seed)")
            #expect(CalendarTime(seconds: seconds).weekday == Int(broken.tm_wday), "seed \(seed)")
        }
    }

    @Test(
        "RFC 3339 with offsets and fractions",
        arguments: [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000000Z"),
            ("2026-01-02T03:04:05.5+01:30", "2026-01-02T01:34:05.500000000Z"),
            ("2024-02-29T23:59:59.1234567891-00:01", "2024-03-01T00:00:59.123456789Z"),
        ])
    func offsets(text: String, same: String) throws {
        #expect(try #require(Timestamp(rfc3339: text)).rfc3339Nano == same)
    }

    @Test(
        "what is no RFC 3339 time is refused",
        arguments: [
            "", "2026-01-02", "2026-13-02T03:04:05Z", "2025-02-29T03:04:05Z", "2026-01-02T24:00:00Z",
            "2026-01-02T03:04:05", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05+1:00", "2026-01-02T03:04:05Zx",
        ])
    func refused(text: String) {
        #expect(Timestamp(rfc3339: text) == nil)
    }

    @Test("durations are added across whole seconds in both directions")
    func arithmetic() {
        let stamp = Timestamp(seconds: 10, nanoseconds: 500_000_000)
        #expect(stamp.adding(.milliseconds(600)) == Timestamp(seconds: 11, nanoseconds: 100_000_000))
        #expect(stamp.adding(.milliseconds(-600)) == Timestamp(seconds: 9, nanoseconds: 900_000_000))
        #expect(stamp.adding(.milliseconds(-600)).duration(since: stamp) == .milliseconds(-600))
    }
}

@Suite struct ByteTests {
    @Test("a cursor answers nil and stays when too little is left, for every prefix")
    func cursor() {
        let bytes: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
        for length in 0...bytes.count {
            bytes[..<length].withUnsafeBytes { buffer in
                var cursor = ByteCursor(buffer)
                #expect(cursor.readUInt8() == (length >= 1 ? 1 : nil))
                #expect(length < 1 || cursor.readUInt16() == (length >= 3 ? 0x0203 : nil))
                #expect(length < 3 || cursor.readUInt32() == (length >= 7 ? 0x0405_0607 : nil))
                #expect(length < 7 || cursor.readUInt64LE() == (length >= 15 ? 0x0F0E_0D0C_0B0A_0908 : nil))
                let before = cursor.position
                #expect(cursor.readBytes(16) == nil && !cursor.skip(-1) && cursor.position == before)
            }
        }
    }

    @Test("what a writer wrote a cursor reads, with patches in place")
    func writer() {
        var writer = ByteWriter(reserving: 32)
        writer.append(UInt16(0))
        writer.append(UInt32(0xDEAD_BEEF))
        writer.append(utf8: "weft")
        writer.pad(to: 8)
        writer.patch(UInt16(writer.count), at: 0)
        #expect(writer.bytes == [0, 16, 0xDE, 0xAD, 0xBE, 0xEF] + Array("weft".utf8) + [0, 0, 0, 0, 0, 0])
    }

    @Test(
        "base64 follows RFC 4648",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy"),
        ])
    func base64(plain: String, coded: String) {
        #expect(Base64.encode(Array(plain.utf8)) == coded)
        #expect(Base64.decode(coded) == Array(plain.utf8))
        #expect(Base64.decodeURLSafe(Base64.encodeURLSafe(Array(plain.utf8))) == Array(plain.utf8))
    }

    @Test("damaged base64 is refused", arguments: ["Zg=", "Zg", "Z===", "Zh==", "Zm9 v", "Zm9v\n", "=Zg=", "Zm-_"])
    func badBase64(text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test("base64 and hexadecimal return any bytes unchanged")
    func roundTrip() {
        var random = SplitMix64(seed: 7)
        for length in 0..<200 {
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            #expect(Base64.decode(Base64.encode(bytes)) == bytes)
            #expect(Base64.decodeURLSafe(Base64.encodeURLSafe(bytes)) == bytes)
            #expect(Hex.decode(Hex.encode(bytes)) == bytes)
        }
        #expect(Hex.decode("abc") == nil && Hex.decode("0g") == nil)
    }

    @Test("decimal digits are those of String, and reading refuses what does not fit")
    func decimal() {
        for value in [0, 1, 9, 10, 99, 12345, Int.max, -1, Int.min] {
            var out: [UInt8] = []
            out.appendDecimal(value)
            #expect(String(decoding: out, as: UTF8.self) == String(value))
        }
        #expect(UInt8(decimal: "255".utf8) == 255)
        #expect(UInt8(decimal: "256".utf8) == nil)
        #expect(UInt64(decimal: "18446744073709551616".utf8) == nil)
        #expect(UInt64(decimal: "".utf8) == nil && UInt64(decimal: "+1".utf8) == nil)
    }

    @Test("FNV-1a gives the published values")
    func fnv() {
        #expect(FNV1a.hash64("foobar".utf8) == 0x8594_4171_F739_67E8)
        #expect(FNV1a.hash32("foobar".utf8) == 0xBF9C_F968)
    }
}
