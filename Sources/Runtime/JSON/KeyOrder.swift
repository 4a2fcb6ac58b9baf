import Glibc

/// Order and equality of text by its UTF-8 bytes. Swift's own operators take differently composed text for equal, under
/// which two keys of an object could be one.
public enum KeyOrder {
    /// Negative, zero or positive as `memcmp`; of two texts that begin alike the shorter comes first.
    public static func compare(_ a: String, _ b: String) -> Int {
        let order = a.utf8.withContiguousStorageIfAvailable { x in
            b.utf8.withContiguousStorageIfAvailable { y in compare(x, y) }
        }
        if case .some(.some(let order)) = order { return order }
        // Only strings that came from another runtime are not contiguous.
        return a.utf8.elementsEqual(b.utf8) ? 0 : a.utf8.lexicographicallyPrecedes(b.utf8) ? -1 : 1
    }

    private static func compare(_ x: UnsafeBufferPointer<UInt8>, _ y: UnsafeBufferPointer<UInt8>) -> Int {
        let shared = min(x.count, y.count)
        if shared > 0, let xBase = x.baseAddress, let yBase = y.baseAddress {
            let order = memcmp(xBase, yBase, shared)
            if order != 0 { return Int(order) }
        }
        return x.count - y.count
    }

    /// The first eight bytes as one number: where two of them differ, the texts differ in the same direction.
    static func prefix(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
        guard let base = bytes.baseAddress else { return 0 }
        if bytes.count >= 8 { return UInt64(bigEndian: UnsafeRawPointer(base).loadUnaligned(as: UInt64.self)) }
        var word: UInt64 = 0
        for byte in bytes { word = word << 8 | UInt64(byte) }
        return bytes.isEmpty ? 0 : word << UInt64(8 * (8 - bytes.count))
    }
}

extension String {
    /// Equal bytes.
    func hasSameBytes(as other: String) -> Bool {
        // Equal bytes are always canonically equivalent, and that is mostly decided from two machine words.
        guard self == other, utf8.count == other.utf8.count else { return false }
        // What is short and equal in Swift's sense and of equal length may still differ in bytes.
        return KeyOrder.compare(self, other) == 0
    }
}
