import Bytes
import Reactor
import XDS

// What control planes say.
extension ProxyServer {
    /// Before anything is asked of a control plane.
    func startDiscovery(_ aggregated: DiscoveryServer?) async {
        let node = nodeMessage
        let worker = workers[0]
        let (path, owner) = (self.node["metadata"]?[StateFileName.metadata]?.string, self.node["id"]?.string ?? "")
        let users = DiscoverySession.Users(
            apply: { [weak self] update, origin in await self?.applyDiscovered(update, origin) ?? [] },
            giveUp: { [weak self] kind, names, origin, tooLate in
                await self?.giveUpNamed(kind, names, origin, tooLate: tooLate)
            })
        await onDirectory { [weak self] directory in
            directory.discovery?.close()
            let stateFile = path.map { StateFile($0, owner: owner, directory.loop) }
            directory.discovery = DiscoverySessions(
                directory, worker, node: node, aggregated: aggregated, users, stateFile)
            directory.onDemandListeners.dropped = { name in Task { [weak self] in await self?.drop(listener: name) } }
            directory.onDemandListeners.swept = { Task { [weak self] in try? await self?.followNamed() } }
            directory.references.settled = { id in Task { [weak self] in await self?.clusterSettled(id) } }
        }
    }

    /// How control planes stand, the one for all kinds first.
    func discoveryFacts() async -> [DiscoveryFacts] {
        let clusters = clusters
        return (try? await clusters.loop.perform { clusters.discovery?.all.map(\.facts) ?? [] }) ?? []
    }

    func warmingClusters() async -> Set<String> {
        let clusters = clusters
        return Set((try? await clusters.loop.perform { clusters.warmingNames }) ?? [])
    }

    /// Asks for all of a kind; returns when something was said of it, or it has been waited for long enough.
    func discover(_ kind: ResourceKind, _ source: ConfigSource) async {
        let clusters = clusters
        let promise = Promise<Void>()
        clusters.loop.submit {
            guard let session = clusters.discovery?.session(source.origin, kind) else { return promise.succeed(()) }
            session.subscribeToAll(kind, fetchTime: source.fetchTime) { promise.succeed(()) }
        }
        try? await promise.value()
    }

    private func applyDiscovered(_ update: ResourceUpdate, _ origin: ConfigSource.Origin) async -> [ResourceRefusal] {
        if context.subscriptions(update.kind) != nil { return await applyNamed(update, origin) }
        let refused = await applyTolerantly(update)
        let names = Set(refused.map(\.name))
        _ = dynamic.change(
            update.kind, (update.added + update.updated).filter { !names.contains($0.name) }, removing: update.removed)
        return refused
    }

    /// Who we are, as control planes are told.
    private var nodeMessage: Message {
        guard let empty = Message("envoy.config.core.v3.Node") else { preconditionFailure("the schema has no node") }
        var json = node
        let features = json["client_features"]?.array ?? []
        let onDemand = context.listenersOnDemand == nil ? [] : [ListenersOnDemand.feature]
        json["client_features"] = .array(features + (Self.clientFeatures + onDemand).map { .string($0) })
        return (try? Message(json: json, type: empty.type, ignoringUnknown: true)) ?? empty
    }

    /// What we can do that a control plane may want to know.
    private static let clientFeatures = [
        "xds.config.supports-resource-ttl", "xds.config.supports-resource-in-sotw",
    ]
}
