import Bytes
import Reactor

/// The hosts of a cluster as they stand, and everything about them that picking needs, worked out: who is healthy at which
/// priority, how load is shared, which subsets there are, the hash tables.
///
/// An immutable snapshot, made off the loops and shared by all workers; each keeps what moves (rotations, active requests)
/// in a `Balancer`. Names of hosts (`HostID`) and hash tables that are the same pass from one snapshot to the next.
final class HostSet: Sendable {
    // A proxy has thousands of these. What most have alike they share, and what nobody asks for while requests run is worked
    // out when it is asked for.
    private let sharedConfig: Shared<BalanceConfig>
    private let sharedLocal: Shared<LocalCluster>?
    let places: [HostPlace]
    let overprovisioningFactor: UInt32
    let weightedPriorityHealth: Bool
    /// Why zone-aware routing is off although asked for.
    let zoneObstacle: ZoneRouting.Obstacle?
    /// Hosts that could not be in a `single_host_per_subset` because another was (`lb_subsets_single_host_per_subset_duplicate`).
    let singleHostDuplicates: Int
    /// How many subsets there are (`lb_subsets_active`).
    let subsetCount: Int

    /// nil while no slot was ever used again.
    private let laterGenerations: [UInt32]?
    let tables: [HashTable]
    /// What is no number of the hosts, by their places here; nil when there is no such thing.
    private let details: [HostDetails]?
    /// The memory behind `view`.
    private let memory: HostMemory

    var view: HostView { memory.view }

    var config: BalanceConfig { _read { yield sharedConfig.value } }

    /// The proxy's own cluster, as it stood when this was made.
    var local: LocalCluster? { sharedLocal?.value }

    /// Generations by slot; a host's name is good while its slot's generation is its own.
    var generations: [UInt32] { laterGenerations ?? Array(repeating: 1, count: view.slotCount) }

    /// By priority, and within one in the order of discovery.
    var hosts: HostList { HostList(self) }

    /// What each priority of the whole cluster has.
    var availability: [PriorityAvailability] {
        var result = Array(
            repeating: PriorityAvailability(overprovisioningFactor: overprovisioningFactor),
            count: (places.map(\.priority).max() ?? 0) + 1)
        for index in 0..<view.hostCount {
            result[places[place(index)].priority].count(view.facts[index], byWeight: weightedPriorityHealth)
        }
        return result
    }

    /// How load is shared among the whole cluster's priorities.
    var load: PriorityLoad { PriorityLoad(availability, panicThreshold: config.panicThreshold) }

    /// What discovery says now. Hosts that were in `previous` (by address) keep their names and what checks and outlier
    /// detection know of them; others join.
    convenience init(
        _ assignment: EndpointAssignment, _ config: BalanceConfig, membership: Membership = Membership(),
        previous: HostSet? = nil, local: LocalCluster? = nil, now: MonotonicTime
    ) {
        self.init(
            assignment, Shared(config), membership: membership, previous: previous, local: local, now: now)
    }

    /// The same with a configuration that other sets have too.
    convenience init(
        _ assignment: EndpointAssignment, _ config: Shared<BalanceConfig>, membership: Membership = Membership(),
        previous: HostSet? = nil, local: LocalCluster? = nil, now: MonotonicTime
    ) {
        var roll = HostRoll(previous)
        var places: [HostPlace] = []
        var hosts: [Host] = []
        for locality in assignment.localities.sorted(by: { $0.priority < $1.priority }) {
            places.append(
                HostPlace(locality: locality.locality, priority: max(locality.priority, 0), weight: locality.weight))
            for endpoint in locality.endpoints {
                hosts.append(roll.enter(endpoint, place: UInt32(places.count - 1), membership, now))
            }
        }
        if membership.keepsRemovedWhileHealthy {
            for host in roll.left where !host.health.contains(.failedActiveCheck) {
                let place = previous!.places[Int(host.place)]
                if !places.contains(where: { $0.priority == place.priority && $0.locality == place.locality }) {
                    places.append(place)
                }
                let index = places.firstIndex { $0.priority == place.priority && $0.locality == place.locality }!
                hosts.append(roll.keep(host, place: UInt32(index)))
            }
            hosts = stablySorted(hosts) { places[Int($0.place)].priority < places[Int($1.place)].priority }
        }
        self.init(
            hosts, places, config, overprovisioningFactor: assignment.overprovisioningFactor,
            weightedPriorityHealth: assignment.weightedPriorityHealth, local: local.map { Shared($0) },
            previous: previous, generations: roll.generations)
    }

