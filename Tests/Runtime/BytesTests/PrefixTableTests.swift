import Bytes
import Testing

@Suite struct PrefixTableTests {
    @Test("the longest prefix around an address answers, in its own family")
    func longest() throws {
        let table = PrefixTable(
            [
                "0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "::/0",
                "fd00::/8", "fd00::1/128",
            ]
            .map { (CIDR($0)!, $0) })
        #expect(table.count == 8)
        for (address, expected) in [
            ("10.1.2.3", "10.1.2.3/32"), ("10.1.2.4", "10.1.2.0/24"), ("10.1.3.0", "10.1.0.0/16"),
            ("10.2.0.0", "10.1.2.3/8"), ("11.0.0.0", "0.0.0.0/0"), ("9.255.255.255", "0.0.0.0/0"),
            ("fd00::1", "fd00::1/128"),
            ("fd00::2", "fd00::/8"), ("::", "::/0"), ("ffff::", "::/0"), ("255.255.255.255", "0.0.0.0/0"),
        ] {
            #expect(table.longestMatch(try #require(IPAddress(address))) == expected, "\(address)")
        }
        let v4 = PrefixTable(prefixes: [CIDR("10.0.0.0/8")!])
        #expect(!v4.contains(IPAddress("::ffff:10.0.0.1")!))
        #expect(!PrefixTable<Bool>([]).contains(.loopbackV4))
    }

    @Test("agrees with asking every prefix", arguments: [UInt64(1), 2, 3, 4])
    func property(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<200 {
            // Few bits vary, so that prefixes nest and addresses hit.
            func address() -> IPAddress {
                let bits = UInt64.random(in: 0..<64, using: &random)
                return Bool.random(using: &random)
                    ? IPAddress(v4: UInt32(bits & 7 | (bits >> 3) << 29)) : IPAddress(v6: (bits >> 3) << 61, bits & 7)
            }
            let prefixes = (0..<Int.random(in: 0...20, using: &random)).compactMap { _ in
                let base = address()
                return CIDR(base, prefixLength: .random(in: 0...base.bitWidth, using: &random))?.network
            }
            let table = PrefixTable(prefixes.map { ($0, $0) })
            for _ in 0..<50 {
                let asked = address()
                let expected = prefixes.filter { $0.contains(asked) }.max { $0.prefixLength < $1.prefixLength }
                #expect(table.longestMatch(asked) == expected, "seed \(seed): \(asked) in \(prefixes)")
            }
        }
    }
}
