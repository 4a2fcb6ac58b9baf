/// A list's endpoints with their shares of its slots, and how slots are picked: what a slot table is made from.
struct SlotShares: Equatable, Sendable {
    /// Sorted, not empty.
    var all: [Endpoint]
    var slotClass: SlotClass
    /// Of each of `all`, without common divisor; empty where all are equal.
    private var weights: [UInt8]

    /// - Parameters:
    ///   - endpoints: sorted and unique.
    ///   - weights: those that are not 1. An endpoint of weight 0 gets no slot, unless all have 0.
    ///   - isSticky: clients keep their endpoints, so that the way of picking is `random`.
    init?(_ endpoints: [Endpoint], weights: [Endpoint: UInt8], _ balancing: Balancing, isSticky: Bool) {
        let given = weights.isEmpty ? [] : endpoints.map { weights[$0] ?? 1 }
        let divisor = given.reduce(0, Self.commonDivisor)
        let areEqual = divisor == 0 || given.allSatisfy { $0 == given[0] }
        let reduced = areEqual ? [] : given.map { $0 / divisor }
        let slotClass: SlotClass? =
            if balancing != .random, !isSticky {
                SlotClass(balancing, endpoints: endpoints.count)
            } else if areEqual {
                SlotClass(endpoints: endpoints.count)
            } else {
                SlotClass(weights: reduced.reduce(0) { $0 + Int($1) })
            }
        guard let slotClass else { return nil }
        (all, self.weights, self.slotClass) = (endpoints, reduced, slotClass)
    }

    /// The slots, given the present ones. Maglev tables do not depend on these; the others change as little as can be.
    func slots(present: [Endpoint]) -> [Endpoint] {
        if slotClass.pick != .random { return Maglev.table(all, weights: weights, slots: slotClass.slots) }
        if weights.isEmpty { return SlotTable.assign(all, present: present, slots: slotClass.slots) }
        return SlotTable.assign(all, quotas: quotas, present: present)
    }

    /// How many slots each of `all` gets: in proportion, with the remainder to those who lost most by rounding, the first of
    /// equals, and at least one to whoever has a weight.
    private var quotas: [Int] {
        let count = slotClass.slots
        let total = weights.reduce(0) { $0 + Int($1) }
        var quotas = weights.map { $0 == 0 ? 0 : max(1, Int($0) * count / total) }
        func lost(_ index: Int) -> Int { Int(weights[index]) * count - quotas[index] * total }
        var rest = count - quotas.reduce(0, +)
        let order = weights.indices.filter { weights[$0] > 0 }.sorted { (lost($0), -$0) > (lost($1), -$1) }
        for index in order where rest > 0 {
            quotas[index] += 1
            rest -= 1
        }
        // Where single slots for the smallest made it too many, the largest give.
        while rest < 0, let most = quotas.indices.max(by: { quotas[$0] < quotas[$1] }) {
            quotas[most] -= 1
            rest += 1
        }
        return quotas
    }

    private static func commonDivisor(_ a: UInt8, _ b: UInt8) -> UInt8 { b == 0 ? a : commonDivisor(b, a % b) }
}
