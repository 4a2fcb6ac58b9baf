/// The number that a frontend's element carries into the packet: what to do, with which endpoint list.
///
/// It travels in `skb->priority`, which nothing reads between our two chains and which forwarding resets anyway; the
/// packet mark, by which people route, keeps all bits but the one for masquerading.
///
///     31      25 24     23      22                    0
///     | class   | always| not pod| endpoint list        |
struct Dispatch: Hashable, Sendable {
    var rawValue: UInt32

    static let classMask: UInt32 = 0xFE00_0000
    static let alwaysMasquerade: UInt32 = 0x0100_0000
    static let masqueradeUnlessPod: UInt32 = 0x0080_0000
    static let listMask: UInt32 = 0x007F_FFFF
    /// Lists that can exist at once; service ports beyond it are refused.
    static let maximumLists = Int(listMask)

    init(rawValue: UInt32) { self.rawValue = rawValue }

    init(_ slotClass: SlotClass, masquerade: Masquerade = .never, list: UInt32) {
        rawValue = UInt32(slotClass.rawValue) << 25 | list & Self.listMask
        switch masquerade {
        case .never: break
        case .unlessFromPod: rawValue |= Self.masqueradeUnlessPod
        case .always: rawValue |= Self.alwaysMasquerade
        }
    }

    var list: UInt32 { rawValue & Self.listMask }
    var slotClass: SlotClass { SlotClass(rawValue: UInt8(rawValue >> 25)) }
}

/// Among how many slots a packet is dispatched; each has a chain of its own, made once.
///
/// Up to `exactLimit` endpoints have a slot each, so that the split is exact. More share a power of two of slots, at
/// least `slotsPerEndpoint` each.
struct SlotClass: RawRepresentable, Hashable, Sendable {
    var rawValue: UInt8

    static let exactLimit = 64
    static let slotsPerEndpoint = 8
    /// 2^16 slots; more than 65 536 endpoints of one port are not used.
    static let largestPower = 16
    private static let smallestPower = 9

    static let reject = SlotClass(rawValue: 126)
    static let drop = SlotClass(rawValue: 127)

    /// nil for none.
    init?(endpoints count: Int) {
        guard count > 0 else { return nil }
        if count <= Self.exactLimit {
            rawValue = UInt8(count)
            return
        }
        var power = Self.smallestPower
        while power < Self.largestPower, 1 << power < count * Self.slotsPerEndpoint { power += 1 }
        rawValue = UInt8(Self.exactLimit + power)
    }

    init(rawValue: UInt8) { self.rawValue = rawValue }

    /// 0 for those that do not dispatch.
    var slots: Int {
        let value = Int(rawValue)
        if value <= Self.exactLimit { return value }
        let power = value - Self.exactLimit
        return power <= Self.largestPower ? 1 << power : 0
    }

    static let all: [SlotClass] =
        (1...exactLimit).map { SlotClass(rawValue: UInt8($0)) }
        + (smallestPower...largestPower).map { SlotClass(rawValue: UInt8(exactLimit + $0)) }
}
