import Bytes
import Glibc
import Reactor

/// One worker's choice of hosts in one cluster: the newest snapshot, and what moves beside it.
///
/// A pick takes no lock, allocates nothing and touches no reference count, except that the first weighted pick from a group
/// that changed makes the group's schedule. Belongs to one loop.
struct Balancer: ~Copyable {
    /// What picks are made from.
    private(set) var set: HostSet
    private(set) var view: HostView
    private(set) var active = ActiveRequests()
    /// By number of group.
    var rotations: [Rotation] = []
    /// Room for the order in which a bounded load looks for another host.
    var probes: [UInt32] = []
    // What picking asks of the configuration, where no reference is in the way.
    let policy: BalancePolicy
    let locality: LocalityBalance
    private let overrideHostStatus: HealthStatusSet
    private let subsetFallback: SubsetConfig.Fallback
    private let panicsToAnyHost: Bool
    /// Nanoseconds; 0 without slow start.
    private let slowStartWindow: UInt64
    var counters = BalanceCounters()

    /// `set`'s configuration stays that of the balancer: a cluster whose configuration changed is another one.
    init(_ set: HostSet, random: inout some RandomSource) {
        self.set = set
        view = set.view
        policy = set.config.policy
        locality = set.config.locality
        overrideHostStatus = set.config.overrideHostStatus
        subsetFallback = set.config.subsets?.fallback ?? .noFallback
        panicsToAnyHost = set.config.subsets?.panicModeAny ?? false
        slowStartWindow = set.config.policy.slowStart.map { UInt64(clamping: $0.window.saturatedNanoseconds) } ?? 0
        install(random: &random, keeping: [:])
    }

    /// Goes on with a newer snapshot of the same cluster. Rotations of groups that are still there go on where they are, and
    /// requests under way stay counted.
    mutating func adopt(_ set: HostSet, random: inout some RandomSource) {
        var kept: [UInt64: Rotation] = [:]
        for i in rotations.indices { kept[view.groups[i].key] = rotations[i] }
        rotations = []
        self.set = set
        view = set.view
        install(random: &random, keeping: kept)
    }

    private mutating func install(random: inout some RandomSource, keeping kept: [UInt64: Rotation]) {
        active.makeRoom(for: view.slotCount)
        rotations = (0..<view.groupCount).map { kept[view.groups[$0].key] ?? Rotation(cursor: random.next()) }
        var bounded = 0
        for level in 0..<Int(view.sections[0].levelCount) where view.levels[level].hashed != .none {
            bounded = max(bounded, Int(view.hashed[Int(view.levels[level].hashed)].count))
        }
        if balanceFactor > 0, probes.count < bounded { probes = Array(repeating: 0, count: bounded) }
    }

    // MARK: Requests under way

    /// A request, or on TCP a connection, went to a host.
    mutating func begin(_ id: HostID) { active.begin(id) }

    mutating func end(_ id: HostID) { active.end(id) }

    func activeRequests(_ id: HostID) -> UInt32 { active[id] }

    var totalActiveRequests: Int { active.total }

    // MARK: Picking

    /// Chooses a host. `now` counts for slow start only.
    mutating func pick(_ request: borrowing PickRequest, now: MonotonicTime, random: inout some RandomSource) -> Pick {
        if case .originalDestination = policy { return .originalDestination }
        if let sticky = request.sticky {
            if let index = set.host(at: sticky.endpoint),
                overrideHostStatus.contains(view.facts[Int(index.rawValue)].health.status)
            {
                return .host(index)
            }
            if sticky.isStrict { return .none(.stickyHostUnavailable) }
        }
        if view.anySection != .none { return pickSubset(request, now, &random) }
        return pick(HostView.clusterSection, request, now, &random)
    }

    private mutating func pickSubset(
        _ request: borrowing PickRequest, _ now: MonotonicTime, _ random: inout some RandomSource
    ) -> Pick {
        guard let query = request.subset else { return fallBack(request, now, &random) }
        var result = Pick.none(.noSubset)
        for number in 0..<query.stepCount {
            result = pickSubset(query.steps[number], query.keys, request, now, &random)
            if case .host = result { return result }
        }
        return result
    }

    private mutating func pickSubset(
        _ step: SubsetQuery.Step, _ keys: UnsafePointer<SubsetKey>, _ request: borrowing PickRequest,
        _ now: MonotonicTime, _ random: inout some RandomSource
    ) -> Pick {
        for number in step.firstKey..<step.firstKey + step.keyCount {
            let section = view.subsets.section(keys[Int(number)])
            guard section != .none else { continue }
            counters.subsetsSelected &+= 1
            // A subset that is there is the answer, also when none of its hosts will do.
            return pick(section, request, now, &random)
        }
        switch step.otherwise {
        case .nothing: return .none(.noSubset)
        case .anyHost: return pick(view.anySection, request, now, &random)
        case .defaultSubset: return pick(view.defaultSection, request, now, &random)
        case .clusterFallback: return fallBack(request, now, &random)
        }
    }

    private mutating func fallBack(
        _ request: borrowing PickRequest, _ now: MonotonicTime, _ random: inout some RandomSource
    ) -> Pick {
        guard subsetFallback != .noFallback else { return .none(.noSubset) }
        let section = subsetFallback == .anyEndpoint ? view.anySection : view.defaultSection
        var result = pick(section, request, now, &random)
        if case .host = result {
            counters.subsetsFallback &+= 1
        } else if panicsToAnyHost {
            result = pick(view.anySection, request, now, &random)
            if case .host = result { counters.subsetsFallbackPanic &+= 1 }
        }
        return result
    }

