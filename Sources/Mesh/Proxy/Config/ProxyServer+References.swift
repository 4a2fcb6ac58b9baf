import XDS

// Where listeners come on demand, so do the clusters that they and their routes lead to. A listener waits for its clusters, and so
// does a changed table, in whose place the old one serves.
extension ProxyServer {
    /// A route table that waits for its clusters.
    struct ComingTable {
        var table: RouteTable
        var resource: Resource
        var clusters: Set<ClusterID>
    }

    /// Reads something, and tells which clusters that leads to.
    func mentioning<Value>(
        _ body: () throws(ConfigError) -> Value
    ) throws(ConfigError) -> (Value, Set<ClusterID>) {
        context.mentionedClusters = []
        defer { context.mentionedClusters = [] }
        let value = try body()
        return (value, context.mentionedClusters)
    }

    /// Asks for those of the clusters of which nothing is known, and gives up those that nobody leads to any more.
    func refer(_ holder: ClusterReferences.Holder, to ids: Set<ClusterID>) async {
        guard let origin = demandOrigin else { return }
        let fresh = references.set(holder, ids)
        let unused = references.takeUnused()
        guard !fresh.isEmpty || !unused.isEmpty else { return }
        let clusters = clusters
        let found = try? await clusters.loop.perform {
            clusters.references.unfollow(unused, origin)
            return clusters.references.follow(fresh, origin)
        }
        references.settled(found?.here ?? fresh)
        references.unfollow(found?.unfollowed ?? fresh)
    }

    /// A cluster that was waited for is here, or is not to be had for now.
    func clusterSettled(_ id: ClusterID) async {
        references.settled([id])
        await publishTables()
        await openWarmListeners()
    }

    /// Tables whose clusters are here serve from now on.
    func publishTables() async {
        while let (place, coming) = comingTables.first(where: { references.areHere(.comingRoutes($0.key)) }) {
            comingTables[place] = nil
            publish(coming, place)
            await refer(.routes(place), to: coming.clusters)
            // Another may have come meanwhile.
            if comingTables[place] == nil { await refer(.comingRoutes(place), to: []) }
        }
        guard comingTables.isEmpty, !lingeringClusters.isEmpty else { return }
        var update = ResourceUpdate(kind: .cluster)
        update.removed = lingeringClusters.sorted()
        lingeringClusters = []
        await remove(update)
    }

    /// Clusters that were taken away serve for as long as the old one of a table that is on its way leads to them.
    func withoutLingering(_ update: ResourceUpdate) -> ResourceUpdate {
        for resource in update.added + update.updated { lingeringClusters.remove(resource.name) }
        guard !comingTables.isEmpty else { return update }
        var update = update
        let lingering = update.removed.filter { name in ClusterID(known: name).map(references.isHeld) ?? false }
        lingeringClusters.formUnion(lingering)
        update.removed.removeAll { lingering.contains($0) }
        return update
    }

    /// Nobody has wanted to go there for long. Connections that came just now go on.
    func drop(listener name: String) async {
        await stopListening(name)
        var gone = ResourceUpdate(kind: .listener)
        gone.removed = [name]
        _ = dynamic.change(.listener, [], removing: [name])
        record.note(gone)
        await refer(.listener(name), to: [])
        try? await followNamed()
    }

    private func stopListening(_ name: String) async {
        warmingListeners[name] = nil
        opening[name] = nil
        served[name] = nil
        let made = listeners.removeValue(forKey: name) ?? []
        listenerChanges.stopped += UInt64(made.count)
        for (worker, listener) in zip(workers, made) { await worker.perform { _ in listener.value.close() } }
    }
}
