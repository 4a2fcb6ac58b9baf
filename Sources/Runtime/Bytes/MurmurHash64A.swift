/// MurmurHash2 in its 64-bit form (MurmurHash64A), which is `std::hash` of GNU's C++ library. For what must agree with
/// others that use it; elsewhere prefer `XXHash64`.
public enum MurmurHash64A {
    /// The seed of GNU's `std::hash`.
    public static let standardSeed: UInt64 = 0xC70F_6907

    /// Any length, also zero; no allocation.
    public static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = standardSeed) -> UInt64 {
        let factor: UInt64 = 0xC6A4_A793_5BD1_E995
        var hash = seed ^ UInt64(bytes.count) &* factor
        var at = 0
        while at + 8 <= bytes.count {
            var word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)) &* factor
            word = (word ^ word >> 47) &* factor
            hash = (hash ^ word) &* factor
            at += 8
        }
        if at < bytes.count {
            var tail: UInt64 = 0
            for i in at..<bytes.count { tail |= UInt64(bytes[i]) << UInt64(8 * (i - at)) }
            hash = (hash ^ tail) &* factor
        }
        hash = (hash ^ hash >> 47) &* factor
        return hash ^ hash >> 47
    }

    public static func hash(_ text: String, seed: UInt64 = standardSeed) -> UInt64 {
        var text = text
        return text.withUTF8 { hash(UnsafeRawBufferPointer($0), seed: seed) }
    }
}
