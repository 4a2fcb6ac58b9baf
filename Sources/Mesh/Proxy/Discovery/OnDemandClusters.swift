import Bytes
import Reactor
import XDS

/// Clusters that are asked for when something is first to be sent to them (ODCDS), by name and beside what else the same control
/// plane is asked for. On the directory's loop.
///
/// What came is followed from then on, like any cluster of that control plane. What is not there is asked for anew each time.
final class OnDemandClusters {
    /// Names that are followed, or waited for. Beyond, nothing is asked for: a client may choose names.
    static let limit = 10_000

    private unowned let directory: ClusterDirectory
    private var followed: Set<String> = []
    private var waiting: [String: Wait] = [:]

    private struct Wait {
        var origin: ConfigSource.Origin
        var workers: [ProxyWorker]
        var timer: TimerHandle
    }

    init(_ directory: ClusterDirectory) { self.directory = directory }

    /// Tells the worker (`settleDemand`) when the cluster can be used there, or will not be.
    func find(_ name: String, _ source: OnDemandSource, for worker: ProxyWorker) {
        if let id = ClusterID(known: name), directory[id] != nil { return settle(name, [worker]) }
        guard waiting[name] == nil else {
            waiting[name]?.workers.append(worker)
            return
        }
        guard followed.count + waiting.count < Self.limit,
            let session = directory.discovery?.session(source.origin, .cluster)
        else { return settle(name, [worker]) }
        let timer = directory.loop.schedule(after: .nanoseconds(Int64(clamping: source.timeout))) { [weak self] in
            ProxyLog.warning(.config, "no cluster \(name) has come in time")
            self?.giveUp([name], source.origin)
        }
        waiting[name] = Wait(origin: source.origin, workers: [worker], timer: timer)
        if followed.contains(name) { return }
        session.subscribeToCluster(name, fetchTime: source.timeout)
    }

    /// A cluster can be used now.
    func came(_ id: ClusterID) {
        guard !waiting.isEmpty, let wait = waiting.removeValue(forKey: id.name) else { return }
        directory.loop.cancel(wait.timer)
        followed.insert(id.name)
        settle(id.name, wait.workers)
    }

    /// There are none of these names, for now; they are followed no longer.
    func giveUp(_ names: [String], _ origin: ConfigSource.Origin) {
        for name in names {
            let wait = waiting.removeValue(forKey: name)
            guard wait != nil || followed.contains(name) else { continue }
            followed.remove(name)
            directory.discovery?.session(origin, .cluster)?.unsubscribe(.cluster, name)
            guard let wait else { continue }
            directory.loop.cancel(wait.timer)
            settle(name, wait.workers)
        }
    }

    /// Behind what the workers are told of clusters.
    private func settle(_ name: String, _ workers: [ProxyWorker]) {
        directory.loop.submit {
            for worker in workers { worker.loop.submit { worker.settleDemand(name) } }
        }
    }
}

/// Where clusters are found that nobody has named before (`OnDemandCds`, `TcpProxy.OnDemand`).
struct OnDemandSource: Hashable, Sendable {
    var origin: ConfigSource.Origin
    /// Nanoseconds after which there is none.
    var timeout: UInt64

    /// - Parameters:
    ///   - field: the one with the `ConfigSource`.
    ///   - timeout: nanoseconds where the configuration has none.
    init(_ node: ConfigNode, _ field: String, timeout: UInt64, _ context: BuildContext) throws(ConfigError) {
        guard let source = node.message(field) else { throw node.error(field, "is missing") }
        let config = try ConfigSource(source, context)
        if case .file = config.origin { throw source.error("clusters are found on demand from control planes only") }
        origin = config.origin
        guard node.string("resources_locator").isEmpty else { throw node.unsupported("resources_locator") }
        self.timeout = node.nanoseconds("timeout", default: timeout)
    }
}
