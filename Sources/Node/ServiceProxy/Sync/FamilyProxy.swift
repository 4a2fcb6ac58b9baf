import Bytes
import ClusterAPI
import Netlink
import NodeTables
import Reactor

/// What one apply did.
struct SyncReport: Equatable, Sendable {
    /// Element operations in the kernel: a changed value counts as two.
    var elementWrites = 0
    var deletedFlows = 0
    /// Batches that the kernel refused and that fitted after the table was read again.
    var retries = 0
    /// The whole table was compared, not only what changed.
    var isFull = false
    /// Looking for stale flows, of all of it.
    var conntrack: Duration = .zero

    static func + (a: Self, b: Self) -> Self {
        SyncReport(
            elementWrites: a.elementWrites + b.elementWrites, deletedFlows: a.deletedFlows + b.deletedFlows,
            retries: a.retries + b.retries, isFull: a.isFull || b.isFull, conntrack: a.conntrack + b.conntrack)
    }
}

/// The proxy of one address family: plans, tracks, encodes and commits.
///
/// Belongs to one thread, or loop, at a time.
final class FamilyProxy {
    let family: IPAddress.Family
    private var planner: ServicePlanner
    private(set) var desired = DesiredServices()
    let kernel: KernelTable
    private let conntrack: ConntrackConnection
    private var udpTargets: [StaleFlows.Target] = []
    private var isPrepared = false
    /// Nothing was written since the table was read.
    private var isFresh = true
    /// Service ports that drop, for a Local policy without an endpoint here. Services without such are not in it.
    private var withoutLocal: [ObjectKey: LocalDrops] = [:]
    /// Of all Services together.
    private(set) var localDrops = LocalDrops.none
    private var hasSettled = false

    init(_ family: IPAddress.Family, _ configuration: ServiceProxyConfiguration, namespace: CInt?) throws(NetlinkError)
    {
        self.family = family
        planner = ServicePlanner(family, configuration)
        let table = ServiceTable(family, configuration)
        kernel = try KernelTable(table, owning: configuration.ownsTable, namespace: namespace)
        conntrack = try ConntrackConnection(namespace: namespace)
    }

    /// Makes or adopts the table and reads what is in it.
    func prepare() throws {
        let found = try kernel.prepare()
        desired.tracker.observeAll(found == .created ? PresentElements() : try kernel.readElements())
        desired.adoptIdentifiers()
        isPrepared = true
        isFresh = true
    }

    /// Something else than we changed the table, or we do not know what it holds: everything is read again before the
    /// next apply.
    func distrust() { isPrepared = false }

    func setNodeAddresses(_ addresses: Set<IPAddress>) {
        desired.setNodeAddresses(addresses.filter { $0.family == family && !$0.isLoopback })
    }

    /// Prefixes of addresses that Services may get: what no Service has of them is dropped.
    func setServiceCIDRs(_ prefixes: some Sequence<CIDR>) {
        desired.setServiceRanges(prefixes.filter { $0.address.family == family }.map { AddressRange($0) })
    }

    /// The node's own addresses; whether Services have to be planned anew for them.
    func setNodeIPs(_ addresses: [IPAddress]) -> Bool {
        let mine = addresses.filter { $0.family == family }
        defer { planner.nodeIPs = mine }
        return planner.nodeIPs != mine
    }

    /// Conflicts between Services that came up since the last call.
    func takeConflicts() -> [FrontendConflict] { desired.takeConflicts() }

    /// Plans these Services anew. Nothing is written yet.
    func plan(_ keys: Set<ObjectKey>, _ model: ServiceModel) {
        var open = keys
        // A Service that lets go of a frontend wakes at most those that wait for it, and these cannot wake it again.
        var rounds = 0
        while !open.isEmpty, rounds < 8 {
            var woken: Set<ObjectKey> = []
            for key in hasSettled ? Array(open) : byAge(open, model) {
                let plan = planner.plan(model.service(key), model.slices(of: key))
                let drops = LocalDrops(plan)
                if let former = withoutLocal.removeValue(forKey: key) { localDrops = localDrops - former }
                if drops != .none {
                    withoutLocal[key] = drops
                    localDrops = localDrops + drops
                }
                for port in plan.ports where port.transport == .udp {
                    for frontend in Set(port.frontends.keys).union(port.external.keys) {
                        udpTargets.append(.init(frontend: frontend, serving: port.serving))
                    }
                }
                woken.formUnion(desired.apply(plan, for: key))
            }
            open = woken
            rounds += 1
        }
    }

    /// The oldest first, as they have precedence: so that at a start nobody takes over the list of another one's frontend.
    private func byAge(_ keys: Set<ObjectKey>, _ model: ServiceModel) -> [ObjectKey] {
        keys.map { FrontendClaims.Claimant(created: model.service($0)?.created ?? 0, key: $0) }.sorted().map(\.key)
    }

    /// Writes the difference. After a failure everything is read again and tried once more.
    func commit() throws -> SyncReport {
        var report = SyncReport()
        report.isFull = isFresh || !isPrepared
        do {
            report.elementWrites = try commitOnce()
        } catch let error as NFBatchError where !error.isForbidden {
            distrust()
            report.retries = 1
            report.isFull = true
            report.elementWrites = try commitOnce()
        }
        if !hasSettled {
            desired.settleIdentifiers()
            hasSettled = true
        }
        let targets = udpTargets
        udpTargets = []
        isFresh = false
        if report.elementWrites > 0, !targets.isEmpty {
            let start = MonotonicTime.now()
            defer { report.conntrack = MonotonicTime.now().duration(since: start) }
            report.deletedFlows = try StaleFlows(family: family).forget(targets, through: conntrack)
        }
        return report
    }

    private func commitOnce() throws -> Int {
        if !isPrepared { try prepare() }
        guard !desired.tracker.isSettled else { return 0 }
        let changes = desired.tracker.changes
        do {
            let writes = try kernel.commit(changes)
            desired.tracker.confirm(changes)
            return writes
        } catch {
            isPrepared = false
            throw error
        }
    }

    /// Reads the whole table and compares: what a resync found wrong, and will write.
    func audit() throws -> Int {
        try prepare()
        return desired.tracker.pendingCount
    }
}

/// How many service ports have endpoints but, for a policy that wants local ones, none to use.
struct LocalDrops: Equatable, Sendable {
    var byInternalPolicy = 0
    var byExternalPolicy = 0

    static let none = LocalDrops()

    static func + (a: Self, b: Self) -> Self {
        LocalDrops(
            byInternalPolicy: a.byInternalPolicy + b.byInternalPolicy,
            byExternalPolicy: a.byExternalPolicy + b.byExternalPolicy)
    }

    static func - (a: Self, b: Self) -> Self {
        LocalDrops(
            byInternalPolicy: a.byInternalPolicy - b.byInternalPolicy,
            byExternalPolicy: a.byExternalPolicy - b.byExternalPolicy)
    }
}

extension LocalDrops {
    init(_ plan: ServicePlan) {
        for port in plan.ports {
            if port.external.values.contains(.drop) { byExternalPolicy += 1 }
            if plan.clusterIPs.contains(where: { address in
                port.frontends.contains { $0.key.address == address && $0.value == .drop }
            }) {
                byInternalPolicy += 1
            }
        }
    }
}
