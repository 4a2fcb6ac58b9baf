/// What one priority has, and what of it can be used.
struct PriorityAvailability: Hashable, Sendable {
    /// All hosts, also excluded ones.
    var hosts = 0
    var excluded = 0
    var healthy = 0
    var degraded = 0
    /// The same in the measure that health is taken in: hosts, or their weights (`weighted_priority_health`). Excluded hosts
    /// are not in the total.
    var total: UInt64 = 0
    var healthyPart: UInt64 = 0
    var degradedPart: UInt64 = 0
    var overprovisioningFactor: UInt32 = 140

    mutating func count(_ host: HostFacts, byWeight: Bool) {
        let part = byWeight ? UInt64(host.weight) : 1
        hosts += 1
        if host.health.isExcluded { excluded += 1 } else { total += part }
        switch host.health.availability {
        case .healthy:
            healthy += 1
            healthyPart += part
        case .degraded:
            degraded += 1
            degradedPart += part
        case .unhealthy: break
        }
    }

    /// 0…100: how much of all load the healthy hosts may carry.
    var health: UInt32 { percentage(healthyPart) }
    var degradedHealth: UInt32 { percentage(degradedPart) }

    private func percentage(_ part: UInt64) -> UInt32 {
        total == 0 ? 0 : UInt32(min(100, UInt64(overprovisioningFactor) * part / total))
    }

    /// Too few hosts are available to trust that the others are really bad.
    func isInPanic(below threshold: UInt8) -> Bool {
        let counted = hosts - excluded
        let available =
            counted == 0 ? 0 : 100 * Double(healthy) / Double(counted) + 100 * Double(degraded) / Double(counted)
        return available < Double(min(threshold, 100))
    }
}

/// How load is shared among priorities, in percent, and which of them ignore health.
///
/// Load goes to the first priority as far as its healthy hosts, trusted with more than their share by the overprovisioning
/// factor, can carry it; what remains goes to the next. Degraded hosts come after all healthy ones. When all together
/// cannot carry everything, load is scaled up, and priorities below the panic threshold use all of their hosts.
struct PriorityLoad: Hashable, Sendable {
    private(set) var healthy: [UInt32]
    private(set) var degraded: [UInt32]
    private(set) var isInPanic: [Bool]

    init(_ priorities: [PriorityAvailability], panicThreshold: UInt8) {
        healthy = Array(repeating: 0, count: priorities.count)
        degraded = healthy
        isInPanic = Array(repeating: false, count: priorities.count)
        guard !priorities.isEmpty else { return }
        let health = priorities.map(\.health)
        let degradedHealth = priorities.map(\.degradedHealth)
        let available = min(100, health.reduce(0, +) + degradedHealth.reduce(0, +))
        if available > 0 { distribute(health, degradedHealth, available: available) }
        if available == 0, panicThreshold == 0 {
            // Nobody will be found there, and load has to be somewhere.
            healthy[0] = 100
            return
        }
        // With enough hosts in all priorities together a weak one is no reason to ignore health.
        if available < 100 {
            for (i, priority) in priorities.enumerated() { isInPanic[i] = priority.isInPanic(below: panicThreshold) }
        }
        if isInPanic.allSatisfy({ $0 }) { distributeByCount(priorities) }
    }

    private mutating func distribute(_ health: [UInt32], _ degradedHealth: [UInt32], available: UInt32) {
        var left: UInt32 = 100
        for i in health.indices {
            healthy[i] = min(left, health[i] * 100 / available)
            left -= healthy[i]
        }
        for i in degradedHealth.indices {
            degraded[i] = min(left, degradedHealth[i] * 100 / available)
            left -= degraded[i]
        }
        // What rounding left over.
        if let first = health.firstIndex(where: { $0 > 0 }) {
            healthy[first] += left
        } else if let first = degradedHealth.firstIndex(where: { $0 > 0 }) {
            degraded[first] += left
        }
    }

    /// Every priority panics: health says nothing any more, and load follows the hosts' number.
    private mutating func distributeByCount(_ priorities: [PriorityAvailability]) {
        let all = priorities.reduce(0) { $0 + $1.hosts }
        guard let first = priorities.firstIndex(where: { $0.hosts > 0 }) else {
            healthy[0] = 100
            return
        }
        for i in priorities.indices {
            healthy[i] = UInt32(100 * priorities[i].hosts / all)
            degraded[i] = 0
        }
        healthy[first] += 100 - healthy.reduce(0, +)
    }

    /// The load for a retry that wants other priorities than those that were tried (`previous_priorities`); nil when none of
    /// the others can carry any, so that all count as untried again.
    init?(_ priorities: [PriorityAvailability], without tried: Set<Int>, panicThreshold: UInt8) {
        var remaining = priorities
        for i in tried where remaining.indices.contains(i) {
            remaining[i].healthyPart = 0
            remaining[i].degradedPart = 0
        }
        guard remaining.contains(where: { $0.health + $0.degradedHealth > 0 }) else { return nil }
        let usual = PriorityLoad(priorities, panicThreshold: panicThreshold)
        healthy = Array(repeating: 0, count: priorities.count)
        degraded = healthy
        isInPanic = usual.isInPanic
        let health = remaining.map(\.health)
        let degradedHealth = remaining.map(\.degradedHealth)
        distribute(
            health, degradedHealth, available: min(100, health.reduce(0, +) + degradedHealth.reduce(0, +)))
    }

    /// Everything to one of `count` priorities.
    init(only priority: Int, isDegraded: Bool, of count: Int) {
        healthy = Array(repeating: 0, count: count)
        degraded = healthy
        isInPanic = Array(repeating: false, count: count)
        if isDegraded { degraded[priority] = 100 } else { healthy[priority] = 100 }
    }

    struct Choice: Hashable, Sendable {
        var priority: Int
        var isDegraded: Bool
    }

    /// The priority for a number that is drawn, or is a request's hash: so every hash keeps its priority.
    func choose(_ number: UInt64) -> Choice {
        let point = UInt32(truncatingIfNeeded: number % 100) + 1
        var sum: UInt32 = 0
        for i in healthy.indices {
            sum += healthy[i]
            if point <= sum { return Choice(priority: i, isDegraded: false) }
        }
        for i in degraded.indices {
            sum += degraded[i]
            if point <= sum { return Choice(priority: i, isDegraded: true) }
        }
        return Choice(priority: 0, isDegraded: false)
    }
}
