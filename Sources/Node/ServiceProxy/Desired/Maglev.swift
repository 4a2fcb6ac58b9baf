/// Slot tables that depend on their endpoints alone, not on how they came to be: every node has the same, and a change of
/// one endpoint moves little more than its own share (Eisenbud et al., Maglev, NSDI 2016, section 3.4).
enum Maglev {
    /// How many slots for up to how many endpoints: primes, so that every step visits every slot; at least sixteen slots an
    /// endpoint, so that shares differ by a few per cent at most. Crossing a limit moves nearly all clients.
    static let sizes: [(endpoints: Int, slots: Int)] = [(64, 1021), (1024, 16381), (4096, 65521)]

    /// The seed of the hash by which packets find their slot: any number, the same on all nodes.
    static let seed: UInt32 = 0x5765_6674

    /// - Parameters:
    ///   - endpoints: sorted and unique, not empty.
    ///   - weights: of each endpoint; those of weight 0 get no slot, and at least one is more. Empty: all are equal.
    ///   - count: a prime. Endpoints beyond it get no slot.
    static func table(_ endpoints: [Endpoint], weights: [UInt8], slots count: Int) -> [Endpoint] {
        let most = Int(weights.max() ?? 1)
        let weights = weights.isEmpty ? [UInt8](repeating: 1, count: endpoints.count) : weights
        var turns = zip(endpoints, weights).filter { $0.1 > 0 }.map { Turn($0, weight: Int($1), slots: count) }
        precondition(!turns.isEmpty, "a slot table needs endpoints")
        var slots = [Int](repeating: -1, count: count)
        var free = count
        while true {
            for index in turns.indices {
                turns[index].credit += turns[index].weight
                while turns[index].credit >= most {
                    turns[index].credit -= most
                    while slots[turns[index].position] >= 0 { turns[index].advance(count) }
                    slots[turns[index].position] = index
                    free -= 1
                    if free == 0 { return slots.map { turns[$0].endpoint } }
                }
            }
        }
    }

    /// An endpoint on its way through the slots in its own order.
    private struct Turn {
        var endpoint: Endpoint
        var weight: Int
        var position: Int
        var step: Int
        /// It takes a slot for each `most` of it.
        var credit = 0

        init(_ endpoint: Endpoint, weight: Int, slots: Int) {
            self.endpoint = endpoint
            self.weight = weight
            position = Int(endpoint.hash(0x9E37_79B9_7F4A_7C15) % UInt64(slots))
            step = Int(endpoint.hash(0xC2B2_AE3D_27D4_EB4F) % UInt64(slots - 1)) + 1
        }

        mutating func advance(_ slots: Int) {
            position += step
            if position >= slots { position -= slots }
        }
    }
}

extension Endpoint {
    /// The same on every node and in every version: Swift's own hashes differ from process to process.
    fileprivate func hash(_ seed: UInt64) -> UInt64 {
        var state = seed
        for word in [UInt64(address.family.rawValue), address.high, address.low, UInt64(port.rawValue)] {
            // The finalizer of SplitMix64 over each word: cheap, and every bit reaches every other.
            state = (state ^ word) &+ 0x9E37_79B9_7F4A_7C15
            state = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
            state = (state ^ (state >> 27)) &* 0x94D0_49BB_1331_11EB
            state ^= state >> 31
        }
        return state
    }
}
