import Bytes
import JSON

/// Works out a `HostSet`: lays priorities, localities, subsets and hash tables into flat arrays. Once for each change of a
/// cluster, off the loops; its cost is proportional to the cluster's hosts (times the subsets that they are in).
struct HostSetBuilder {
    let hosts: [Host]
    let places: [HostPlace]
    let config: BalanceConfig
    let overprovisioningFactor: UInt32
    let weightedPriorityHealth: Bool
    let local: LocalCluster?

    var facts: [HostFacts] = []
    var members: [UInt32] = []
    var groups: [HostGroup] = []
    var levels: [PriorityLevel] = []
    var sections: [HostSection] = []
    var shares: [Double] = []
    var capacities: [UInt32] = []
    var hashed: [HashedLevel] = []
    var subsets: [(key: SubsetKey, section: UInt32)] = []
    var tables: [HashTable] = []
    var anySection = UInt32.none
    var defaultSection = UInt32.none
    var zoneObstacle: ZoneRouting.Obstacle?
    var singleHostDuplicates = 0

    /// Tables of the snapshot before, by their targets.
    let reusable: [[HashTarget]: HashTable]
    let priorityCount: Int
    /// The localities of each priority in the order that they are numbered in: the proxy's own first.
    let localities: [[Locality]]

    init(
        hosts: [Host], places: [HostPlace], config: BalanceConfig, overprovisioningFactor: UInt32,
        weightedPriorityHealth: Bool, local: LocalCluster?, reusing tables: [HashTable]
    ) {
        self.hosts = hosts
        self.places = places
        self.config = config
        self.overprovisioningFactor = overprovisioningFactor
        self.weightedPriorityHealth = weightedPriorityHealth
        self.local = local
        reusable = Dictionary(tables.map { ($0.targets, $0) }, uniquingKeysWith: { first, _ in first })
        priorityCount = (places.map(\.priority).max() ?? 0) + 1
        var present = Array(repeating: Set<Locality>(), count: priorityCount)
        for host in hosts {
            let place = places[Int(host.place)]
            present[place.priority].insert(place.locality)
        }
        localities = present.map { localities in
            localities.sorted { a, b in a == b ? false : a == local?.own ? true : b == local?.own ? false : a < b }
        }
        facts = hosts.map {
            HostFacts(
                id: $0.id, weight: $0.weight, health: $0.health, marks: $0.marks,
                healthySince: $0.healthySince.nanoseconds)
        }
    }

    /// The weights of a priority's localities, in the order of their numbers.
    func weights(of priority: Int) -> [UInt32] {
        localities[priority].map { locality in
            places.last { $0.priority == priority && $0.locality == locality && $0.weight != nil }?.weight ?? 0
        }
    }

    /// Lays out everything.
    mutating func addCluster() {
        let everyone = facts.indices.map(UInt32.init)
        addSection(key: 0, everyone, weights: (0..<priorityCount).map(weights))
        if let subsets = config.subsets { addSubsets(subsets, everyone) }
    }

    mutating func addSection(
        key: UInt64, _ chosen: [UInt32], weights: [[UInt32]]?, single: UInt32 = .none
    ) {
        let first = levels.count
        let byPriority = Dictionary(grouping: chosen) { places[Int(hosts[Int($0)].place)].priority }
        let availability = (0..<priorityCount).map { measure(byPriority[$0] ?? []) }
        let load = PriorityLoad(availability, panicThreshold: config.panicThreshold)
        for priority in 0..<priorityCount {
            let weights = config.locality == .weighted ? weights?[priority] : nil
            var level = addLevel(
                key, priority, byPriority[priority] ?? [], weights: weights, inPanic: load.isInPanic[priority])
            level.healthyLoad = load.healthy[priority]
            level.degradedLoad = load.degraded[priority]
            levels.append(level)
        }
        let section = HostSection(
            firstLevel: UInt32(first), levelCount: UInt32(priorityCount), hostCount: UInt32(chosen.count),
            direct: directGroup(levels[first]), single: single,
            newestHealthySince: chosen.map { facts[Int($0)].healthySince }.max() ?? 0)
        sections.append(section)
    }

    /// The group that serves everything when the first priority carries all load and nothing else decides.
    private func directGroup(_ level: PriorityLevel) -> UInt32 {
        level.healthyLoad == 100 && !level.isInPanic && level.healthyLocalities == .none && level.zone.mode == .off
            && level.hashed == .none ? level.healthy : .none
    }

    private func measure(_ chosen: [UInt32]) -> PriorityAvailability {
        var result = PriorityAvailability(overprovisioningFactor: overprovisioningFactor)
        for host in chosen { result.count(facts[Int(host)], byWeight: weightedPriorityHealth) }
        return result
    }

