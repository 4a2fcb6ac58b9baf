/// An IPv4 or IPv6 address: a plain value of sixteen bytes and a family, never text.
///
/// No zone: a link-local scope belongs to a socket address (`IPEndpoint.scope`).
public struct IPAddress: Hashable, Sendable {
    public enum Family: UInt8, Sendable, Hashable { case v4 = 4, v6 = 6 }

    // The family comes last: what stands behind an address in a struct then fills the room up to 24 bytes.
    /// The first eight bytes of an IPv6 address as a big-endian number; 0 for IPv4.
    public let high: UInt64
    /// The last eight bytes of an IPv6 address, or the IPv4 address, as a number.
    public let low: UInt64
    public let family: Family

    @inlinable
    init(family: Family, high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
        self.family = family
    }

    /// From a number in host order: `0x7F000001` is 127.0.0.1.
    @inlinable
    public init(v4: UInt32) { self.init(family: .v4, high: 0, low: UInt64(v4)) }

    @inlinable
    public init(v4 a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
        self.init(v4: UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d))
    }

    @inlinable
    public init(v6 high: UInt64, _ low: UInt64) { self.init(family: .v6, high: high, low: low) }

    /// From 4 or 16 bytes in network order; nil for any other count.
    @inlinable
    public init?(bytes: UnsafeRawBufferPointer) {
        switch bytes.count {
        case 4: self.init(v4: UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        case 16:
            self.init(
                v6: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        default: return nil
        }
    }

    /// The 4 or 16 bytes in network order, valid within the closure.
    @inlinable
    public func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        if family == .v4 {
            return try withUnsafeBytes(of: UInt32(truncatingIfNeeded: low).bigEndian, body)
        }
        return try withUnsafeBytes(of: (high.bigEndian, low.bigEndian), body)
    }

    /// The 4 or 16 bytes in network order.
    public var bytes: [UInt8] { withBytes { Array($0) } }

    /// The IPv4 address as a number in host order; nil for IPv6, also for a mapped address.
    @inlinable
    public var v4: UInt32? { family == .v4 ? UInt32(truncatingIfNeeded: low) : nil }

    /// 32 or 128.
    @inlinable
    public var bitWidth: UInt8 { family == .v4 ? 32 : 128 }

    @inlinable public var isLoopback: Bool { family == .v4 ? low >> 24 == 127 : high == 0 && low == 1 }
    @inlinable public var isUnspecified: Bool { high == 0 && low == 0 }
    /// 224.0.0.0/4 or ff00::/8.
    @inlinable public var isMulticast: Bool { family == .v4 ? low >> 28 == 0xE : high >> 56 == 0xFF }
    /// 169.254.0.0/16 or fe80::/10.
    @inlinable public var isLinkLocal: Bool { family == .v4 ? low >> 16 == 0xA9FE : high >> 54 == 0x3FA }

    /// The IPv4 address inside `::ffff:a.b.c.d`, or the address itself: what a dual-stack socket's peer really is.
    @inlinable
    public var unmapped: IPAddress {
        family == .v6 && high == 0 && low >> 32 == 0xFFFF ? IPAddress(v4: UInt32(truncatingIfNeeded: low)) : self
    }

    public static let anyV4 = IPAddress(v4: 0)
    public static let anyV6 = IPAddress(v6: 0, 0)
    public static let loopbackV4 = IPAddress(v4: 0x7F00_0001)
    public static let loopbackV6 = IPAddress(v6: 0, 1)

    /// The address `n` further on, wrapping at the family's end.
    @inlinable
    public func adding(_ n: UInt64) -> IPAddress {
        if family == .v4 { return IPAddress(v4: UInt32(truncatingIfNeeded: low &+ n)) }
        let (sum, carry) = low.addingReportingOverflow(n)
        return IPAddress(v6: carry ? high &+ 1 : high, sum)
    }

    /// How far `self` is behind `other` (0 when before it or of another family), saturating at `UInt64.max`.
    public func distance(from other: IPAddress) -> UInt64 {
        guard family == other.family, self >= other else { return 0 }
        let (low, borrow) = low.subtractingReportingOverflow(other.low)
        return high &- other.high &- (borrow ? 1 : 0) == 0 ? low : .max
    }
}

extension IPAddress: Comparable {
    /// IPv4 before IPv6, then by number.
    @inlinable
    public static func < (a: Self, b: Self) -> Bool {
        if a.family != b.family { return a.family == .v4 }
        return a.high == b.high ? a.low < b.low : a.high < b.high
    }
}

extension IPAddress: LosslessStringConvertible {
    /// Strict, as `inet_pton`: four decimal octets without leading zeros, or RFC 4291 text; no zone, no blanks.
    public init?(_ text: String) {
        var text = text
        guard let address = text.withUTF8({ IPAddress(utf8: UnsafeRawBufferPointer($0)) }) else { return nil }
        self = address
    }

    public init?(_ text: some StringProtocol) { self.init(String(text)) }

    /// As `init(_: String)`, from bytes: what parsers of wire formats use.
    public init?(utf8 text: UnsafeRawBufferPointer) {
        if text.contains(UInt8(ascii: ":")) {
            self.init(v6Text: text)
        } else {
            guard let number = Self.parseV4(text) else { return nil }
            self.init(v4: number)
        }
    }

