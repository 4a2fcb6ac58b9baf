import Bytes
import HTTP
import Reactor

/// The active health checks of one cluster's hosts: probes them when their sessions say so. On the directory's loop.
final class HealthMonitor {
    private final class Watched {
        var session: HealthCheckSession
        let address: SocketAddress
        var client: HTTPClient?
        var timer = TimerHandle.none
        var isChecked = false

        init(_ session: HealthCheckSession, _ address: SocketAddress) {
            self.session = session
            self.address = address
        }
    }

    private let check: HealthCheck
    private unowned let cluster: LiveCluster
    private unowned let directory: ClusterDirectory
    private var hosts: [HostID: Watched] = [:]
    /// Of hosts that are gone.
    private var past = HealthCheckSession.Counters()

    init(_ check: HealthCheck, _ cluster: LiveCluster, _ directory: ClusterDirectory) {
        self.check = check
        self.cluster = cluster
        self.directory = directory
    }

    /// Every host was probed once.
    var isFirstRoundOver: Bool { hosts.values.allSatisfy(\.isChecked) }

    /// `cluster.NAME.health_check.…`
    var counters: [(name: String, value: UInt64)] {
        var sum = past.byName
        for host in hosts.values {
            for (index, counter) in host.session.counters.byName.enumerated() { sum[index].value += counter.value }
        }
        let healthy = hosts.values.count { !$0.session.health.contains(.failedActiveCheck) }
        return sum + [("healthy", UInt64(healthy))]
    }

    /// The cluster's hosts are these now.
    func watch(_ set: HostSet) {
        let present = Set(set.hosts.map(\.id))
        for (id, watched) in hosts where !present.contains(id) {
            directory.loop.cancel(watched.timer)
            add(watched.session.counters)
            hosts[id] = nil
        }
        for host in set.hosts where hosts[host.id] == nil {
            var address = host.address
            if let port = check.port, let endpoint = address.endpoint { address = .ip(endpoint.address, Port(port)) }
            let watched = Watched(HealthCheckSession(check.timing, health: host.health), address)
            hosts[host.id] = watched
            if case .http(let request) = check.probe, request.reusesConnection, let endpoint = HTTPEndpoint(address) {
                watched.client = HTTPClient(on: directory.loop, endpoint: endpoint)
            }
            probe(host.id, after: watched.session.start(random: &directory.random))
        }
    }

    private func add(_ counters: HealthCheckSession.Counters) {
        past.attempt += counters.attempt
        past.success += counters.success
        past.failure += counters.failure
        past.networkFailure += counters.networkFailure
        past.passiveFailure += counters.passiveFailure
    }

    func close() {
        for watched in hosts.values { directory.loop.cancel(watched.timer) }
        hosts = [:]
    }

    private func probe(_ id: HostID, after delay: Duration) {
        hosts[id]?.timer = directory.loop.schedule(after: delay) { [weak self] in self?.probe(id) }
    }

    private func probe(_ id: HostID) {
        guard let watched = hosts[id] else { return }
        let timeout = watched.session.probe()
        let (probe, address, client) = (check.probe, watched.address, watched.client)
        let (directory, settings) = (directory, cluster.settings)
        directory.loop.task {
            let result = await probe.run(
                address, cluster: settings.name, client, on: directory.loop, timeout: timeout)
            directory.loop.submit { directory.find(settings)?.probed(id, result) }
        }
    }

    /// A probe has ended: what it means for the host.
    func finish(_ id: HostID, _ result: HealthCheckResult, others: HostHealth) -> HealthCheckSession.Outcome? {
        guard let watched = hosts[id] else { return nil }
        watched.session.setOthers(others)
        watched.isChecked = true
        let outcome = watched.session.finish(
            result, hasTraffic: cluster.settings.hasTraffic.load(ordering: .relaxed), random: &directory.random)
        if let next = outcome.nextProbe { probe(id, after: next) }
        return outcome
    }
}
