import Bytes
import Reactor

/// All clusters of the proxy where their hosts are kept: discovery, and which of them outlier detection took out. Tells the
/// workers of every change. On its own loop only.
final class ClusterDirectory: @unchecked Sendable {
    // `@unchecked`: confined to `loop`; others reach it by `loop.submit` and `loop.perform`.
    let loop: EventLoop
    private let workers: [ProxyWorker]
    private var clusters: [ClusterID: LiveCluster] = [:]
    var random: SplitMix64

    init(_ loop: EventLoop, _ workers: [ProxyWorker]) {
        self.loop = loop
        self.workers = workers
        random = SplitMix64(seed: MonotonicTime.now().nanoseconds)
    }

    /// Clusters that are new, or changed. What a changed one carries is finished by the old one.
    func set(_ settings: [ClusterSettings]) {
        var snapshots: [ClusterSnapshot] = []
        for settings in settings {
            clusters[settings.id]?.close()
            let cluster = LiveCluster(settings, self)
            clusters[settings.id] = cluster
            snapshots.append(cluster.snapshot)
        }
        publish(snapshots)
    }

    func remove(_ id: ClusterID) {
        clusters.removeValue(forKey: id)?.close()
        for worker in workers { worker.loop.submit { worker.remove(id) } }
    }

    func close() {
        for cluster in clusters.values { cluster.close() }
        clusters = [:]
    }

    subscript(id: ClusterID) -> LiveCluster? { clusters[id] }

    /// All workers, each on its loop and in the same order as any other change.
    func publish(_ snapshots: [ClusterSnapshot]) {
        for worker in workers {
            worker.loop.submit {
                for snapshot in snapshots { worker.set(snapshot) }
                worker.flush()
            }
        }
    }
}
