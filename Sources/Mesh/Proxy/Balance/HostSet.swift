import Bytes
import Reactor

/// The hosts of a cluster as they stand, and everything about them that picking needs, worked out: who is healthy at which
/// priority, how load is shared, which subsets there are, the hash tables.
///
/// An immutable snapshot, made off the loops and shared by all workers; each keeps what moves (rotations, active requests)
/// in a `Balancer`. Names of hosts (`HostID`) and hash tables that are the same pass from one snapshot to the next.
final class HostSet: Sendable {
    let config: BalanceConfig
    /// By priority, and within one in the order of discovery.
    let hosts: [Host]
    let places: [HostPlace]
    let overprovisioningFactor: UInt32
    let weightedPriorityHealth: Bool
    /// The proxy's own cluster, as it stood when this was made.
    let local: LocalCluster?
    /// What each priority of the whole cluster has.
    let availability: [PriorityAvailability]
    /// Why zone-aware routing is off although asked for.
    let zoneObstacle: ZoneRouting.Obstacle?
    /// Hosts that could not be in a `single_host_per_subset` because another was (`lb_subsets_single_host_per_subset_duplicate`).
    let singleHostDuplicates: Int
    /// How many subsets there are (`lb_subsets_active`).
    let subsetCount: Int

    /// Generations by slot; a host's name is good while its slot's generation is its own.
    let generations: [UInt32]
    let tables: [HashTable]
    /// The memory behind `view`.
    private let memory: HostMemory

    var view: HostView { memory.view }

    /// How load is shared among the whole cluster's priorities.
    var load: PriorityLoad { PriorityLoad(availability, panicThreshold: config.panicThreshold) }

    /// What discovery says now. Hosts that were in `previous` (by address) keep their names and what checks and outlier
    /// detection know of them; others join.
    convenience init(
        _ assignment: EndpointAssignment, _ config: BalanceConfig, membership: Membership = Membership(),
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
            weightedPriorityHealth: assignment.weightedPriorityHealth, local: local, previous: previous,
            generations: roll.generations)
    }

    /// The same hosts, of which some have another health. A host whose check succeeds after it failed starts slowly again;
    /// one that discovery dropped goes when its check fails. Unknown names are ignored.
    func changing(_ changes: [HostID: HostHealth], now: MonotonicTime) -> HostSet {
        var changed: [Host] = []
        changed.reserveCapacity(hosts.count)
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
        return rebuilt(changed, local: local)
    }

    /// The same hosts beside another local cluster.
    func beside(_ local: LocalCluster?) -> HostSet { rebuilt(hosts, local: local) }

    private func rebuilt(_ hosts: [Host], local: LocalCluster?) -> HostSet {
        HostSet(
            hosts, places, config, overprovisioningFactor: overprovisioningFactor,
            weightedPriorityHealth: weightedPriorityHealth, local: local, previous: self, generations: generations)
    }

    private init(
        _ hosts: [Host], _ places: [HostPlace], _ config: BalanceConfig, overprovisioningFactor: UInt32,
        weightedPriorityHealth: Bool, local: LocalCluster?, previous: HostSet?, generations: [UInt32]
    ) {
        self.config = config
        self.hosts = exactly(hosts)
        self.places = exactly(places)
        self.overprovisioningFactor = overprovisioningFactor
        self.weightedPriorityHealth = weightedPriorityHealth
        self.local = local
        self.generations = exactly(generations)
        var builder = HostSetBuilder(
            hosts: hosts, places: places, config: config, overprovisioningFactor: overprovisioningFactor,
            weightedPriorityHealth: weightedPriorityHealth, local: local,
            reusing: previous?.config.policy == config.policy ? previous?.tables ?? [] : [])
        availability = builder.addCluster()
        zoneObstacle = builder.zoneObstacle
        singleHostDuplicates = builder.singleHostDuplicates
        subsetCount = builder.subsets.count
        tables = builder.tables
        memory = HostMemory(builder, slotCount: generations.count)
    }

    /// A host's place here, by its name; nil when it is gone.
    func index(of id: HostID) -> HostIndex? {
        hosts.firstIndex { $0.id == id }.map { HostIndex(UInt32($0)) }
    }

    subscript(index: HostIndex) -> Host { hosts[Int(index.rawValue)] }

    func level(of index: HostIndex) -> Int { places[Int(self[index].place)].priority }
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
