import Bytes
import Reactor

/// A cluster on one worker: its place in the balancing, and its pools. Made when the worker first needs it. Another snapshot
/// of the same settings changes its hosts; other settings are another state, and this one ends with what it carries.
package final class ClusterState {
    unowned let worker: ProxyWorker
    package private(set) var snapshot: ClusterSnapshot
    let settings: ClusterSettings
    package let stats: ClusterStats
    private var balancer: Balancer
    /// By slot of the host, for each kind of pool that requests of this cluster came to need.
    private var pools: [[HostPool?]] = Array(repeating: [], count: HostPool.Kind.count)
    /// What routes ask of the subsets, by their criteria. Whoever picks by one holds its criteria, too.
    private var queries = ConfigurationCache<HostMetadata, SubsetQuery>()
    /// It gets no pools any more: nobody would close them.
    private(set) var isRetired = false
    /// What the mesh's statistics know its Service by; found when it is asked for first.
    private(set) lazy var watchNumber: UInt32 = worker.watch.stats?.number(of: settings) ?? 0
    /// Of an ORIGINAL_DST cluster.
    private let destinations: DestinationHosts?
    /// Of a cluster whose hosts may refuse TLS.
    var plaintextHosts = PlaintextPeers()
    /// Of an aggregate cluster.
    private let members: AggregateMembers?

    init(_ worker: ProxyWorker, _ snapshot: ClusterSnapshot, _ stats: ClusterStats) {
        self.worker = worker
        self.snapshot = snapshot
        self.stats = stats
        settings = snapshot.settings
        balancer = Balancer(snapshot.hosts, random: &worker.random)
        switch settings.discovery {
        case .originalDestination(let destination):
            destinations = DestinationHosts(worker.loop, interval: destination.cleanupInterval)
            members = nil
        case .aggregate(let ids):
            destinations = nil
            members = AggregateMembers(ids, panicThreshold: settings.balance.value.panicThreshold, worker)
        case .fixed, .names, .file, .discovered: (destinations, members) = (nil, nil)
        }
    }

    var breakers: CircuitBreakers { settings.breakers }

    /// Takes over a new snapshot of the same settings: pools of hosts that stay go on, those of hosts that left, or are spoken to in
    /// another way now, finish what they carry.
    func update(_ snapshot: ClusterSnapshot) {
        self.snapshot = snapshot
        balancer.adopt(snapshot.hosts, random: &worker.random)
        var present: [Host?] = Array(repeating: nil, count: snapshot.hosts.view.slotCount)
        var failed = Set<HostID>()
        for host in snapshot.hosts.hosts {
            present[Int(host.id.slot)] = host
            if settings.options.closesOnHealthFailure, !host.health.isDisjoint(with: [.failedActiveCheck, .ejected]) {
                failed.insert(host.id)
            }
        }
        for kind in pools.indices {
            for slot in pools[kind].indices {
                guard let pool = pools[kind][slot] else { continue }
                let host = present[slot]
                if host?.id != pool.host.id || host?.metadata?.transport != pool.host.metadata?.transport {
                    pools[kind][slot] = nil
                    pool.retire()
                } else if failed.contains(pool.host.id) {
                    pool.closeAll()
                } else if settings.options.closesOnHostSetChange {
                    pool.closeIdle()
                }
            }
        }
    }

    /// The worker has no such cluster any more, or another in its place.
    func retire() {
        isRetired = true
        let all = pools
        pools = Array(repeating: [], count: HostPool.Kind.count)
        for pool in all.joined() { pool?.retire() }
        destinations?.retire()
    }

    /// The cluster of this name as the worker has it now: this one, or what came in its place; nil when nothing did.
    var present: ClusterState? { isRetired ? worker.cluster(snapshot.id) : self }

    /// What was counted of the hosts that it has pools of.
    var hostStats: [(address: SocketAddress, stats: HostStats)] {
        if let destinations { return destinations.stats }
        return pools.joined().compactMap { pool in pool.map { ($0.address, $0.hostStats) } }
    }

    // MARK: Choosing

    /// Hosts that may be sent to, and all of them.
    var hostCounts: (healthy: Int, all: Int) {
        let hosts = snapshot.hosts.hosts
        return (hosts.count { $0.health.availability == .healthy }, hosts.count)
    }

    /// The pool of the host that the next attempt goes to; nil when there is none.
    func choose(_ stream: HTTPStream) -> HostPool? {
        guard let members else { return choose(stream, stream.pick) }
        guard let (member, load) = members.choose(hash: stream.pick.hash) else { return nil }
        var request = stream.pick
        request.load = load
        request.subset = member.subsets(stream.matchCriteria)
        return member.choose(stream, request)
    }

    private func choose(_ stream: HTTPStream, _ request: borrowing PickRequest) -> HostPool? {
        if case .originalDestination(let destination) = settings.discovery {
            switch destination.address(of: stream) {
            case .address(let address): return destinations?.pool(address, kind(for: stream), of: self)
            case .unknown: return nil
            case .invalid:
                stats.invalidDestinations &+= 1
                return nil
            }
        }
        guard let index = pick(request) else { return nil }
        return pool(index, kind(for: stream))
    }

    private func kind(for stream: HTTPStream) -> HostPool.Kind {
        let usesHTTP2 =
            switch settings.options.upstreamProtocol {
            case .http2: true
            case .downstream: stream.version == .http2
            case .http1, .auto: false
            }
        return HostPool.Kind(usesHTTP2: usesHTTP2, isHighPriority: stream.isHighPriority)
    }

    /// The host of a connection of another protocol, and the cluster that it belongs to; nil when there is none.
    func choose(
        _ request: borrowing PickRequest, _ criteria: HostMetadata?, _ origin: ConnectionOrigin
    ) -> (cluster: ClusterState, host: Host)? {
        if let members {
            guard let (member, load) = members.choose(hash: request.hash) else { return nil }
            let inner = PickRequest(hash: request.hash, subset: member.subsets(criteria), load: load)
            // Aggregates of aggregates have no hosts of their own.
            return member.members == nil ? member.choose(inner, criteria, origin) : nil
        }
        if case .originalDestination(let destination) = settings.discovery {
            guard case .address(let address) = destination.address(of: origin),
                let host = destinations?.host(address)
            else { return nil }
            return (self, host)
        }
        return pick(request).map { (self, snapshot.hosts[$0]) }
    }

    private func pick(_ request: borrowing PickRequest) -> HostIndex? {
        switch balancer.pick(request, now: worker.loop.turnTime, random: &worker.random) {
        case .host(let index): index
        case .none, .originalDestination: nil
        }
    }

    /// What a route's criteria ask of the cluster's subsets; made once for each route.
    func subsets(_ criteria: HostMetadata?) -> SubsetQuery.View? {
        guard let config = settings.balance.value.subsets, let criteria else { return nil }
        return queries.value(for: criteria) { config.query(criteria.balancing) }.view
    }

    private func pool(_ index: HostIndex, _ kind: HostPool.Kind) -> HostPool {
        assert(!isRetired)
        let id = snapshot.hosts.view.facts[Int(index.rawValue)].id
        let slot = Int(id.slot)
        if slot < pools[kind.number].count, let pool = pools[kind.number][slot] { return pool }
        if pools[kind.number].count <= slot {
            pools[kind.number] += Array(repeating: nil, count: slot + 1 - pools[kind.number].count)
        }
        let pool = HostPool(self, snapshot.hosts[index], kind)
        pools[kind.number][slot] = pool
        return pool
    }

    // MARK: Requests under way

    func began(_ id: HostID) {
        if let destinations { destinations.began(id) } else { balancer.begin(id) }
    }

    func ended(_ id: HostID) {
        if let destinations { destinations.ended(id) } else { balancer.end(id) }
    }

    /// How something with a host ended, for outlier detection.
    func record(_ outcome: OutlierTally.Outcome, of id: HostID) {
        guard let reporting = snapshot.outliers, Int(id.slot) < reporting.tallies.count,
            let tally = reporting.tallies[Int(id.slot)]
        else { return }
        let runs = tally.record(outcome, reporting.config)
        if !runs.isEmpty { reporting.runsCompleted(id, runs) }
    }

    /// Under Envoy's names, without those of the whole cluster.
    var balanceCounters: BalanceCounters { balancer.counters }
}
