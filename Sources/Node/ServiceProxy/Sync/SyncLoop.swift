import Bytes
import ClusterAPI
import Netlink
import NodeTables
import Reactor
import Telemetry

/// When the proxy writes: at the first change of a quiet time at once, then as `SyncPace` says, after a failure again in
/// `retryPeriod`, and after a foreign change to the tables at once.
///
/// Everything here runs on its loop, which is therefore free to call a kernel that takes its time.
final class SyncLoop: @unchecked Sendable {
    // `@unchecked`: confined to `loop`; its owner reaches it through `loop.submit` and `loop.perform` only.
    private let loop: EventLoop
    private let proxy: ServiceProxy
    private let metrics: ServiceProxyMetrics
    private let log: Log
    private let namespace: CInt?
    private let state: ProxyState
    private let healthPorts: HealthCheckPorts
    private var missing: Set<Source> = [.services, .slices, .serviceCIDRs]
    private var timer: TimerHandle?
    private var monitors: [NetlinkMonitor] = []
    private var pace: SyncPace
    private var isInStep = false
    /// The tables will be read before the next apply.
    private var isDistrusted = false
    /// The node's addresses, where node ports follow them.
    private var addresses: Set<IPAddress> = []
    private var primary: [IPAddress]
    /// Services that load balancers ask for, and where.
    private var healthChecked: [ObjectKey: Port] = [:]
    /// Services of whom that may have changed since the last apply.
    private var healthTouched: Set<ObjectKey> = []
    /// When what changed since the last apply was caused, as its slices say.
    private var triggers: [IPAddress.Family: [Timestamp]] = [:]

    /// Causes that are remembered until the next apply; more are not measured.
    static let triggerLimit = 4096

    /// Nothing is written before all of these were read once: a half-read cluster looks like a deleted one.
    enum Source: Sendable { case services, slices, serviceCIDRs }

    /// - Parameter primary: the node's primary addresses, as far as they are known.
    init(
        _ proxy: ServiceProxy, on loop: EventLoop, primary: [IPAddress], namespace: CInt?, state: ProxyState,
        healthPorts: HealthCheckPorts,
        metrics: ServiceProxyMetrics, log: Log
    ) throws {
        self.loop = loop
        self.proxy = proxy
        self.primary = primary
        pace = SyncPace(fixed: proxy.configuration.minimumSyncPeriod)
        self.namespace = namespace
        self.state = state
        self.healthPorts = healthPorts
        self.metrics = metrics
        self.log = log
        for (family, error) in proxy.unavailable {
            log.warning("services of one address family are not served", ["family": "\(family)", "error": "\(error)"])
        }
        if !proxy.isProtected { try watchTables() }
        if case .prefixes = proxy.configuration.nodePortAddresses { try watchAddresses() } else { useAddresses() }
    }

    func close() {
        for monitor in monitors { monitor.close() }
        monitors = []
        if let timer { loop.cancel(timer) }
        timer = nil
        // What we own in the kernel must be free before another takes it over.
        proxy.close()
    }

    // MARK: What changes

    func set(_ service: Shared<ServiceSpec>?, _ key: ObjectKey) {
        metrics.serviceChanges.increment()
        metrics.servicesPending.add(1)
        let port = service?.value.healthCheckNodePort ?? 0
        if healthChecked[key] != nil || port != 0 {
            healthChecked[key] = port == 0 ? nil : port
            healthTouched.insert(key)
        }
        if let service { proxy.set(service) } else { proxy.removeService(key) }
        ask()
    }

    /// - Parameter trigger: when the change was caused; nil where nobody says.
    func set(_ slice: Shared<EndpointSliceSpec>?, _ key: ObjectKey, trigger: Timestamp? = nil) {
        metrics.endpointChanges.increment()
        metrics.endpointsPending.add(1)
        if let slice {
            // What was caused before we could see it says nothing of us.
            if let trigger, missing.isEmpty, triggers[slice.value.family, default: []].count < Self.triggerLimit {
                triggers[slice.value.family, default: []].append(trigger)
            }
            proxy.set(slice)
        } else {
            proxy.removeSlice(key)
        }
        ask()
    }

    func synced(_ source: Source) {
        guard missing.remove(source) != nil else { return }
        if missing.isEmpty {
            let known = Array(healthChecked.keys)
            healthPorts.submit { $0.keepOnly(known) }
        }
        ask()
    }

    /// The cluster's ServiceCIDRs, once they are known.
    func setServiceCIDRs(_ prefixes: Set<CIDR>) {
        proxy.setServiceCIDRs(prefixes)
        ask()
    }

    /// The node's primary addresses, as its object says now.
    func setPrimary(_ addresses: [IPAddress]) {
        guard primary != addresses else { return }
        primary = addresses
        useAddresses()
        ask()
    }

    private func useAddresses() {
        proxy.setNodeAddresses(addresses, primary: primary)
        proxy.setNodeIPs(primary)
        let configuration = proxy.configuration
        let served =
            configuration.nodePortAddresses == .all
            ? nil : configuration.listedNodePortAddresses(among: addresses, primary: primary)
        healthPorts.submit { ports in
            ports.setAddresses(served)
            ports.settle()
        }
    }

