/// The number that a frontend's element carries into the packet: what to do, with which endpoint list.
///
/// It travels in `skb->priority`, which nothing reads between our two chains and which forwarding resets anyway; the
/// packet mark, by which people route, keeps all bits but the one for masquerading.
///
///     31                13 12         11     10      9         0
///     | endpoint list     | restricted| always| not pod| class |
///
/// Once the class has chosen the chain, the bits below the list are free: an endpoint of a list that clients stick to is
/// named by the list with a number there (`StickyMembers`).
struct Dispatch: Hashable, Sendable {
    var rawValue: UInt32

    static let classMask: UInt32 = 0x3FF
    static let masqueradeUnlessPod: UInt32 = 0x400
    static let alwaysMasquerade: UInt32 = 0x800
    /// Only sources that `allowed-sources` has for this frontend may pass.
    static let restricted: UInt32 = 0x1000
    static let listShift: UInt32 = 13
    static let listMask: UInt32 = 0xFFFF_E000
    /// Lists that can exist at once; service ports beyond it are not served.
    static let maximumLists = Int(listMask >> listShift)

    init(rawValue: UInt32) { self.rawValue = rawValue }

    init(_ slotClass: SlotClass, masquerade: Masquerade = .never, isRestricted: Bool = false, list: UInt32) {
        rawValue = UInt32(slotClass.rawValue) | list << Self.listShift
        switch masquerade {
        case .never: break
        case .unlessFromPod: rawValue |= Self.masqueradeUnlessPod
        case .always: rawValue |= Self.alwaysMasquerade
        }
        if isRestricted { rawValue |= Self.restricted }
    }

    var list: UInt32 { rawValue >> Self.listShift }
    var slotClass: SlotClass { SlotClass(rawValue: UInt16(rawValue & Self.classMask)) }
}
