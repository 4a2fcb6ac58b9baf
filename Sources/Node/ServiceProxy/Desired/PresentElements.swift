/// The elements that a table was found to hold.
struct PresentElements: Sendable {
    /// All but slots; also slots beyond every bound, which somebody else wrote.
    private(set) var singles: [(ServiceElementKey, ServiceElementValue)] = []
    /// The slots of each endpoint list, with `Endpoint.none` for those that are missing before the last one.
    private(set) var lists: [UInt32: [Endpoint]] = [:]

    init() {}

    init(_ elements: some Sequence<(ServiceElementKey, ServiceElementValue)>) {
        for (key, value) in elements { insert(key, value) }
    }

    mutating func insert(_ key: ServiceElementKey, _ value: ServiceElementValue) {
        guard case .endpoint(let list, let slot) = key, case .endpoint(let address, let port) = value,
            slot < 1 << SlotClass.largestPower
        else { return singles.append((key, value)) }
        lists[list, default: []].set(Int(slot), to: Endpoint(address: address, port: port))
    }

    /// What another reading found, of other sets.
    mutating func insert(_ other: PresentElements) {
        singles += other.singles
        lists.merge(other.lists) { _, later in later }
    }

    /// The lists that frontends name, and how many slots each must have.
    var namedLists: [UInt32: Int] {
        var named: [UInt32: Int] = [:]
        for case (_, .dispatch(let dispatch)) in singles where dispatch.slotClass.slots > 0 {
            named[dispatch.list] = max(named[dispatch.list] ?? 0, dispatch.slotClass.slots)
        }
        return named
    }
}

extension [Endpoint] {
    /// Makes the array long enough before.
    fileprivate mutating func set(_ slot: Int, to endpoint: Endpoint) {
        if slot >= count { append(contentsOf: repeatElement(.none, count: slot + 1 - count)) }
        self[slot] = endpoint
    }
}