    /// The same hosts, of which some have another health. A host whose check succeeds after it failed starts slowly again;
    /// one that discovery dropped goes when its check fails. Unknown names are ignored.
    func changing(_ changes: [HostID: HostHealth], now: MonotonicTime) -> HostSet {
        var changed: [Host] = []
        changed.reserveCapacity(view.hostCount)
        for var host in hosts {
            if let health = changes[host.id] {
                if host.health.contains(.failedActiveCheck), !health.contains(.failedActiveCheck) {
                    host.healthySince = now
                }
                host.health = health
            }
            if host.health.isSuperset(of: [.pendingRemoval, .failedActiveCheck]) { continue }
            changed.append(host)
        }
        return rebuilt(changed, local: sharedLocal)
    }

    /// The same hosts beside another local cluster.
    func beside(_ local: LocalCluster?) -> HostSet { rebuilt(Array(hosts), local: local.map { Shared($0) }) }

    private func rebuilt(_ hosts: [Host], local: Shared<LocalCluster>?) -> HostSet {
        HostSet(
            hosts, places, sharedConfig, overprovisioningFactor: overprovisioningFactor,
            weightedPriorityHealth: weightedPriorityHealth, local: local, previous: self, generations: generations)
    }

    private init(
        _ hosts: [Host], _ places: [HostPlace], _ config: Shared<BalanceConfig>, overprovisioningFactor: UInt32,
        weightedPriorityHealth: Bool, local: Shared<LocalCluster>?, previous: HostSet?, generations: [UInt32]
    ) {
        sharedConfig = config
        sharedLocal = local
        self.places = places == HostPlace.only ? HostPlace.only : exactly(places)
        self.overprovisioningFactor = overprovisioningFactor
        self.weightedPriorityHealth = weightedPriorityHealth
        laterGenerations = generations.allSatisfy { $0 == 1 } ? nil : exactly(generations)
        details = HostDetails.of(hosts)
        var builder = HostSetBuilder(
            hosts: hosts, places: places, config: config.value, overprovisioningFactor: overprovisioningFactor,
            weightedPriorityHealth: weightedPriorityHealth, local: local?.value,
            reusing: previous?.config.policy == config.value.policy ? previous?.tables ?? [] : [])
        builder.addCluster()
        zoneObstacle = builder.zoneObstacle
        singleHostDuplicates = builder.singleHostDuplicates
        subsetCount = builder.subsets.count
        tables = builder.tables
        memory = HostMemory(builder, slotCount: generations.count)
    }

    /// A host's place here, by its name; nil when it is gone.
    func index(of id: HostID) -> HostIndex? {
        let view = view
        return (0..<view.hostCount).first { view.facts[$0].id == id }.map { HostIndex(UInt32($0)) }
    }

    subscript(index: HostIndex) -> Host {
        let number = Int(index.rawValue)
        precondition(number < view.hostCount, "a place in this set")
        let facts = view.facts[number]
        let details = details?[number]
        return Host(
            id: facts.id, address: details?.address ?? view.addresses[number].socketAddress,
            hostname: details?.hostname ?? "", weight: facts.weight, health: facts.health,
            place: UInt32(place(number)), marks: facts.marks, metadata: details?.metadata,
            healthySince: MonotonicTime(nanoseconds: facts.healthySince))
    }

    private func place(_ number: Int) -> Int { places.count == 1 ? 0 : Int(view.places[number]) }

    func level(of index: HostIndex) -> Int { places[place(Int(index.rawValue))].priority }
}

/// What becomes of hosts that join and leave.
struct Membership: Hashable, Sendable {
    /// With active health checks a host starts as `failedActiveCheck`, and with `ignore_new_hosts_until_first_hc` also as
    /// `pendingFirstCheck`.
    var newHosts: HostHealth = []
    /// With active health checks, a host that discovery drops stays until its check fails (`ignore_health_on_host_removal`
    /// turns it off).
    var keepsRemovedWhileHealthy = false
}

/// Stable, as the standard library's sort happens to be but does not promise.
func stablySorted<Element>(_ elements: [Element], by isBefore: (Element, Element) -> Bool) -> [Element] {
    elements.enumerated().sorted { a, b in
        isBefore(a.element, b.element) || !isBefore(b.element, a.element) && a.offset < b.offset
    }.map(\.element)
}

/// The same elements without room for more: snapshots are many and never grow.
private func exactly<Element>(_ elements: [Element]) -> [Element] {
    elements.capacity == elements.count
        ? elements
        : Array(unsafeUninitializedCapacity: elements.count) { memory, count in
            for element in elements {
                memory.initializeElement(at: count, to: element)
                count += 1
            }
        }
}