    private static func parseV4(_ text: some Sequence<UInt8>) -> UInt32? {
        var result: UInt32 = 0
        var octet: UInt32 = 0
        var digits = 0
        var dots = 0
        for byte in text {
            if byte == UInt8(ascii: ".") {
                guard digits > 0, dots < 3 else { return nil }
                result = result << 8 | octet
                (octet, digits, dots) = (0, 0, dots + 1)
                continue
            }
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9"), digits < 3, digits == 0 || octet != 0 else {
                return nil
            }
            octet = octet * 10 + UInt32(byte - UInt8(ascii: "0"))
            digits += 1
            guard octet <= 255 else { return nil }
        }
        return digits > 0 && dots == 3 ? result << 8 | octet : nil
    }

    private init?(v6Text text: UnsafeRawBufferPointer) {
        // Groups before and after "::" are counted from either end; the gap is what is missing to eight.
        var groups: (UInt64, UInt64) = (0, 0)
        var count = 0
        var gap: Int? = nil
        func shifted(_ value: (UInt64, UInt64), by bits: Int) -> (UInt64, UInt64) {
            switch bits {
            case 0: value
            case 1..<64: (value.0 << bits | value.1 >> (64 - bits), value.1 << bits)
            case 64..<128: (value.1 << (bits - 64), 0)
            default: (0, 0)
            }
        }
        func append(_ group: UInt64, bits: Int) {
            groups = shifted(groups, by: bits)
            groups.1 |= group
            count += bits / 16
        }
        var at = 0
        if text.count >= 2, text[0] == UInt8(ascii: ":") {
            guard text[1] == UInt8(ascii: ":") else { return nil }
            gap = 0
            at = 2
        }
        while at < text.count {
            guard count < 8 else { return nil }
            var value: UInt64 = 0
            let start = at
            while at < text.count, let digit = Hex.value(text[at]) {
                guard at - start < 4 else { return nil }
                value = value << 4 | UInt64(digit)
                at += 1
            }
            if at < text.count, text[at] == UInt8(ascii: ".") {
                guard count <= 6, let v4 = Self.parseV4(text[start...]) else { return nil }
                append(UInt64(v4), bits: 32)
                at = text.count
                break
            }
            guard at > start else { return nil }
            append(value, bits: 16)
            guard at < text.count else { break }
            guard text[at] == UInt8(ascii: ":") else { return nil }
            at += 1
            guard at < text.count else { return nil }
            if text[at] == UInt8(ascii: ":") {
                guard gap == nil else { return nil }
                gap = count
                at += 1
            }
        }
        guard let gap else {
            guard count == 8 else { return nil }
            self.init(v6: groups.0, groups.1)
            return
        }
        guard count < 8 else { return nil }
        // Lift what stood before the gap to the front; what stood behind it is already at the end.
        let behind = 16 * (count - gap)
        let front = shifted(Self.shiftedRight(groups, by: behind), by: 128 - 16 * gap)
        let back = Self.shiftedRight(shifted(groups, by: 128 - behind), by: 128 - behind)
        self.init(v6: front.0 | back.0, front.1 | back.1)
    }

    private static func shiftedRight(_ value: (UInt64, UInt64), by bits: Int) -> (UInt64, UInt64) {
        switch bits {
        case 0: value
        case 1..<64: (value.0 >> bits, value.1 >> bits | value.0 << (64 - bits))
        case 64..<128: (0, value.0 >> (bits - 64))
        default: (0, 0)
        }
    }

    /// RFC 5952 for IPv6 (lower case, longest run of zeros as "::", mapped addresses with a dotted tail).
    public var description: String {
        var text: [UInt8] = []
        appendText(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends the text form's bytes: what encoders of wire formats use.
    public func appendText(to out: inout [UInt8]) {
        if family == .v4 { return Self.appendDotted(UInt32(truncatingIfNeeded: low), to: &out) }
        if high == 0, low >> 32 == 0xFFFF {
            out.append(contentsOf: "::ffff:".utf8)
            return Self.appendDotted(UInt32(truncatingIfNeeded: low), to: &out)
        }
        func group(_ index: Int) -> UInt16 {
            UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> (48 - 16 * (index & 3)))
        }
        var zeros = 0..<0
        var index = 0
        while index < 8 {
            var end = index
            while end < 8, group(end) == 0 { end += 1 }
            if end - index > max(zeros.count, 1) { zeros = index..<end }
            index = max(end, index + 1)
        }
        index = 0
        while index < 8 {
            if index == zeros.lowerBound, !zeros.isEmpty {
                out.append(contentsOf: "::".utf8)
                index = zeros.upperBound
                continue
            }
            if index > 0, index != zeros.upperBound || zeros.isEmpty { out.append(UInt8(ascii: ":")) }
            let value = group(index)
            var started = false
            for shift in [12, 8, 4, 0] {
                let digit = UInt8(truncatingIfNeeded: value >> shift) & 15
                guard started || digit != 0 || shift == 0 else { continue }
                started = true
                out.append(Hex.digit(digit))
            }
            index += 1
        }
    }

    private static func appendDotted(_ number: UInt32, to out: inout [UInt8]) {
        for shift in [24, 16, 8, 0] as [UInt32] {
            out.appendDecimal(number >> shift & 255)
            if shift > 0 { out.append(UInt8(ascii: ".")) }
        }
    }
}