    private mutating func addLevel(
        _ key: UInt64, _ priority: Int, _ chosen: [UInt32], weights: [UInt32]?, inPanic: Bool
    ) -> PriorityLevel {
        let healthy = chosen.filter { facts[Int($0)].health.availability == .healthy }
        let degraded = chosen.filter { facts[Int($0)].health.availability == .degraded }
        var level = PriorityLevel(isInPanic: inPanic)
        let healthyIsAll = healthy.count == chosen.count
        level.all = addGroup(key, priority, .all, chosen)
        level.healthy = addGroup(key, priority, .healthy, healthy, sharing: healthyIsAll ? level.all : .none)
        level.degraded = addGroup(key, priority, .degraded, degraded)

        let isZoneAware = priority == 0 && local != nil && config.locality != .weighted
        let names = localities[priority]
        if !config.policy.isHashing, weights != nil || isZoneAware {
            let grouped = Dictionary(grouping: chosen) { places[Int(hosts[Int($0)].place)].locality }
            level.localities = UInt32(groups.count)
            for name in names {
                let there = grouped[name] ?? []
                addGroup(
                    key, priority, .localHealthy, there.filter { facts[Int($0)].health.availability == .healthy }, name)
                addGroup(
                    key, priority, .localDegraded, there.filter { facts[Int($0)].health.availability == .degraded },
                    name)
            }
            if let weights {
                level.healthyLocalities = addShares(key, priority, .healthyLocalities, grouped, weights, .healthy)
                level.degradedLocalities = addShares(key, priority, .degradedLocalities, grouped, weights, .degraded)
            }
            if isZoneAware { level.zone = addZoneRouting(names, grouped, isCluster: key == 0) }
        }
        if config.policy.isHashing { level.hashed = addTable(priority, inPanic ? chosen : healthy, weights) }
        return level
    }

    @discardableResult
    private mutating func addGroup(
        _ key: UInt64, _ priority: Int, _ kind: HostGroupKind, _ chosen: [UInt32], _ locality: Locality? = nil,
        sharing other: UInt32 = .none
    ) -> UInt32 {
        var contents = Fingerprint()
        for host in chosen {
            let facts = facts[Int(host)]
            contents.combine(UInt64(facts.id.slot) << 32 | UInt64(facts.id.generation))
            contents.combine(UInt64(facts.weight))
        }
        var start = UInt32(members.count)
        if other != .none { start = groups[Int(other)].start } else { members += chosen }
        let weight = chosen.first.map { facts[Int($0)].weight }
        groups.append(
            HostGroup(
                start: start, count: UInt32(chosen.count),
                hasEqualWeights: chosen.allSatisfy { facts[Int($0)].weight == weight },
                key: groupKey(key, priority, kind, locality), contents: contents.value))
        return UInt32(groups.count - 1)
    }

    private func groupKey(_ key: UInt64, _ priority: Int, _ kind: HostGroupKind, _ locality: Locality?) -> UInt64 {
        var name = Fingerprint(key)
        name.combine(UInt64(priority))
        name.combine(kind.rawValue)
        if let locality {
            name.combine(locality.region)
            name.combine(locality.zone)
            name.combine(locality.subZone)
        }
        return name.value
    }

    /// A group of localities, each with its weight as far as its hosts are available; `none` when no locality has any.
    private mutating func addShares(
        _ key: UInt64, _ priority: Int, _ kind: HostGroupKind, _ grouped: [Locality: [UInt32]], _ weights: [UInt32],
        _ availability: HostHealth.Availability
    ) -> UInt32 {
        let effective = localities[priority].indices.map { i -> Double in
            let there = (grouped[localities[priority][i]] ?? []).map { facts[Int($0)].health }
            let counted = there.count { !$0.isExcluded }
            guard counted > 0 else { return 0 }
            let ratio = Double(there.count { $0.availability == availability }) / Double(counted)
            return Double(weights[i]) * min(1, Double(overprovisioningFactor) / 100 * ratio)
        }
        guard effective.contains(where: { $0 > 0 }) else { return .none }
        var contents = Fingerprint()
        for (i, share) in effective.enumerated() {
            contents.combine(localities[priority][i].region)
            contents.combine(localities[priority][i].zone)
            contents.combine(localities[priority][i].subZone)
            contents.combine(share.bitPattern)
        }
        groups.append(
            HostGroup(
                start: UInt32(shares.count), count: UInt32(effective.count), hasEqualWeights: false,
                key: groupKey(key, priority, kind, nil), contents: contents.value))
        shares += effective
        return UInt32(groups.count - 1)
    }

    private mutating func addZoneRouting(
        _ names: [Locality], _ grouped: [Locality: [UInt32]], isCluster: Bool
    ) -> ZoneRouting {
        guard case .zoneAware(let zoneAware) = config.locality, let local else { return .off }
        let zones = names.map { name -> (locality: Locality, zone: LocalCluster.Zone) in
            let there = grouped[name] ?? []
            let healthy = there.filter { facts[Int($0)].health.availability == .healthy }
            return (
                name,
                LocalCluster.Zone(
                    hosts: there.count, healthy: healthy.count,
                    healthyWeight: healthy.reduce(0) { $0 + UInt64(facts[Int($1)].weight) })
            )
        }
        var plan = ZoneRouting.plan(zones, local, zoneAware, panicThreshold: config.panicThreshold)
        if isCluster { zoneObstacle = plan.obstacle }
        plan.routing.capacities = UInt32(capacities.count)
        capacities += plan.capacities
        return plan.routing
    }
}
