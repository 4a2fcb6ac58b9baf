import Bytes
import Reactor

/// One cluster in the directory: the hosts that discovery named, and their health as everybody sees it. On the directory's loop.
final class LiveCluster {
    let settings: ClusterSettings
    private unowned let directory: ClusterDirectory
    private(set) var hosts: HostSet
    /// nil for clusters without outlier detection, which are many.
    private var outliers: OutlierWatch?
    private var isClosed = false
    private var isWarm = false
    /// Discovery has said something.
    private var isDiscovered = false
    private var missingSecrets = 0
    private var names: NameDiscovery?
    private var file: EndpointFile?
    private var session: DiscoverySession?
    private var monitor: HealthMonitor?
    private var fetchTimer = TimerHandle.none

    init(_ configured: ConfiguredCluster, _ directory: ClusterDirectory) {
        settings = configured.settings
        self.directory = directory
        hosts = HostSet(
            configured.endpoints, settings.balance, membership: settings.membership, local: directory.local,
            now: directory.loop.now)
        outliers = settings.outliers.map { OutlierWatch($0) }
        watch()
    }

    /// An EDS cluster of which nothing is said is warm, and empty, after this (`initial_fetch_timeout`).
    static let fetchTimeout = Duration.seconds(15)

    func start() {
        scheduleOutliers()
        let contexts = settings.liveContexts
        missingSecrets = contexts.count
        for context in contexts {
            directory.secrets.follow(context) { [weak self] in
                guard let self else { return }
                missingSecrets -= 1
                if missingSecrets == 0, isDiscovered { monitorHosts() }
                if isDiscovered { warm() }
            }
        }
        monitor = settings.healthCheck.map { HealthMonitor($0, self, directory) }
        switch settings.discovery {
        case .fixed, .originalDestination, .aggregate:
            isDiscovered = true
            monitorHosts()
            warm()
        case .names(let endpoints):
            let names = NameDiscovery(endpoints, directory) { [unowned self] in assign($0) }
            self.names = names
            names.start()
        case .file(let source, let name):
            let file = directory.endpoints(source)
            self.file = file
            fetchTimer = directory.loop.schedule(after: Self.fetchTimeout) { [weak self] in self?.warm() }
            file.subscribe(name, self) { [unowned self] in found($0) }
        case .discovered(let source, let name):
            guard let session = directory.discovery?.session(source.origin, .clusterLoadAssignment) else {
                return warm()
            }
            self.session = session
            session.subscribe(name, self, fetchTime: source.fetchTime) { [unowned self] in found($0) }
        }
    }

    /// Probes go out once the secrets that they need are there.
    private func monitorHosts() { if missingSecrets == 0 { monitor?.watch(hosts) } }

    private func warm() {
        isDiscovered = true
        guard !isWarm, !isClosed, missingSecrets == 0, monitor?.isFirstRoundOver ?? true else { return }
        isWarm = true
        directory.loop.cancel(fetchTimer)
        directory.becameWarm(self)
    }

    var snapshot: ClusterSnapshot { ClusterSnapshot(settings, hosts, outliers: outliers?.reporting) }

    func close() {
        isClosed = true
        if let outliers { directory.loop.cancel(outliers.timer) }
        directory.loop.cancel(fetchTimer)
        names?.close()
        monitor?.close()
        switch settings.discovery {
        case .file(_, let name): file?.unsubscribe(name, self)
        case .discovered(_, let name): session?.unsubscribe(name, self)
        default: break
        }
    }

    /// What is to be had under the name that it asks for; nil when it is known that there is nothing.
    private func found(_ assignment: EndpointAssignment?) {
        if let assignment { assign(assignment) } else { warm() }
    }

    /// `membership_change`
    private(set) var membershipChanges: UInt64 = 1

