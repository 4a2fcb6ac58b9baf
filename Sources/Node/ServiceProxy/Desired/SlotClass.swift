/// How a slot is picked and among how many; each class has a chain of its own.
///
/// Most are made once with the table. `sticky` ones are made when a Service needs them: which slots and which time-out such
/// a number means, `StickyClass` says.
struct SlotClass: RawRepresentable, Hashable, Sendable {
    /// Ten bits.
    var rawValue: UInt16

    enum Pick: Hashable, Sendable {
        case random
        /// By the client's address.
        case client
        /// By the client's address and port.
        case flow
    }

    /// Up to so many endpoints have a slot each, so that the split is exact. More share a power of two of slots, at least
    /// `slotsPerEndpoint` each.
    static let exactLimit = 64
    static let slotsPerEndpoint = 8
    /// 2^16 slots; more than 65 536 endpoints of one port are not used.
    static let largestPower = 16
    private static let smallestPower = 9

    static let reject = SlotClass(rawValue: 126)
    static let drop = SlotClass(rawValue: 127)
    /// The first of those that are made on demand.
    static let firstSticky: UInt16 = 128
    static let lastSticky: UInt16 = 1023

    /// nil for none.
    init?(endpoints count: Int) {
        guard count > 0 else { return nil }
        self = count <= Self.exactLimit ? .init(rawValue: UInt16(count)) : .power(for: count * Self.slotsPerEndpoint)
    }

    /// For endpoints of unequal weights, without common divisor, that add up to `total`: one slot for each unit of weight
    /// where that is few, otherwise so many that the smallest unit has several.
    init?(weights total: Int) {
        guard total > 0 else { return nil }
        self = total <= Self.exactLimit ? .init(rawValue: UInt16(total)) : .power(for: total * Self.slotsPerEndpoint)
    }

    /// The size follows from the number of endpoints alone, so that all nodes have the same.
    init?(_ balancing: Balancing, endpoints count: Int) {
        guard count > 0 else { return nil }
        let index = Maglev.sizes.firstIndex { count <= $0.endpoints } ?? Maglev.sizes.count - 1
        switch balancing {
        case .random: self.init(endpoints: count)
        case .maglev: self.init(rawValue: Self.firstMaglev + UInt16(index))
        case .maglevFlow: self.init(rawValue: Self.firstMaglev + UInt16(Maglev.sizes.count + index))
        }
    }

    private static func power(for slots: Int) -> SlotClass {
        var power = smallestPower
        while power < largestPower, 1 << power < slots { power += 1 }
        return SlotClass(rawValue: UInt16(exactLimit + power))
    }

    private static let firstMaglev: UInt16 = 96

    init(rawValue: UInt16) { self.rawValue = rawValue }

    /// 0 for those that do not dispatch, and for sticky ones.
    var slots: Int {
        let value = Int(rawValue)
        if value <= Self.exactLimit { return value }
        if let size = maglevSize { return Maglev.sizes[size].slots }
        let power = value - Self.exactLimit
        return power <= Self.largestPower ? 1 << power : 0
    }

    var pick: Pick {
        guard maglevSize != nil else { return .random }
        return rawValue < Self.firstMaglev + UInt16(Maglev.sizes.count) ? .client : .flow
    }

    var isSticky: Bool { rawValue >= Self.firstSticky }

    private var maglevSize: Int? {
        guard rawValue >= Self.firstMaglev, rawValue < Self.firstMaglev + UInt16(2 * Maglev.sizes.count) else {
            return nil
        }
        return Int(rawValue - Self.firstMaglev) % Maglev.sizes.count
    }

    /// Those that the table is made with.
    static let all: [SlotClass] =
        (1...exactLimit).map { SlotClass(rawValue: UInt16($0)) }
        + (smallestPower...largestPower).map { SlotClass(rawValue: UInt16(exactLimit + $0)) }
        + (0..<2 * Maglev.sizes.count).map { SlotClass(rawValue: firstMaglev + UInt16($0)) }
}
