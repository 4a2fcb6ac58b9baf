/// An Ethernet hardware address.
public struct MACAddress: Hashable, Sendable {
    /// The six bytes as a number; the first byte on the wire is the highest.
    public let value: UInt64

    /// From the low 48 bits of `value`.
    public init(_ value: UInt64) { self.value = value & 0xFFFF_FFFF_FFFF }

    /// From exactly six bytes.
    public init?(bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 6 else { return nil }
        self.init(bytes.reduce(0) { $0 << 8 | UInt64($1) })
    }

    public var bytes: [UInt8] { (0..<6).map { UInt8(truncatingIfNeeded: value >> UInt64(40 - 8 * $0)) } }

    public var isMulticast: Bool { value >> 40 & 1 == 1 }

    /// A random unicast address with the "locally administered" bit set, as container runtimes use.
    public static func random(using source: inout some RandomNumberGenerator) -> MACAddress {
        let bits: UInt64 = source.next() & 0xFFFF_FFFF_FFFF
        return MACAddress(bits & ~(1 << 40) | 1 << 41)
    }
}

extension MACAddress: LosslessStringConvertible {
    /// Six pairs of hexadecimal digits separated by colons.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == 17 else { return nil }
        var value: UInt64 = 0
        for index in 0..<6 {
            guard let high = Hex.value(bytes[index * 3]), let low = Hex.value(bytes[index * 3 + 1]),
                index == 5 || bytes[index * 3 + 2] == UInt8(ascii: ":")
            else { return nil }
            value = value << 8 | UInt64(high << 4 | low)
        }
        self.init(value)
    }

    public var description: String {
        var text: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            if index > 0 { text.append(UInt8(ascii: ":")) }
            text.append(Hex.digit(byte >> 4))
            text.append(Hex.digit(byte & 15))
        }
        return String(decoding: text, as: UTF8.self)
    }
}