    /// What discovery says now.
    func assign(_ assignment: EndpointAssignment) {
        guard !isClosed else { return }
        let before = hosts
        membershipChanges &+= 1
        hosts = HostSet(
            assignment, settings.balance, membership: settings.membership, previous: before, local: directory.local,
            now: directory.loop.now)
        let present = Set(hosts.hosts.map(\.id))
        for host in before.hosts where !present.contains(host.id) { outliers?.detector.leave(host.id) }
        watch()
        isDiscovered = true
        monitorHosts()
        if isWarm { directory.publish([snapshot]) } else { warm() }
    }

    /// The proxy's own cluster is another.
    func stand(beside local: LocalCluster) {
        hosts = hosts.beside(local)
        if isWarm { directory.publish([snapshot]) }
    }

    /// What is counted of the source of its hosts.
    var discoveryCounters: HostDiscoveryCounters {
        var counters = HostDiscoveryCounters()
        counters.lookups = names?.counters
        switch settings.discovery {
        case .file: counters.subscription = file?.counters
        case .discovered(_, let name):
            counters.subscription = session?.client.namedCounters(of: .clusterLoadAssignment)[name]
        default: break
        }
        return counters
    }

    /// Outlier detection's numbers under Envoy's names; empty without it.
    var outlierCounters: [(name: String, value: UInt64)] { outliers?.detector.counters.byName ?? [] }
    /// The same of active health checks.
    var healthCheckCounters: [(name: String, value: UInt64)] { monitor?.counters ?? [] }

    // MARK: Active checks

    func probed(_ id: HostID, _ answer: HealthProbe.Answer) {
        guard !isClosed, let index = hosts.index(of: id),
            let outcome = monitor?.finish(id, answer, others: hosts[index].health)
        else { return }
        var health = outcome.health
        if case .success = answer.result, !health.contains(.failedActiveCheck),
            !(outliers?.detector.checkSucceeded(id, now: directory.loop.now) ?? []).isEmpty
        {
            health.remove(.ejected)
        }
        if health != hosts[index].health {
            hosts = hosts.changing([id: health], now: directory.loop.now)
            // One that discovery dropped leaves when its check fails.
            monitor?.watch(hosts)
            if isWarm { directory.publish([snapshot]) }
        }
        warm()
    }

    // MARK: Outliers

    /// Gives every host something to count into.
    private func watch() {
        guard let outliers else { return }
        var tallies: [OutlierTally?] = Array(repeating: nil, count: hosts.view.slotCount)
        for host in hosts.hosts { tallies[Int(host.id.slot)] = outliers.detector.join(host.id) }
        let id = settings.id
        outliers.reporting = OutlierReporting(outliers.detector.config, tallies) { [directory, settings] host, runs in
            directory.loop.submit {
                guard let cluster = directory[id], cluster.settings === settings else { return }
                cluster.runsCompleted(host, runs)
            }
        }
    }

    private func runsCompleted(_ host: HostID, _ runs: OutlierRuns) {
        guard
            let changes = outliers?.detector.runsCompleted(
                host, runs, now: directory.loop.now, random: &directory.random)
        else { return }
        apply(changes)
    }

    private func scheduleOutliers() {
        guard let outliers else { return }
        outliers.timer = directory.loop.schedule(after: outliers.detector.config.interval) { [weak self, outliers] in
            guard let self, !isClosed else { return }
            apply(outliers.detector.tick(now: directory.loop.now, random: &directory.random))
            scheduleOutliers()
        }
    }

    private func apply(_ changes: [OutlierDetector.Change]) {
        guard !changes.isEmpty else { return }
        var health: [HostID: HostHealth] = [:]
        for change in changes {
            switch change {
            case .ejected(let id, _):
                if let index = hosts.index(of: id) { health[id] = hosts[index].health.union(.ejected) }
            case .unejected(let id):
                if let index = hosts.index(of: id) { health[id] = hosts[index].health.subtracting(.ejected) }
            }
        }
        hosts = hosts.changing(health, now: directory.loop.now)
        directory.publish([snapshot])
    }
}

/// What a cluster with outlier detection has beside the others.
private final class OutlierWatch {
    var detector: OutlierDetector
    var reporting: OutlierReporting?
    var timer = TimerHandle.none

    init(_ config: OutlierConfig) { detector = OutlierDetector(config) }
}
