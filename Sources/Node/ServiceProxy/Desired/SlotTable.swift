/// Endpoints in dispatch slots, each in an equal share of them (±1), changed as little as can be.
enum SlotTable {
    /// The new slots for `endpoints` (sorted, unique), given the present ones: who stays keeps its slots, who leaves gives
    /// them up, and only what equal shares demand moves. Depends on nothing else, so a restart that finds the present
    /// slots in the kernel changes nothing.
    static func assign(_ endpoints: [Endpoint], present: [Endpoint?], slots count: Int) -> [Endpoint] {
        let endpoints = endpoints.prefix(count)
        guard !endpoints.isEmpty else { return [] }
        let share = count / endpoints.count
        /// How many may still have one slot more than the share.
        var extra = count % endpoints.count
        var held: [Endpoint: Int] = [:]
        held.reserveCapacity(endpoints.count)
        for endpoint in endpoints { held[endpoint] = 0 }
        var slots = [Endpoint?](repeating: nil, count: count)
        for index in 0..<min(count, present.count) {
            guard let endpoint = present[index], let has = held[endpoint] else { continue }
            if has < share {
                held[endpoint] = has + 1
            } else if has == share, extra > 0 {
                held[endpoint] = has + 1
                extra -= 1
            } else {
                continue
            }
            slots[index] = endpoint
        }
        var next = endpoints.startIndex
        return slots.map { slot in
            if let slot { return slot }
            while true {
                let endpoint = endpoints[next]
                let has = held[endpoint] ?? 0
                if has < share || (has == share && extra > 0) {
                    if has == share { extra -= 1 }
                    held[endpoint] = has + 1
                    return endpoint
                }
                next += 1
            }
        }
    }
}
