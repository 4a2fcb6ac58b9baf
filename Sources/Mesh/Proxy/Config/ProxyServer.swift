import Bytes
import Reactor
import XDS

/// The proxy as a whole: workers, and the resources that tell them what to do. Each resource is added, updated or removed by
/// itself, whatever source it comes from.
///
/// An actor: configuration comes from several sources, and is applied one change after the other. Workers are reached by message.
package actor ProxyServer {
    package nonisolated let workers: [ProxyWorker]
    let context: BuildContext
    package nonisolated let options: ServerOptions
    package nonisolated let logs: LogFiles
    private(set) var resources = ResourceSet()
    var listeners: [String: [ProxyListenerReference]] = [:]
    var record = ResourceRecord()
    /// For `/config_dump`.
    private(set) var bootstrap: BootstrapAtRest?
    var state = ServerState.initializing
    /// It is a sidecar or gateway of a mesh, and counts who asks whom.
    private(set) var isOfMesh = false
    /// Of the admin port.
    private var openTaps = 0
    /// What counters stood at when they were reset.
    var baseline: [String: Int64] = [:]
    private let began = MonotonicTime.now()
    let startTime = Timestamp.now()
    nonisolated let clusters: ClusterDirectory
    package nonisolated let problems = ConfigProblems()
    /// What files and control planes say, beside what the bootstrap says itself.
    var dynamic = ResourceSet()
    private(set) var files: [SubscribedFile] = []
    /// Listeners that wait for their routes or secrets; one that changed serves as before until then.
    var warmingListeners: [String: ListenerSnapshot] = [:]
    /// Listeners that are being bound.
    var opening: [String: ListenerSnapshot] = [:]
    /// What the workers' listeners have now, by name.
    var served: [String: ListenerSnapshot] = [:]
    var listenerChanges = ListenerChanges()
    var listenersAreWarm: [Promise<Void>] = []
    /// Where clusters are asked for to which listeners lead that came on demand; nil until a listener asks for others.
    var demandOrigin: ConfigSource.Origin?
    var references = ClusterReferences()
    /// By place.
    var comingTables: [Int: ComingTable] = [:]
    /// Clusters that were taken away, and are still in use.
    var lingeringClusters: Set<String> = []
    private var isReading = false
    private var toRead: [Int] = []

    /// One worker a loop of the group.
    /// - Parameter control: where clusters are kept and files are watched; one of the workers' loops otherwise.
    package init(_ group: EventLoopGroup, control: EventLoop? = nil, _ options: ServerOptions = ServerOptions()) throws
    {
        self.options = options
        logs = try LogFiles(interval: options.logInterval)
        context = BuildContext(logs: logs)
        workers = group.all.enumerated().map {
            ProxyWorker($0.element, index: $0.offset, explains: options.explainedRequests)
        }
        var drain = DrainSettings()
        drain.time = UInt64(max(options.drainTime.saturatedNanoseconds, 0))
        drain.isGradual = !options.drainsAtOnce
        for worker in workers { worker.loop.submit { [drain] in worker.drain = drain } }
        clusters = ClusterDirectory(control ?? group.all[0], workers, problems)
        clusters.loop.submit { [clusters, weak self] in
            clusters.secrets.came = { update in Task { [weak self] in await self?.noteSecrets(update) } }
        }
    }

    /// - Returns: Whether there may be one more.
    func openTap() -> Bool {
        guard openTaps < AdminServer.tapLimit else { return false }
        openTaps += 1
        return true
    }

    func closeTap() { openTaps -= 1 }

    /// Sidecars and gateways of a mesh are known by their node's name, as Istio's are. Each worker counts for itself; one that counts
    /// already goes on.
    private func startMeshStats() {
        let node = node
        let id = node["id"]?.string ?? ""
        isOfMesh = id.hasPrefix("sidecar~") || id.hasPrefix("router~")
        guard isOfMesh else { return }
        let own = WorkloadLabels(node: node)
        for worker in workers {
            worker.loop.submit { if worker.watch.stats == nil { worker.watch.stats = MeshStats(own: own) } }
        }
    }

    /// Takes what the bootstrap says of itself.
    package func load(_ bootstrap: ConfigNode) async throws {
        let found = try bootstrap.staticResources()
        self.bootstrap = BootstrapAtRest(bootstrap.message)
        try context.know(bootstrap, found, options)
        // The port is opened by who starts the server, if anybody does.
        _ = try AdminOptions(bootstrap)
        startMeshStats()
        context.runtime.publish()
        await watchOverload()
        try await applyStatic(resources.replace(.secret, with: found[.secret] ?? []))
        let sources = try DynamicSources(bootstrap, context, found[.cluster] ?? [])
        try bootstrap.finish()
        context.listenersOnDemand = sources.listenersOnDemand(node)
        let home = context.home
        await onDirectory { $0.setHome(home) }
        await startDiscovery(sources.aggregated)
        try await applyStatic(resources.replace(.cluster, with: found[.cluster] ?? []))
        if let source = sources.clusters { try await follow(.cluster, source) }
        await warm()
        try await applyStatic(resources.replace(.listener, with: found[.listener] ?? []))
        if let source = sources.listeners { try await follow(.listener, source) }
        await warmListeners()
        if state == .initializing { state = .live }
    }

    private func applyStatic(_ update: ResourceUpdate) async throws {
        try await apply(update)
        record.note(update, isStatic: true)
    }

    /// Since when it runs.
    var uptime: Duration { .nanoseconds(Int64(MonotonicTime.now().nanoseconds &- began.nanoseconds)) }

    /// What a bootstrap would be refused for. Changes nothing.
    package static func validate(_ bootstrap: ConfigNode) throws {
        let found = try bootstrap.staticResources()
        let context = BuildContext(logs: try LogFiles())
        try context.know(bootstrap, found)
        for resource in found[.secret] ?? [] { try check(secret: resource) }
        _ = try DynamicSources(bootstrap, context, found[.cluster] ?? [])
        _ = try AdminOptions(bootstrap)
        try bootstrap.finish()
        for resource in found[.cluster] ?? [] { _ = try cluster(resource, context) }
        var listeners: [ListenerSnapshot] = []
        for resource in found[.listener] ?? [] {
            let listener = try listener(resource, context)
            try listener.checkAddresses(against: listeners)
            listeners.append(listener)
        }
    }

    /// Returns when the source has said something, or has been waited for long enough.
    private func follow(_ kind: ResourceKind, _ source: ConfigSource) async throws {
        if case .file(let file) = source.origin { try await follow(kind, file) } else { await discover(kind, source) }
    }

    // MARK: Files

    /// Reads a file now, and again whenever it is replaced.
    func follow(_ kind: ResourceKind, _ file: ConfigFile) async throws {
        let known = files.firstIndex { $0.kind == kind && $0.file == file }
        let number = known ?? files.count
        if known == nil { files.append(SubscribedFile(kind: kind, file: file)) }
        guard files[number].watch == nil else { return await changed(number) }
        let loop = clusters.loop
        files[number].watch = try await loop.perform {
            WatchReference(
                value: try DirectoryWatch(file.directory, on: loop) { [weak self] name in
                    guard file.isMeant(name), let self else { return }
                    Task { await self.changed(number) }
                })
        }
        await changed(number)
    }

    func unfollow(_ kind: ResourceKind, _ file: ConfigFile) async {
        guard let number = files.firstIndex(where: { $0.kind == kind && $0.file == file }) else { return }
        let watch = files[number].watch
        files[number].watch = nil
        try? await clusters.loop.perform { watch?.value.close() }
    }

    /// One file after the other, in the order in which they changed.
    private func changed(_ number: Int) async {
        toRead.append(number)
        guard !isReading else { return }
        isReading = true
        while !toRead.isEmpty {
            let number = toRead.removeFirst()
            await read(number)
        }
        isReading = false
    }

    /// What cannot be read, or used, leaves what was before.
    private func read(_ number: Int) async {
        let (kind, file) = (files[number].kind, files[number].file)
        if context.subscriptions(kind) != nil { return await readNamed(kind, file) }
        files[number].counters.attempts += 1
        let response: ResourceResponse
        do {
            response = try ResourceResponse(
                kind, file: ConfigText(name: file.path, text: try Files.readText(file.path)))
        } catch {
            files[number].counters.failures += 1
            return problems.report("\(error)")
        }
        for refusal in response.rejected { problems.report("\(refusal)") }
        // What could not even be read is not gone.
        var update: ResourceUpdate
        if response.rejected.isEmpty {
            update = dynamic.replace(kind, with: response.resources)
        } else {
            update = dynamic.change(kind, response.resources, removing: [])
        }
        let refused = await applyTolerantly(update)
        if !refused.isEmpty { problems.report(kind.rejection(of: refused)) }
        if refused.isEmpty, response.rejected.isEmpty {
            files[number].counters.succeeded(response.version, reloads: true, at: .now())
        } else {
            files[number].counters.rejections += 1
        }
        if kind == .cluster { await warm() }
    }

    /// Each resource by itself: one that is refused does not keep the others back, and stays as it was. What the bootstrap says
    /// itself stays.
    func applyTolerantly(_ update: ResourceUpdate) async -> [ResourceRefusal] {
        var update = update
        let fixed = Set(resources.all(update.kind).map(\.name))
        update.added.removeAll { fixed.contains($0.name) }
        update.updated.removeAll { fixed.contains($0.name) }
        update.removed.removeAll { fixed.contains($0) }
        // A listener may take the address of one that goes; a cluster's place is taken before it goes.
        if update.kind == .listener { await remove(update) }
        if update.kind == .cluster {
            let refused = await setClusters(update)
            await remove(withoutLingering(update))
            return refused
        }
        var refused: [ResourceRefusal] = []
        for (isNew, resource) in update.added.map({ (true, $0) }) + update.updated.map({ (false, $0) }) {
            var one = ResourceUpdate(kind: update.kind)
            if isNew { one.added = [resource] } else { one.updated = [resource] }
            do {
                try await apply(one)
                record.note(one)
            } catch {
                record.noteRefused(update.kind)
                refused.append(ResourceRefusal(resource.name, "\(error)"))
            }
        }
        if update.kind != .listener {
            await remove(update)
        } else {
            // What only the listeners of before had asked for.
            do { try await followNamed() } catch { problems.report("\(error)") }
        }
        return refused
    }

    /// All that can be used in one go: there may be thousands.
    private func setClusters(_ update: ResourceUpdate) async -> [ResourceRefusal] {
        var refused: [ResourceRefusal] = []
        var clusters: [ConfiguredCluster] = []
        for resource in update.added + update.updated {
            do throws(ConfigError) { clusters.append(try Self.cluster(resource, context)) } catch {
                record.noteRefused(.cluster)
                refused.append(ResourceRefusal(resource.name, error.description))
            }
        }
        if !clusters.isEmpty { await onDirectory { [clusters] in $0.set(clusters) } }
        let names = Set(refused.map(\.name))
        var used = ResourceUpdate(kind: .cluster)
        used.added = update.added.filter { !names.contains($0.name) }
        used.updated = update.updated.filter { !names.contains($0.name) }
        record.note(used)
        return refused
    }

    func remove(_ update: ResourceUpdate) async {
        guard !update.removed.isEmpty else { return }
        var gone = ResourceUpdate(kind: update.kind)
        gone.removed = update.removed
        do { try await apply(gone) } catch { problems.report("\(error)") }
        record.note(gone)
    }

    /// Returns when every cluster is warm.
    private func warm() async {
        let clusters = clusters
        let promise = Promise<Void>()
        clusters.loop.submit { clusters.whenWarm { promise.succeed(()) } }
        try? await promise.value()
        for worker in workers { await worker.perform { _ in } }
    }

    private static func cluster(
        _ resource: Resource, _ context: BuildContext
    ) throws(ConfigError) -> ConfiguredCluster {
        let node = try resource.node()
        let cluster = try ConfiguredCluster(node, context)
        try node.finish()
        return cluster
    }

    private static func listener(
        _ resource: Resource, _ context: BuildContext
    ) throws(ConfigError) -> ListenerSnapshot {
        let node = try resource.node()
        let listener = try ListenerSnapshot(node, context)
        try node.finish()
        return listener
    }

    package func apply(_ update: ResourceUpdate) async throws {
        if update.kind == .secret { try await applySecrets(update) }
        if update.kind == .cluster {
            var clusters: [ConfiguredCluster] = []
            for resource in update.added + update.updated { clusters.append(try Self.cluster(resource, context)) }
            await onDirectory { [clusters] in $0.set(clusters) }
        }
        for resource in update.added + update.updated {
            switch resource.kind {
            case .listener:
                let (snapshot, clusters) = try mentioning { () throws(ConfigError) in
                    try Self.listener(resource, context)
                }
                if let demand = snapshot.demand {
                    demandOrigin = demand.origin
                    await onDirectory { $0.onDemandListeners.goOn(demand) }
                }
                await refer(.listener(snapshot.name), to: clusters)
                try await followNamed()
                await followSecrets(snapshot.liveContexts)
                try await listen(snapshot)
            default: break
            }
        }
        for name in update.removed {
            switch update.kind {
            case .cluster:
                if let id = ClusterID(known: name) { await onDirectory { $0.remove(id) } }
            case .listener:
                await removeListener(name)
                await refer(.listener(name), to: [])
            default: break
            }
        }
        guard update.kind == .listener, !update.removed.isEmpty else { return }
        tellListenersAreWarm()
        try await followNamed()
    }

    /// Runs on the directory's loop, and returns when the workers have heard of it too.
    func onDirectory(_ body: @escaping @Sendable (ClusterDirectory) -> Void) async {
        let clusters = clusters
        try? await clusters.loop.perform { body(clusters) }
        for worker in workers { await worker.perform { _ in } }
    }

    /// A cluster's counters over all workers, under Envoy's names below `cluster.NAME.`
    package func clusterStats(_ name: String) async -> [(name: String, value: Int64)] {
        await stats().samples.compactMap { $0.scope == .cluster(name) ? ($0.leaf, $0.value) : nil }
    }

    /// Takes no more connections, and lets go of what the workers hold. Their loops may end then.
    package func close() async {
        for (_, made) in listeners {
            for (worker, listener) in zip(workers, made) { await worker.perform { _ in listener.value.close() } }
        }
        listeners = [:]
        warmingListeners = [:]
        opening = [:]
        tellListenersAreWarm()
        for file in files {
            let watch = file.watch
            try? await clusters.loop.perform { watch?.value.close() }
        }
        await onDirectory { $0.close() }
        for worker in workers { await worker.perform { $0.close() } }
        await logs.close()
    }

    /// What all workers have counted under a name; nil when no filter counts under it.
    package func counter(_ name: String) async -> UInt64? {
        guard let counter = context.counters.find(name) else { return nil }
        var sum: UInt64 = 0
        for worker in workers { sum &+= (try? await worker.loop.perform { worker.value(counter) }) ?? 0 }
        return sum
    }

    /// What a listener is bound to.
    package func addresses(of name: String) async -> [SocketAddress] {
        guard let listener = listeners[name]?.first, let worker = workers.first else { return [] }
        return (try? await worker.loop.perform { listener.value.addresses }) ?? []
    }
}

/// A file that resources of a kind come from.
struct SubscribedFile: Sendable {
    let kind: ResourceKind
    let file: ConfigFile
    /// nil while nobody needs it.
    fileprivate var watch: WatchReference?
    var counters = SubscriptionCounters()

    init(kind: ResourceKind, file: ConfigFile) {
        self.kind = kind
        self.file = file
    }
}

/// A watch as the server holds it: touched on its loop only, which makes it safe to pass on.
private struct WatchReference: @unchecked Sendable {
    let value: DirectoryWatch
}

/// A worker's listener as the main loop holds it: touched on the worker's loop only, which makes it safe to pass on.
struct ProxyListenerReference: @unchecked Sendable {
    let value: ProxyListener
    init(_ value: ProxyListener) { self.value = value }
}

extension ProxyWorker {
    /// Runs on the worker's loop.
    func perform(_ body: @escaping @Sendable (ProxyWorker) -> Void) async {
        try? await loop.perform { [self] in body(self) }
    }
}
