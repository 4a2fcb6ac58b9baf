/// An address and a prefix length. The address keeps its host bits (an interface's `10.0.0.5/24`); `network` clears them.
public struct CIDR: Hashable, Sendable {
    public let address: IPAddress
    /// 0…32 or 0…128.
    public let prefixLength: UInt8

    /// nil when the prefix is longer than the family allows.
    public init?(_ address: IPAddress, prefixLength: UInt8) {
        guard prefixLength <= address.bitWidth else { return nil }
        self.address = address
        self.prefixLength = prefixLength
    }

    /// The address alone: a /32 or /128.
    public init(host address: IPAddress) {
        self.address = address
        self.prefixLength = address.bitWidth
    }

    private init(unchecked address: IPAddress, _ prefixLength: UInt8) {
        self.address = address
        self.prefixLength = prefixLength
    }

    /// The bits of the prefix, as the high and low half of an address of this family.
    private var mask: (high: UInt64, low: UInt64) {
        func ones(_ n: UInt8) -> UInt64 { n == 0 ? 0 : n >= 64 ? .max : ~(UInt64.max >> UInt64(n)) }
        if address.family == .v4 { return (0, ones(prefixLength) >> 32) }
        return (ones(min(prefixLength, 64)), prefixLength > 64 ? ones(prefixLength - 64) : 0)
    }

    public func contains(_ other: IPAddress) -> Bool {
        let mask = mask
        return other.family == address.family && (other.high ^ address.high) & mask.high == 0
            && (other.low ^ address.low) & mask.low == 0
    }

    /// Whether all of `other` lies within.
    public func contains(_ other: CIDR) -> Bool { other.prefixLength >= prefixLength && contains(other.address) }

    public func overlaps(_ other: CIDR) -> Bool { contains(other) || other.contains(self) }

    /// The first address: all host bits clear.
    public var first: IPAddress {
        let mask = mask
        return IPAddress(family: address.family, high: address.high & mask.high, low: address.low & mask.low)
    }

    /// The last address: all host bits set. For an IPv4 subnet this is its broadcast address.
    public var last: IPAddress {
        let mask = mask
        let lowBits: UInt64 = address.family == .v4 ? 0xFFFF_FFFF : .max
        let highBits: UInt64 = address.family == .v4 ? 0 : .max
        return IPAddress(
            family: address.family, high: address.high | (~mask.high & highBits),
            low: address.low | (~mask.low & lowBits))
    }

    /// The same prefix with host bits clear.
    public var network: CIDR { CIDR(unchecked: first, prefixLength) }

    /// How many addresses it has; `UInt64.max` when more than that.
    public var count: UInt64 {
        let hostBits = address.bitWidth - prefixLength
        return hostBits >= 64 ? .max : 1 << UInt64(hostBits)
    }

    /// The prefix as an IPv4 netmask (`255.255.255.0`); nil for IPv6.
    public var netmask: IPAddress? { address.family == .v4 ? IPAddress(v4: UInt32(mask.low)) : nil }

    /// The `index`th subnet of `length` bits within, or nil when there is none.
    public func subnet(_ index: UInt64, prefixLength length: UInt8) -> CIDR? {
        guard length >= prefixLength, length <= address.bitWidth else { return nil }
        let choices = length - prefixLength
        guard choices >= 64 || index < 1 << UInt64(choices) else { return nil }
        let shift = UInt64(address.bitWidth - length)
        let base = first
        if shift >= 64 {
            return CIDR(unchecked: IPAddress(v6: base.high | index << (shift - 64), base.low), length)
        }
        let low = index << shift
        let high = shift == 0 ? 0 : index >> (64 - shift)
        return CIDR(
            unchecked: IPAddress(family: base.family, high: base.high | high, low: base.low | low), length)
    }
}

extension CIDR: LosslessStringConvertible {
    /// `address/length`, both strict; host bits may be set.
    public init?(_ text: String) {
        guard let slash = text.utf8.firstIndex(of: UInt8(ascii: "/")) else { return nil }
        let digits = text.utf8[text.utf8.index(after: slash)...]
        guard let address = IPAddress(text[..<slash]), (1...3).contains(digits.count),
            digits.count == 1 || digits.first != UInt8(ascii: "0"), digits.allSatisfy({ (48...57).contains($0) }),
            let length = UInt8(String(digits) ?? "")
        else { return nil }
        self.init(address, prefixLength: length)
    }

    public init?(_ text: some StringProtocol) { self.init(String(text)) }

    public var description: String { "\(address)/\(prefixLength)" }
}
