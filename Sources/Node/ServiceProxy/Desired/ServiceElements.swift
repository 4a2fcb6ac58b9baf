import Bytes
import Delta

/// Desired and actual elements of one table.
///
/// Nearly all elements are slots of endpoint lists. They are tracked list by list, as bare arrays: the key of a slot is its
/// position, so that it costs neither memory nor hashing, and comparing lists gives the slots that change.
struct ServiceElements: Sendable {
    typealias Singles = DeltaTracker<ServiceElementKey, ServiceElementValue>
    typealias Lists = DeltaTracker<UInt32, [Endpoint]>

    /// All elements but slots; also slots beyond every bound, which somebody else wrote and we remove.
    private var singles = Singles()
    /// `Endpoint.none` where the kernel lacks a slot below the last one that it has.
    private var lists = Lists()

    /// What to do, as of one moment.
    struct Changes: Sendable {
        var singles: [Singles.Change] = []
        var lists: [Lists.Change] = []
    }

    // MARK: What should be

    mutating func desire(_ key: ServiceElementKey, _ value: ServiceElementValue) { singles.desire(key, value) }
    mutating func abandon(_ key: ServiceElementKey) { singles.abandon(key) }

    mutating func desireSlots(_ endpoints: [Endpoint], of list: UInt32) { lists.desire(list, endpoints) }
    mutating func abandonSlots(of list: UInt32) { lists.abandon(list) }

    /// As they should be; for a list that nobody wants yet, as they are.
    func slots(of list: UInt32) -> [Endpoint] { lists.desired(list) ?? lists.actual(list) ?? [] }

    func desired(_ key: ServiceElementKey) -> ServiceElementValue? {
        value(of: key, in: lists.desired) ?? singles.desired(key)
    }

    // MARK: What is

    func actual(_ key: ServiceElementKey) -> ServiceElementValue? {
        value(of: key, in: lists.actual) ?? singles.actual(key)
    }

    /// All that is there: what is not among them is gone.
    mutating func observeAll(_ present: PresentElements) {
        singles.observeAll(present.singles)
        lists.observeAll(present.lists.lazy.map { ($0.key, $0.value) })
    }

    mutating func confirm(_ changes: Changes) {
        for change in changes.singles { singles.confirm(change) }
        for change in changes.lists { lists.confirm(change) }
    }

    // MARK: What to do

    var isSettled: Bool { singles.isSettled && lists.isSettled }
    var changes: Changes { Changes(singles: Array(singles.changes), lists: Array(lists.changes)) }
    /// Elements, and lists with elements, that differ.
    var pendingCount: Int { singles.pendingCount + lists.pendingCount }

    // MARK: All of it

    var actualLists: some Sequence<UInt32> { lists.allActual.lazy.map(\.key) }
    var allActualSingles: some Sequence<(key: ServiceElementKey, value: ServiceElementValue)> { singles.allActual }

    /// Everything desired, in no order.
    var allDesired: [(key: ServiceElementKey, value: ServiceElementValue)] {
        Array(singles.allDesired) + lists.allDesired.flatMap { Self.elements($0.key, $0.value) }
    }

    private static func elements(_ list: UInt32, _ slots: [Endpoint]) -> [(
        key: ServiceElementKey, value: ServiceElementValue
    )] {
        slots.enumerated().map { slot, endpoint in
            (.endpoint(list: list, slot: UInt32(slot)), .endpoint(endpoint.address, endpoint.port))
        }
    }

    private func value(of key: ServiceElementKey, in slots: (UInt32) -> [Endpoint]?) -> ServiceElementValue? {
        guard case .endpoint(let list, let slot) = key, let slots = slots(list), slot < slots.count,
            slots[Int(slot)] != .none
        else { return nil }
        return .endpoint(slots[Int(slot)].address, slots[Int(slot)].port)
    }
}
