import Bytes
import Reactor

/// All clusters of the proxy where their hosts are kept: discovery, and which of them outlier detection took out. Tells the
/// workers of every change. On its own loop only.
///
/// A cluster is shown to the workers when it is warm: when discovery said something for the first time. A changed one serves as
/// before until then.
final class ClusterDirectory: @unchecked Sendable {
    // `@unchecked`: confined to `loop`; others reach it by `loop.submit` and `loop.perform`.
    let loop: EventLoop
    let workers: [ProxyWorker]
    private var clusters: [ClusterID: LiveCluster] = [:]
    private var warming: [ClusterID: LiveCluster] = [:]
    private var files: [ConfigFile: EndpointFile] = [:]
    private var waiting: [() -> Void] = []
    /// Of those that became warm in one go.
    private var gathered: [ClusterSnapshot]?
    let problems: ConfigProblems
    let secrets: SecretDirectory
    /// The control planes; nil before the bootstrap is known.
    var discovery: DiscoverySessions?
    var overload: OverloadMonitor?
    private var home: (cluster: ClusterID, locality: Locality)?
    /// The cluster that this proxy is in itself, as it stands: what zone-aware routing compares with.
    private(set) var local: LocalCluster?
    private(set) lazy var onDemand = OnDemandClusters(self)
    private(set) lazy var onDemandListeners = OnDemandListeners(self)
    private(set) lazy var references = ReferencedClusters(self)
    lazy var resolution = HostResolution.read()
    var random: SplitMix64

    init(_ loop: EventLoop, _ workers: [ProxyWorker], _ problems: ConfigProblems) {
        self.loop = loop
        self.workers = workers
        self.problems = problems
        secrets = SecretDirectory(loop, problems)
        random = SplitMix64(seed: MonotonicTime.now().nanoseconds)
        for worker in workers { worker.directory = self }
        secrets.session = { [unowned self] in discovery?.session($0, .secret) }
    }

    /// Clusters that are new, or changed. What a changed one carries is finished by the old one.
    func set(_ configured: [ConfiguredCluster]) {
        gathered = []
        for configured in configured {
            let id = configured.settings.id
            warming.removeValue(forKey: id)?.close()
            let cluster = LiveCluster(configured, self)
            warming[id] = cluster
            cluster.start()
        }
        let snapshots = gathered ?? []
        gathered = nil
        publish(snapshots)
    }

    /// A cluster that was set has its first hosts.
    func becameWarm(_ cluster: LiveCluster) {
        let id = cluster.settings.id
        guard warming[id] === cluster else { return }
        warming[id] = nil
        clusters.updateValue(cluster, forKey: id)?.close()
        if gathered != nil { gathered?.append(cluster.snapshot) } else { publish([cluster.snapshot]) }
        discovery?.clusterCame(id)
        onDemand.came(id)
        references.came(id)
        toldWarm()
    }

    private func toldWarm() {
        guard warming.isEmpty else { return }
        let told = waiting
        waiting = []
        for body in told { body() }
    }

    /// Calls when no cluster warms any more; perhaps now.
    func whenWarm(_ body: @escaping () -> Void) {
        if warming.isEmpty { body() } else { waiting.append(body) }
    }

    func remove(_ id: ClusterID) {
        warming.removeValue(forKey: id)?.close()
        clusters.removeValue(forKey: id)?.close()
        references.removed(id)
        for worker in workers { worker.loop.submit { worker.remove(id) } }
        toldWarm()
    }

    func close() {
        for cluster in clusters.values { cluster.close() }
        for cluster in warming.values { cluster.close() }
        for file in files.values { file.close() }
        secrets.close()
        onDemandListeners.close()
        discovery?.close()
        discovery = nil
        overload?.close()
        (clusters, warming, files) = ([:], [:], [:])
        toldWarm()
    }

    subscript(id: ClusterID) -> LiveCluster? { clusters[id] }

    /// It is here, or will be when its endpoints are.
    func knows(_ id: ClusterID) -> Bool { clusters[id] != nil || warming[id] != nil }

    /// The cluster with these settings, warm or not; nil when others came in their place.
    func find(_ settings: ClusterSettings) -> LiveCluster? {
        [clusters[settings.id], warming[settings.id]].compactMap { $0 }.first { $0.settings === settings }
    }

    var warmingCount: Int { warming.count }
    var warmingNames: [String] { warming.values.map(\.settings.name) }

    func endpoints(_ file: ConfigFile) -> EndpointFile {
        if let known = files[file] { return known }
        let made = EndpointFile(file, on: loop, problems)
        files[file] = made
        return made
    }

    /// In the order of their names.
    var all: [LiveCluster] { clusters.values.sorted { $0.settings.name < $1.settings.name } }

    /// All workers, each on its loop and in the same order as any other change.
    func publish(_ snapshots: [ClusterSnapshot]) {
        guard !snapshots.isEmpty else { return }
        defer {
            if let home, let snapshot = snapshots.last(where: { $0.id == home.cluster }) { settle(beside: snapshot) }
        }
        for worker in workers {
            worker.loop.submit {
                for snapshot in snapshots { worker.set(snapshot) }
                worker.flush()
            }
        }
    }

    /// Which cluster this proxy is in itself, and where in it.
    func setHome(_ home: (cluster: ClusterID, locality: Locality)?) {
        self.home = home
        if home == nil { local = nil }
    }

    private func settle(beside snapshot: ClusterSnapshot) {
        guard let home else { return }
        let next = LocalCluster(own: home.locality, snapshot.hosts)
        guard next != local else { return }
        local = next
        for cluster in clusters.values where cluster.settings.id != home.cluster { cluster.stand(beside: next) }
        for cluster in warming.values where cluster.settings.id != home.cluster { cluster.stand(beside: next) }
    }
}
