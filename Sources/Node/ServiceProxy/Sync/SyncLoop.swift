import Bytes
import ClusterAPI
import Netlink
import Reactor
import Telemetry

/// When the proxy writes: at the first change of a quiet time at once, then at most once in `minimumSyncPeriod`, after a
/// failure again in `retryPeriod`, and after a foreign change to the tables at once.
///
/// Everything here runs on its loop, which is therefore free to call a kernel that takes its time.
final class SyncLoop: @unchecked Sendable {
    // `@unchecked`: confined to `loop`; its owner reaches it through `loop.submit` and `loop.perform` only.
    private let loop: EventLoop
    private let proxy: ServiceProxy
    private let metrics: ServiceProxyMetrics
    private let log: Log
    private let namespace: CInt?
    private var missing: Set<Source> = [.services, .slices]
    private var timer: TimerHandle?
    private var monitors: [NetlinkMonitor] = []
    private var lastEnd: MonotonicTime?
    /// When the oldest change that is not written yet came; nil when all is written.
    private(set) var waitingSince: Timestamp?
    private(set) var lastSuccess: Timestamp?

    /// Nothing is written before all of these were read once: a half-read cluster looks like a deleted one.
    enum Source: Sendable { case services, slices }

    init(
        _ proxy: ServiceProxy, on loop: EventLoop, namespace: CInt?, metrics: ServiceProxyMetrics, log: Log
    ) throws {
        self.loop = loop
        self.proxy = proxy
        self.namespace = namespace
        self.metrics = metrics
        self.log = log
        for (family, error) in proxy.unavailable {
            log.warning("services of one address family are not served", ["family": "\(family)", "error": "\(error)"])
        }
        if !proxy.isProtected { try watchTables() }
        if case .prefixes = proxy.configuration.nodePortAddresses {
            try watchAddresses()
        } else {
            proxy.setNodeAddresses([])
        }
    }

    func close() {
        for monitor in monitors { monitor.close() }
        monitors = []
        if let timer { loop.cancel(timer) }
        timer = nil
    }

    // MARK: What changes

    func set(_ service: ServiceSpec?, _ key: ObjectKey) {
        metrics.serviceChanges.increment()
        if let service { proxy.set(service) } else { proxy.removeService(key) }
        ask()
    }

    func set(_ slice: EndpointSliceSpec?, _ key: ObjectKey) {
        metrics.endpointChanges.increment()
        if let slice { proxy.set(slice) } else { proxy.removeSlice(key) }
        ask()
    }

    func synced(_ source: Source) {
        missing.remove(source)
        ask()
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
                proxy.setNodeAddresses(Set(try route.addresses().map(\.address.address)))
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
        proxy.distrust()
        metrics.repairs.increment()
        log.warning("service tables are read again", ["reason": reason])
        ask()
    }

    // MARK: When to write

    private func ask() {
        if waitingSince == nil { waitingSince = .now() }
        metrics.lastQueued.set(Timestamp.now().secondsSinceEpoch)
        guard missing.isEmpty, timer == nil else { return }
        var delay = Duration.zero
        if let lastEnd {
            let since = loop.now.duration(since: lastEnd)
            if since < proxy.configuration.minimumSyncPeriod { delay = proxy.configuration.minimumSyncPeriod - since }
        }
        schedule(after: delay)
    }

    private func schedule(after delay: Duration) {
        // Also with no delay by way of the timer, so that all events of this turn are in.
        timer = loop.schedule(after: delay) { [weak self] in
            self?.timer = nil
            self?.sync()
        }
    }

    private func sync() {
        let start = MonotonicTime.now()
        do {
            let report = try proxy.sync()
            let took = MonotonicTime.now().duration(since: start)
            metrics.syncDuration.observe(took)
            metrics.elementWrites.increment(by: UInt64(report.elementWrites))
            metrics.deletedFlows.increment(by: UInt64(report.deletedFlows))
            metrics.lastSync.set(Timestamp.now().secondsSinceEpoch)
            log.debug("services written", ["elements": "\(report.elementWrites)", "took": "\(took)"])
            if lastSuccess == nil {
                log.info(
                    "service proxy is in step",
                    ["services": "\(proxy.serviceCount)", "elements": "\(report.elementWrites)", "took": "\(took)"])
            }
            lastSuccess = .now()
            waitingSince = nil
        } catch {
            metrics.failures.increment()
            log.error("services could not be written; trying again", ["error": "\(error)"])
            schedule(after: proxy.configuration.retryPeriod)
        }
        lastEnd = .now()
    }

    /// Reads the tables and writes what nobody told us; on the loop, each `auditPeriod`.
    func audit() {
        proxy.distrust()
        ask()
    }

    /// Takes the tables away: for `--cleanup`, and for tests.
    func removeTables() throws { try proxy.removeTables() }
}

extension Timestamp {
    fileprivate var secondsSinceEpoch: Double { Double(seconds) + Double(nanoseconds) / 1e9 }
}
