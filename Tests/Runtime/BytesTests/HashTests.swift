import Testing

@testable import Bytes

@Suite("Hashes that others use too")
struct HashTests {
    /// From the xxhash package of PyPI (the reference implementation in C).
    @Test(
        "XXH64 is the reference's",
        arguments: [
            ("", 0, 0xEF46_DB37_51D8_E999), ("", 1, 0xD5AF_BA13_36A3_BE4B), ("a", 0, 0xD24E_C4F1_A98C_6E5B),
            ("abc", 0, 0x44BC_2CF5_AD77_0999), ("foo", 0, 0x33BF_00A8_59C4_BA3F), ("foo", 1, 0xC348_23C5_BF4F_2CBD),
            ("10.0.0.1:80_0", 0, 0x7504_1381_E737_1A08), ("10.0.0.1:80", 1, 0xA456_919B_CBFF_AA92),
            (
                "The quick brown fox jumps over the lazy dog, twice over the fence", 0, 0x33AE_21C7_DAC4_5177
            ),
        ] as [(String, UInt64, UInt64)])
    func xxHash(text: String, seed: UInt64, expected: UInt64) {
        #expect(XXHash64.hash(text, seed: seed) == expected)
    }

    @Test("XXH64 over all ways that a length can end")
    func xxHashLengths() {
        let bytes = (0..<101).map(UInt8.init)
        #expect(bytes.withUnsafeBytes { XXHash64.hash($0, seed: 2_654_435_761) } == 0xA1C6_D417_4C37_136D)
        var seen: Set<UInt64> = []
        for length in 0...bytes.count {
            seen.insert(bytes[..<length].withUnsafeBytes { XXHash64.hash($0) })
        }
        #expect(seen.count == bytes.count + 1)
    }

    /// What `std::_Hash_bytes(…, 0xc70f6907)` of GNU's C++ library gives.
    @Test(
        "MurmurHash64A is GNU's std::hash",
        arguments: [
            ("", 0x553E_9390_1E46_2A6E), ("a", 0x454D_DEE4_88C1_ED6B), ("ab", 0x4C4D_A6CD_289C_737B),
            ("abcdefg", 0xDEEE_6830_A3AF_82AF), ("abcdefgh", 0x783D_B3E3_8DB8_98BB),
            ("10.0.0.1:80_0", 0xBD8F_6461_ECFF_B28C), ("hello, world of hashing", 0xE0FE_676A_BA44_22AA),
        ] as [(String, UInt64)])
    func murmur(text: String, expected: UInt64) {
        #expect(MurmurHash64A.hash(text) == expected)
    }
}