    /// From one section, again while the retry's predicates refuse what was found.
    private mutating func pick(
        _ number: UInt32, _ request: borrowing PickRequest, _ now: MonotonicTime, _ random: inout some RandomSource
    ) -> Pick {
        let section = view.sections[Int(number)]
        if section.hostCount == 0 { return .none(.noHosts) }
        if section.single != .none { return .host(HostIndex(section.single)) }
        // One hash for all attempts: only the attempt's number moves it along the table.
        let hash = policy.isHashing ? request.hash ?? random.next() : 0
        let attempts = request.avoiding?.attempts ?? 0
        var attempt: UInt32 = 0
        while true {
            let result =
                policy.isHashing
                ? pickHashed(section, request, hash, attempt) : pickOnce(section, request, now, &random)
            guard case .host(let index) = result, attempt < attempts,
                request.avoiding?.contains(view.facts[Int(index.rawValue)]) ?? false
            else { return result }
            attempt += 1
        }
    }

    private mutating func pickOnce(
        _ section: HostSection, _ request: borrowing PickRequest, _ now: MonotonicTime,
        _ random: inout some RandomSource
    ) -> Pick {
        var group = section.direct
        if group == .none || request.load != nil {
            switch chooseGroup(section, request, &random) {
            case .group(let number): group = number
            case .failed(let reason): return .none(reason)
            }
        }
        let members = view.groups[Int(group)]
        if members.count == 0 { return .none(.noHealthyHosts) }
        let isStartingSlowly =
            slowStartWindow > 0
            && now.nanoseconds &- min(section.newestHealthySince, now.nanoseconds) <= slowStartWindow
        if case .random = policy {
            return .host(HostIndex(UInt32(view.member(members, random.below(members.count)))))
        }
        if members.hasEqualWeights && !isStartingSlowly {
            if case .leastRequest(let least) = policy { return .host(pickLeast(members, least, &random)) }
            return .host(HostIndex(UInt32(view.member(members, rotations[Int(group)].step(members.count)))))
        }
        return pickScheduled(Int(group), members, now, &random)
    }

    /// With equal weights: the least busy of some that are drawn, or of all.
    private func pickLeast(_ group: HostGroup, _ least: LeastRequest, _ random: inout some RandomSource) -> HostIndex {
        if least.scansAll { return scanForLeast(group, &random) }
        var best = view.member(group, random.below(group.count))
        var load = active[view.facts[best].id]
        for _ in 1..<least.choices {
            let other = view.member(group, random.below(group.count))
            let otherLoad = active[view.facts[other].id]
            if otherLoad < load {
                best = other
                load = otherLoad
            }
        }
        return HostIndex(UInt32(best))
    }

    private func scanForLeast(_ group: HostGroup, _ random: inout some RandomSource) -> HostIndex {
        var best = view.member(group, 0)
        var load = active[view.facts[best].id]
        var tied: UInt32 = 1
        for number in 1..<max(Int(group.count), 1) {
            let other = view.member(group, number)
            let otherLoad = active[view.facts[other].id]
            if otherLoad > load { continue }
            tied = otherLoad == load ? tied + 1 : 1
            // Each of those that tie is left with the same chance.
            if otherLoad < load || random.below(tied) == 0 { best = other }
            load = otherLoad
        }
        return HostIndex(UInt32(best))
    }

    /// With different weights, or while hosts start slowly: whose turn it is.
    private mutating func pickScheduled(
        _ number: Int, _ group: HostGroup, _ now: MonotonicTime, _ random: inout some RandomSource
    ) -> Pick {
        if !rotations[number].isScheduled(for: group) {
            let members = (0..<Int(group.count)).map { view.member(group, $0) }
            let weights = members.map { weight($0, now) }
            rotations[number].reschedule(
                group, names: members.map { view.facts[$0].id }, weight: { weights[$0] }, random: &random)
        }
        guard let turn = rotations[number].next else { return .none(.noHealthyHosts) }
        let host = view.member(group, turn)
        rotations[number].advance(weight: weight(host, now))
        return .host(HostIndex(UInt32(host)))
    }

    /// A host's weight for its next turn.
    @inline(__always)
    private func weight(_ host: Int, _ now: MonotonicTime) -> Double {
        let facts = view.facts[host]
        var weight = Double(facts.weight)
        if case .leastRequest(let least) = policy, least.activeRequestBias > 0 {
            let load = Double(active[facts.id]) + 1
            weight /= least.activeRequestBias == 1 ? load : pow(load, least.activeRequestBias)
        }
        if slowStartWindow > 0, let slowStart = policy.slowStart, facts.health.availability == .healthy {
            weight *= slowStart.factor(after: now.nanoseconds &- min(facts.healthySince, now.nanoseconds))
        }
        return weight
    }
}

extension RandomSource {
    /// Evenly 0..<`bound`, which is above 0; the error is below `bound`/2⁶⁴.
    @inline(__always)
    mutating func below(_ bound: UInt32) -> Int {
        Int(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(bound)).high)
    }
}
