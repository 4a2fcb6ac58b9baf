import Bytes

/// From a section to a group of hosts: priority first, then panic, then locality.
extension Balancer {
    enum GroupChoice {
        case group(UInt32)
        case failed(PickFailure)
    }

    mutating func chooseGroup(
        _ section: HostSection, _ request: borrowing PickRequest, _ random: inout some RandomSource
    ) -> GroupChoice {
        let choice = choosePriority(section, request, random.next())
        let level = view.levels[Int(section.firstLevel) + choice.priority]
        if level.isInPanic {
            counters.healthyPanic &+= 1
            return failsTrafficOnPanic ? .failed(.inPanic) : .group(level.all)
        }
        let usual = choice.isDegraded ? level.degraded : level.healthy
        let weighted = choice.isDegraded ? level.degradedLocalities : level.healthyLocalities
        if weighted != .none, let locality = nextLocality(Int(weighted), &random) {
            return .group(level.localities + 2 * UInt32(locality) + (choice.isDegraded ? 1 : 0))
        }
        guard level.zone.mode != .off, case .zoneAware(let zoneAware) = locality,
            random.below(100) < Int(zoneAware.routingEnabled)
        else { return .group(usual) }
        if level.zone.isLocalClusterInPanic {
            counters.localClusterNotOK &+= 1
            return zoneAware.failsTrafficOnPanic ? .failed(.inPanic) : .group(usual)
        }
        return .group(level.localities + 2 * chooseZone(level.zone, &random) + (choice.isDegraded ? 1 : 0))
    }

    @inline(__always)
    func choosePriority(
        _ section: HostSection, _ request: borrowing PickRequest, _ number: UInt64
    ) -> PriorityLoad.Choice {
        if let load = request.load { return load.choose(number) }
        let point = UInt32(truncatingIfNeeded: number % 100) + 1
        let first = Int(section.firstLevel)
        var sum: UInt32 = 0
        for i in 0..<Int(section.levelCount) {
            sum += view.levels[first + i].healthyLoad
            if point <= sum { return PriorityLoad.Choice(priority: i, isDegraded: false) }
        }
        for i in 0..<Int(section.levelCount) {
            sum += view.levels[first + i].degradedLoad
            if point <= sum { return PriorityLoad.Choice(priority: i, isDegraded: true) }
        }
        return PriorityLoad.Choice(priority: 0, isDegraded: false)
    }

    var failsTrafficOnPanic: Bool {
        if case .zoneAware(let zoneAware) = locality { zoneAware.failsTrafficOnPanic } else { false }
    }

    /// The locality whose turn it is, by its number.
    mutating func nextLocality(_ number: Int, _ random: inout some RandomSource) -> Int? {
        let group = view.groups[number]
        let shares = view.shares + Int(group.start)
        if !rotations[number].isScheduled(for: group) {
            rotations[number].reschedule(group, names: [], weight: { shares[$0] }, random: &random)
        }
        guard let locality = rotations[number].next else { return nil }
        rotations[number].advance(weight: shares[locality])
        return locality
    }

    mutating func chooseZone(_ zone: ZoneRouting, _ random: inout some RandomSource) -> UInt32 {
        if zone.mode == .direct {
            counters.zoneAllDirectly &+= 1
            return 0
        }
        if random.below(10000) < Int(zone.localShare) {
            counters.zoneSampled &+= 1
            return 0
        }
        counters.zoneCross &+= 1
        let capacities = view.capacities + Int(zone.capacities)
        let all = capacities[Int(zone.localities) - 1]
        if all == 0 {
            // Rounding ate all of it.
            counters.zoneNoCapacityLeft &+= 1
            return UInt32(random.below(zone.localities))
        }
        let point = random.below(all)
        var number = 0
        while point >= Int(capacities[number]) { number += 1 }
        return UInt32(number)
    }
}
