import Bytes
import HTTP
import Reactor
import TLS

/// The active health checks of one cluster's hosts: probes them when their sessions say so. On the directory's loop.
final class HealthMonitor {
    private final class Watched {
        var session: HealthCheckSession
        /// As its set has it.
        var host: Host
        /// What carries its probes from one to the next, and the TLS context that it was made with.
        var client: HTTPClient?
        var context: TLSContext?
        var timer = TimerHandle.none
        var isChecked = false

        init(_ session: HealthCheckSession, _ host: Host) {
            self.session = session
            self.host = host
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
        let present = Set(set.hosts.lazy.filter { $0.metadata?.health?.isDisabled != true }.map(\.id))
        for (id, watched) in hosts where !present.contains(id) {
            directory.loop.cancel(watched.timer)
            add(watched.session.counters)
            hosts[id] = nil
        }
        for host in set.hosts where host.metadata?.health?.isDisabled != true {
            if let watched = hosts[host.id] {
                watched.host = host
                continue
            }
            let watched = Watched(HealthCheckSession(check.timing, health: host.health), host)
            hosts[host.id] = watched
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
        let (directory, settings) = (directory, cluster.settings)
        guard let target = target(watched.host) else {
            directory.loop.submit { directory.find(settings)?.probed(id, .init(result: .failure(.network))) }
            return
        }
        let probe = check.probe
        let client = client(of: watched, target)
        let authority = watched.host.metadata?.health?.hostname ?? ""
        directory.loop.task {
            let answer: HealthProbe.Answer
            if case .tcp(let message, let expected) = probe {
                answer = .init(
                    result: await TCPHealthProbe.run(
                        target, message, expected, on: directory.loop, timeout: timeout))
            } else if let client {
                answer = await probe.run(
                    over: client, authority: authority, cluster: settings.name, timeout: timeout)
            } else {
                answer = .init(result: .failure(.network))
            }
            directory.loop.submit { directory.find(settings)?.probed(id, answer) }
        }
    }

    /// Where a host's probes go; nil while a secret of its TLS is missing.
    private func target(_ host: Host) -> HealthProbe.Target? {
        var address = host.address
        if let own = host.metadata?.health {
            address = own.address(of: address, port: check.port)
        } else if let port = check.port, let endpoint = address.endpoint {
            address = .ip(endpoint.address, Port(port))
        }
        let source = cluster.settings.options.source(to: address)
        var target = HealthProbe.Target(address: address, source: source, protocols: check.protocols)
        guard let security = cluster.settings.transport(to: host).security else { return target }
        guard let context = security.context.context else { return nil }
        target.tls = context
        target.serverName = security.serverName(of: host)
        // What the cluster's own connections offer by default is not what probes speak.
        if target.protocols.isEmpty, !security.namesProtocols, let name = check.probe.protocolName {
            target.protocols = [name]
        }
        return target
    }

    /// What carries the next probe over HTTP: that of the last one, unless TLS is another since.
    private func client(of watched: Watched, _ target: HealthProbe.Target) -> HTTPClient? {
        if let client = watched.client, watched.context === target.tls { return client }
        let client = check.probe.client(target, on: directory.loop)
        if check.reusesConnection { (watched.client, watched.context) = (client, target.tls) }
        return client
    }

    /// A probe has ended: what it means for the host.
    func finish(_ id: HostID, _ answer: HealthProbe.Answer, others: HostHealth) -> HealthCheckSession.Outcome? {
        guard let watched = hosts[id] else { return nil }
        watched.session.setOthers(others)
        let (before, isFirst) = (watched.session.health, !watched.isChecked)
        watched.isChecked = true
        let outcome = watched.session.finish(
            answer.result, hasTraffic: cluster.settings.hasTraffic.load(ordering: .relaxed), random: &directory.random)
        if let next = outcome.nextProbe { probe(id, after: next) }
        if let events = check.events {
            let subject = HealthEventLog.Subject(
                host: watched.host, locality: cluster.hosts.places[Int(watched.host.place)].locality,
                cluster: cluster.settings.name, checker: check.probe.checkerName, isFirst: isFirst)
            events.note(answer, before: before, after: outcome.health, subject)
        }
        return outcome
    }
}
