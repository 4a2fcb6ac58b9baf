// Services and EndpointSlices become nftables elements. Nothing here runs pods or moves packets itself.

public import Bytes
public import ClusterAPI
import Netlink
import Reactor

/// The service proxy of one node without its surroundings: objects in, `sync` writes what changed. Knows no API server,
/// no clock and no loop.
///
/// Belongs to one thread, or loop, at a time.
public final class ServiceProxy {
    public let configuration: ServiceProxyConfiguration
    private var model = ServiceModel()
    private(set) var families: [FamilyProxy] = []
    /// A family this kernel, or namespace, cannot do.
    public private(set) var unavailable: [(IPAddress.Family, any Error)] = []

    /// - Parameter namespace: a descriptor of the node's network namespace, borrowed; nil is the calling thread's.
    public init(_ configuration: ServiceProxyConfiguration, namespace: CInt? = nil) throws {
        self.configuration = configuration
        for family in configuration.families {
            do {
                let proxy = try FamilyProxy(family, configuration, namespace: namespace)
                try proxy.prepare()
                families.append(proxy)
            } catch {
                unavailable.append((family, error))
            }
        }
        if let (_, error) = unavailable.first, families.isEmpty { throw error }
    }

    // MARK: What the cluster wants

    public func set(_ service: ServiceSpec) { set(Shared(service)) }
    func set(_ service: Shared<ServiceSpec>) { model.set(service) }
    public func removeService(_ key: ObjectKey) { model.removeService(key) }
    public func set(_ slice: EndpointSliceSpec) { set(Shared(slice)) }
    func set(_ slice: Shared<EndpointSliceSpec>) { model.set(slice) }
    public func removeSlice(_ key: ObjectKey) { model.removeSlice(key) }

    /// The node's addresses, as they are now: which of them node ports use follows from the configuration.
    ///
    /// - Parameter primary: one of each family at most.
    public func setNodeAddresses(_ addresses: Set<IPAddress>, primary: [IPAddress] = []) {
        let used = configuration.listedNodePortAddresses(among: addresses, primary: primary)
        for family in families { family.setNodeAddresses(used) }
    }

    /// The cluster's ServiceCIDRs, as they are now: what is sent to an address in them that no Service has is dropped, rather
    /// than sent out to wherever the default route leads.
    public func setServiceCIDRs(_ prefixes: Set<CIDR>) {
        for family in families { family.setServiceCIDRs(prefixes) }
    }

    /// The node's own addresses, as its Node object has them: whether `loadBalancerSourceRanges` admit the node follows from
    /// them.
    public func setNodeIPs(_ addresses: [IPAddress]) {
        let changed = families.map { $0.setNodeIPs(addresses) }
        guard changed.contains(true) else { return }
        model.markDirty { !$0.sourceRanges.isEmpty }
    }

    /// Conflicts between Services that came up since the last call, and how many frontends are contested now.
    func takeConflicts() -> (new: [FrontendConflict], contested: Int) {
        (families.flatMap { $0.takeConflicts() }, families.reduce(0) { $0 + $1.desired.claims.contested })
    }

    /// Gives back what is held of the kernel; the tables stay. Nothing may be asked of it after.
    func close() { families = [] }

    func localDrops(_ family: IPAddress.Family) -> LocalDrops {
        families.first { $0.family == family }?.localDrops ?? .none
    }

    public var serviceCount: Int { model.serviceCount }
    /// Whether a `sync` has something to plan.
    public var hasChanges: Bool { !model.dirty.isEmpty || families.contains { !$0.desired.tracker.isSettled } }
    /// The Services that the next `sync` plans anew.
    var changedServices: Set<ObjectKey> { model.dirty }

    /// How many addresses here are ready for a Service: what load balancers ask for.
    func readyHere(_ service: ObjectKey) -> LocalEndpoints {
        var addresses: Set<IPAddress> = []
        for slice in model.slices(of: service) {
            for endpoint in slice.endpoints where endpoint.flags.isSuperset(of: [.ready, .local]) {
                addresses.insert(endpoint.address)
            }
        }
        let v4 = addresses.count { $0.family == .v4 }
        return LocalEndpoints(v4: v4, v6: addresses.count - v4)
    }

    // MARK: What the kernel gets

    /// What one `sync` did.
    public struct Report: Equatable, Sendable {
        /// Element operations in the kernel: a changed value counts as two.
        public var elementWrites: Int
        public var deletedFlows: Int
    }

    /// What one `sync` did for one family.
    struct FamilyReport {
        var family: IPAddress.Family
        var outcome: Result<SyncReport, any Error>
        var took: Duration
    }

    /// Makes the kernel's tables what the objects want; cost is proportional to what changed. When it throws, what is
    /// missing stays to be done by the next `sync`.
    @discardableResult
    public func sync() throws -> Report {
        var sum = SyncReport()
        var failure: (any Error)?
        for report in syncFamilies() {
            switch report.outcome {
            case .success(let done): sum = sum + done
            case .failure(let error): failure = error
            }
        }
        if let failure { throw failure }
        return Report(elementWrites: sum.elementWrites, deletedFlows: sum.deletedFlows)
    }

    /// As `sync`; a family that fails does not keep the other one from its changes.
    func syncFamilies() -> [FamilyReport] {
        let dirty = model.takeDirty()
        return families.map { family in
            let start = MonotonicTime.now()
            family.plan(dirty, model)
            let outcome = Result { try family.commit() }
            return FamilyReport(
                family: family.family, outcome: outcome, took: MonotonicTime.now().duration(since: start))
        }
    }

    /// Reads the tables before the next `sync`: somebody may have changed them.
    public func distrust() { for family in families { family.distrust() } }

    /// Whether a table of this name is ours.
    func isOurs(_ table: NFTableName) -> Bool { families.contains { $0.kernel.shape.name == table } }

    /// Whether a message about a table tells of our own change.
    func isOwnPort(_ port: UInt32) -> Bool { families.contains { $0.kernel.portID == port } }

    /// Whether nobody else can change the tables, so that nobody needs to listen.
    var isProtected: Bool { families.allSatisfy(\.kernel.isOwner) }

    /// Removes the tables and everything in them, for good.
    public func removeTables() throws { for family in families { try family.kernel.remove() } }
}