    private func watchTables() throws {
        let subscription = try NFTablesConnection.subscribe(namespace: namespace)
        monitors.append(
            try NetlinkMonitor(
                subscription, on: loop,
                onNotification: { [weak self] notification in
                    guard let self else { return }
                    switch notification {
                    case .lost: repair("nftables notifications were lost")
                    case .message(let message):
                        guard let touch = NFTableTouch(message), proxy.isOurs(touch.table),
                            !proxy.isOwnPort(message.port)
                        else { return }
                        repair("table \(touch.table) was changed by another program")
                    }
                },
                onFailure: { [weak self] error in self?.log.error("nftables cannot be followed", ["error": "\(error)"])
                }))
    }

    private func watchAddresses() throws {
        let route = try RouteConnection(namespace: namespace)
        let groups: [RouteGroup] = [.addressV4, .addressV6]
        let subscription = try NetlinkSubscription(.route, groups: groups.map(\.rawValue), namespace: namespace)
        let read = { [weak self] in
            guard let self else { return }
            do {
                addresses = Set(try route.addresses().map(\.address.address))
                useAddresses()
                ask()
            } catch {
                log.error("the node's addresses cannot be read", ["error": "\(error)"])
            }
        }
        read()
        monitors.append(
            try NetlinkMonitor(
                subscription, on: loop, onNotification: { _ in read() },
                onFailure: { [weak self] error in self?.log.error("addresses cannot be followed", ["error": "\(error)"])
                }
            ))
    }

    private func repair(_ reason: String) {
        // A foreign transaction is told of change by change.
        guard !isDistrusted else { return }
        isDistrusted = true
        proxy.distrust()
        metrics.repairs.increment()
        log.warning("service tables are read again", ["reason": reason])
        ask()
    }

    // MARK: When to write

    private func ask() {
        guard missing.isEmpty else { return }
        let now = Timestamp.now().secondsSinceEpoch
        let time = loop.now
        for family in proxy.families.map(\.family) {
            metrics[family].lastQueued.set(now)
            state.health.withLock { $0.queued(family, at: time) }
        }
        guard timer == nil else { return }
        schedule(after: pace.delay(at: loop.now))
    }

    private func schedule(after delay: Duration) {
        // Also with no delay by way of the timer, so that all events of this turn are in.
        timer = loop.schedule(after: delay) { [weak self] in
            self?.timer = nil
            self?.sync()
        }
    }

    private func sync() {
        isDistrusted = false
        let start = MonotonicTime.now()
        let touched = healthTouched.union(
            healthChecked.isEmpty ? [] : proxy.changedServices.filter { healthChecked[$0] != nil })
        var writes = 0
        var hasFailed = false
        for report in proxy.syncFamilies() {
            let family = metrics[report.family]
            switch report.outcome {
            case .success(let done):
                family.observe(done, took: report.took, drops: proxy.localDrops(report.family))
                writes += done.elementWrites
                let time = Timestamp.now()
                state.health.withLock { $0.updated(report.family, at: time) }
                for trigger in triggers.removeValue(forKey: report.family) ?? [] {
                    family.programming.observe(max(.zero, time.duration(since: trigger)))
                }
                log.debug(
                    "services written",
                    ["family": "\(report.family)", "elements": "\(done.elementWrites)", "took": "\(report.took)"])
            case .failure(let error):
                hasFailed = true
                family.failures.increment()
                log.error(
                    "services could not be written; trying again", ["family": "\(report.family)", "error": "\(error)"])
            }
        }
        metrics.elementWrites.increment(by: UInt64(writes))
        if writes > 0 || hasFailed {
            let end = MonotonicTime.now()
            pace.wrote(until: end, taking: end.duration(since: start))
        }
        serveHealth(touched)
        tellConflicts()
        guard !hasFailed else { return schedule(after: proxy.configuration.retryPeriod) }
        metrics.servicesPending.set(0)
        metrics.endpointsPending.set(0)
        if !isInStep { isNowInStep(writes) }
    }

    private func serveHealth(_ touched: Set<ObjectKey>) {
        healthTouched = []
        guard !touched.isEmpty else { return }
        let answers = touched.map { (service: $0, port: healthChecked[$0], endpoints: proxy.readyHere($0)) }
        healthPorts.submit { ports in
            for answer in answers { ports.set(answer.service, port: answer.port, answer.endpoints) }
            ports.settle()
        }
    }

    private func tellConflicts() {
        let (new, contested) = proxy.takeConflicts()
        metrics.contested.set(Double(contested))
        for conflict in new {
            log.warning(
                "two Services claim one address and port",
                ["frontend": "\(conflict.frontend)", "owner": "\(conflict.owner)", "loser": "\(conflict.loser)"])
        }
    }

    private func isNowInStep(_ writes: Int) {
        isInStep = true
        // Reading a whole cluster needs much that following it does not.
        Heap.giveBack()
        log.info("service proxy is in step", ["services": "\(proxy.serviceCount)", "elements": "\(writes)"])
        do {
            if proxy.configuration.removesKubeProxyTables {
                for name in try KubeProxyTables.remove(namespace: namespace) {
                    log.info("kube-proxy's table is removed", ["table": name])
                }
            } else {
                for name in try KubeProxyTables.present(namespace: namespace) {
                    log.warning(
                        "kube-proxy's table is there, too; --remove-kube-proxy-tables or --cleanup takes it away",
                        ["table": name])
                }
            }
        } catch {
            for family in proxy.families { metrics[family.family].cleanupFailures.increment() }
            log.error("kube-proxy's tables cannot be seen to", ["error": "\(error)"])
        }
    }

    /// Reads the tables and writes what nobody told us; on the loop, each `auditPeriod`.
    func audit() {
        proxy.distrust()
        ask()
    }
}
