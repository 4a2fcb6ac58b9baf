/// Endpoint lists that clients stick to, as elements: slots by which a client without an endpoint gets one, and the endpoints
/// themselves under the numbers by which clients are remembered.
///
/// The clients are not here: the kernel adds, refreshes and forgets them, packet by packet.
struct StickyLists: Sendable {
    private struct List: Sendable {
        var sticky: StickyClass
        var members: StickyMembers
        var slots: [Endpoint]
    }

    private var lists: [UInt32: List] = [:]
    private var classes = StickyClasses()
    /// What the table of a former run has of lists that nobody claimed yet.
    private var adopted: [UInt32: Adopted] = [:]

    private struct Adopted: Sendable {
        var endpoints: [UInt32: Endpoint] = [:]
        var slots: [UInt32: UInt32] = [:]
    }

    /// The table was read.
    mutating func adopt(_ elements: ServiceElements) {
        adopted = [:]
        for (key, value) in elements.allActualSingles {
            switch (key, value) {
            case (.stickyClass(let slotClass), .sticky(let sticky)): classes.adopt(sticky, as: slotClass)
            case (.stickyMember(let list, let number), .endpoint(let address, let port)) where lists[list] == nil:
                adopted[list, default: Adopted()].endpoints[number] = Endpoint(address: address, port: port)
            case (.stickySlot(let list, let slot), .member(let number)) where lists[list] == nil:
                adopted[list, default: Adopted()].slots[slot] = number
            default: break
            }
        }
    }

    var adoptedLists: some Sequence<UInt32> { adopted.keys }

    /// All lists were planned.
    mutating func settle() {
        adopted = [:]
        classes.settle()
    }

    /// Makes a list's elements these; the class for its frontends, or nil when no more can be told apart.
    mutating func set(
        _ id: UInt32, _ shares: SlotShares, _ affinity: SessionAffinity, in elements: inout ServiceElements
    ) -> SlotClass? {
        let sticky = StickyClass(slots: shares.slotClass, affinity: affinity)
        let before = lists[id] ?? adopted.removeValue(forKey: id).map { Self.list(sticky, $0) }
        var list = before ?? List(sticky: sticky, members: StickyMembers(), slots: [])
        guard let slotClass = classes.retain(sticky) else { return nil }
        elements.desire(.stickyClass(slotClass), .sticky(sticky))
        if lists[id] != nil { release(list.sticky, in: &elements) }
        list.sticky = sticky

        for number in list.members.set(shares.all.prefix(StickyMembers.limit)) {
            elements.abandon(.stickyMember(list: id, number: number))
        }
        for (endpoint, number) in list.members.numbers {
            elements.desire(.stickyMember(list: id, number: number), .endpoint(endpoint.address, endpoint.port))
        }
        let had = list.slots.count
        list.slots = shares.slots(present: list.slots)
        for (slot, endpoint) in list.slots.enumerated() {
            guard let number = list.members.numbers[endpoint] else { continue }
            elements.desire(.stickySlot(list: id, slot: UInt32(slot)), .member(number))
        }
        for slot in list.slots.count..<max(had, list.slots.count) {
            elements.abandon(.stickySlot(list: id, slot: UInt32(slot)))
        }
        lists[id] = list
        return slotClass
    }

    mutating func remove(_ id: UInt32, in elements: inout ServiceElements) {
        guard let list = lists.removeValue(forKey: id) else { return }
        for number in list.members.numbers.values { elements.abandon(.stickyMember(list: id, number: number)) }
        for slot in list.slots.indices { elements.abandon(.stickySlot(list: id, slot: UInt32(slot))) }
        release(list.sticky, in: &elements)
    }

    private mutating func release(_ sticky: StickyClass, in elements: inout ServiceElements) {
        if let slotClass = classes.release(sticky) { elements.abandon(.stickyClass(slotClass)) }
    }

    private static func list(_ sticky: StickyClass, _ adopted: Adopted) -> List {
        let numbers = Dictionary(adopted.endpoints.map { ($0.value, $0.key) }) { min($0, $1) }
        let count = Int(adopted.slots.keys.max().map { min($0 + 1, 1 << SlotClass.largestPower) } ?? 0)
        let slots = (0..<UInt32(count)).map { slot in
            adopted.slots[slot].flatMap { adopted.endpoints[$0] } ?? Endpoint.none
        }
        return List(sticky: sticky, members: StickyMembers(numbers), slots: slots)
    }
}
