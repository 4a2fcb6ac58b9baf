import Bytes

/// Ring hash and Maglev, with bounded loads.
extension Balancer {
    var balanceFactor: UInt32 {
        switch policy {
        case .ringHash(let ring): ring.balanceFactor
        case .maglev(let maglev): maglev.balanceFactor
        default: 0
        }
    }

    mutating func pickHashed(
        _ section: HostSection, _ request: borrowing PickRequest, _ hash: UInt64, _ attempt: UInt32
    ) -> Pick {
        let choice = choosePriority(section, request, hash)
        let level = view.levels[Int(section.firstLevel) + choice.priority]
        if level.isInPanic && attempt == 0 { counters.healthyPanic &+= 1 }
        let hashed = view.hashed[Int(level.hashed)]
        guard let target = hashed.table.target(hash, attempt: attempt) else { return .none(.noHealthyHosts) }
        let factor = balanceFactor
        let chosen = factor == 0 ? target : boundedTarget(hashed, target, hash, factor: factor)
        return .host(HostIndex(view.members[Int(hashed.start) + chosen]))
    }

    /// `target`, or when it has more than its share of the load, the first other in an order that the hash gives that has
    /// not; or the least loaded. Consistent hashing with bounded loads, as Envoy does it; with Envoy's generator, so that the
    /// same hash goes to the same host.
    mutating func boundedTarget(_ level: HashedLevel, _ target: Int, _ hash: UInt64, factor: UInt32) -> Int {
        let slots = (UInt64(active.total + 1) * UInt64(factor) + 99) / 100
        var best = target
        var least = overload(level, target, slots)
        if least <= 1 { return target }
        var random = MersenneTwister(seed: UInt32(truncatingIfNeeded: hash))
        let count = Int(level.count)
        if probes.count < count { probes = Array(repeating: 0, count: count) }
        for i in 0..<count { probes[i] = UInt32(i) }
        for i in 0..<count {
            probes.swapAt(i, i + Int(random.below(UInt32(count - i))))
            let other = Int(probes[i])
            if other == target { continue }
            let load = overload(level, other, slots)
            if load <= 1 { return other }
            if load < least {
                best = other
                least = load
            }
        }
        return best
    }

    @inline(__always)
    func overload(_ level: HashedLevel, _ target: Int, _ slots: UInt64) -> Double {
        let share = (Double(slots) * view.shares[Int(level.weights) + target]).rounded(.up)
        let host = view.members[Int(level.start) + target]
        return Double(active[view.facts[Int(host)].id]) / max(share, 1)
    }
}
