/// Endpoints in dispatch slots, each with its share of them, changed as little as can be.
enum SlotTable {
    /// The new slots for `endpoints` (sorted, unique), each in an equal share of them (±1), given the present ones: who stays
    /// keeps its slots, who leaves gives them up, and only what equal shares demand moves. Depends on nothing else, so a restart that finds the present
    /// slots in the kernel changes nothing.
    static func assign(_ endpoints: [Endpoint], present: [Endpoint], slots count: Int) -> [Endpoint] {
        if present.isEmpty, endpoints.count == count { return endpoints }
        let endpoints = endpoints.prefix(count)
        guard !endpoints.isEmpty else { return [] }
        let share = count / endpoints.count
        /// How many may still have one slot more than the share.
        var extra = count % endpoints.count
        /// Slots of each endpoint, by its place in `endpoints`.
        var held = [Int](repeating: 0, count: endpoints.count)
        func take(_ index: Int) -> Bool {
            if held[index] == share, extra > 0 { extra -= 1 } else if held[index] >= share { return false }
            held[index] += 1
            return true
        }
        var slots = [Endpoint](repeating: .none, count: count)
        for index in 0..<min(count, present.count) {
            if let place = place(of: present[index], in: endpoints), take(place) { slots[index] = present[index] }
        }
        var next = 0
        for index in slots.indices where slots[index] == .none {
            while !take(next) { next += 1 }
            slots[index] = endpoints[next]
        }
        return slots
    }

    /// The same for endpoints that have so many slots each, which together are all slots.
    static func assign(_ endpoints: [Endpoint], quotas: [Int], present: [Endpoint]) -> [Endpoint] {
        var left = quotas
        var slots = [Endpoint](repeating: .none, count: quotas.reduce(0, +))
        for index in 0..<min(slots.count, present.count) {
            guard let place = place(of: present[index], in: endpoints[...]), left[place] > 0 else { continue }
            left[place] -= 1
            slots[index] = present[index]
        }
        var next = 0
        for index in slots.indices where slots[index] == .none {
            while left[next] == 0 { next += 1 }
            left[next] -= 1
            slots[index] = endpoints[next]
        }
        return slots
    }

    /// By halves; nil for one that is not among them.
    private static func place(of endpoint: Endpoint, in sorted: ArraySlice<Endpoint>) -> Int? {
        var (low, high) = (sorted.startIndex, sorted.endIndex)
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle] < endpoint { low = middle + 1 } else { high = middle }
        }
        return low < sorted.endIndex && sorted[low] == endpoint ? low : nil
    }
}
