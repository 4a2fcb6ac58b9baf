import XDS

/// Clusters that listeners and routes on demand lead to, and of which nothing was known when those came: asked for by name. On the
/// directory's loop.
final class ReferencedClusters {
    /// Nanoseconds after which one of which nothing was heard is taken as absent.
    var fetchTime: UInt64 = 5_000_000_000

    private unowned let directory: ClusterDirectory
    private var awaited: Set<ClusterID> = []
    /// Given up, and not taken away yet.
    private var leaving: Set<ClusterID> = []
    /// What was awaited is here, or is not to be had for now.
    var settled: ((ClusterID) -> Void)?

    init(_ directory: ClusterDirectory) { self.directory = directory }

    /// - Returns: Those that are not to be waited for, and those of them that need not be followed: they come by themselves.
    func follow(_ ids: Set<ClusterID>, _ origin: ConfigSource.Origin) -> (
        here: Set<ClusterID>, unfollowed: Set<ClusterID>
    ) {
        var here: Set<ClusterID> = []
        var unfollowed: Set<ClusterID> = []
        for id in ids {
            let isKnown = directory.knows(id)
            if isKnown { here.insert(id) }
            guard !isKnown || leaving.contains(id), let session = directory.discovery?.session(origin, .cluster) else {
                here.insert(id)
                unfollowed.insert(id)
                continue
            }
            session.subscribeToCluster(id.name, fetchTime: fetchTime)
            if !isKnown { awaited.insert(id) }
        }
        return (here, unfollowed)
    }

    func unfollow(_ ids: Set<ClusterID>, _ origin: ConfigSource.Origin) {
        for id in ids {
            awaited.remove(id)
            if directory.knows(id) { leaving.insert(id) }
            directory.discovery?.session(origin, .cluster)?.unsubscribe(.cluster, id.name)
        }
    }

    func came(_ id: ClusterID) { if awaited.remove(id) != nil { settled?(id) } }

    func giveUp(_ names: [String]) {
        for name in names {
            guard let id = ClusterID(known: name), awaited.remove(id) != nil else { continue }
            settled?(id)
        }
    }

    func removed(_ id: ClusterID) { leaving.remove(id) }
}
