import Bytes
import Reactor
import XDS

// Route configurations and filters by name, from files and control planes. A change of one replaces only that table, or that
// filter; listeners and connections stay as they are.
extension ProxyServer {
    /// Follows what a listener that was just built asks for, and drops what no listener asks for any more.
    func followNamed() async throws {
        for place in context.filterChains.sweep() {
            for worker in workers { worker.loop.submit { worker.removeManager(place) } }
        }
        for subscriptions in context.namedKinds { try await follow(subscriptions) }
    }

    private func follow(_ subscriptions: NamedSubscriptions) async throws {
        let kind = subscriptions.kind
        let gone = subscriptions.sweep()
        if kind == .routeConfiguration {
            for place in gone.places {
                comingTables[place] = nil
                await refer(.comingRoutes(place), to: [])
                await refer(.routes(place), to: [])
                for worker in workers { worker.loop.submit { worker.removeRoutes(place) } }
            }
        }
        for file in gone.files { await unfollow(kind, file) }
        if !gone.discovered.isEmpty {
            await onDirectory { directory in
                for source in gone.discovered {
                    directory.discovery?.session(source.origin, kind)?.unsubscribe(kind, source.name)
                }
            }
        }
        for place in subscriptions.start() {
            guard let subscription = subscriptions[place] else { continue }
            let source = subscription.source
            if case .file(let file) = source.origin {
                // Control planes are given up by their sessions.
                scheduleFetchTimeout(subscriptions, subscription)
                try await follow(kind, file)
                continue
            }
            subscriptions[place]?.stats.attempts += 1
            let fetchTime = subscription.fetchTimeout
            await onDirectory { directory in
                directory.discovery?.session(source.origin, kind)?.subscribe(
                    to: kind, source.name, fetchTime: fetchTime)
            }
        }
    }

    private func scheduleFetchTimeout(
        _ subscriptions: NamedSubscriptions, _ subscription: NamedSubscriptions.Subscription
    ) {
        guard subscription.fetchTimeout > 0, let holder = subscription.holder else { return }
        let kind = subscriptions.kind
        let (loop, time) = (clusters.loop, Duration.nanoseconds(Int64(clamping: subscription.fetchTimeout)))
        loop.submit { [weak holder, weak self] in
            loop.schedule(after: time) {
                guard let holder, let self else { return }
                Task { await self.fetchTimedOut(kind, holder) }
            }
        }
    }

    /// `initial_fetch_timeout`: listeners serve without it from now on.
    private func fetchTimedOut(_ kind: ResourceKind, _ resource: NamedResource) async {
        let subscriptions = context.subscriptions(kind)
        guard subscriptions?[resource.place]?.isReady == false else { return }
        ProxyLog.warning(.config, "no \(kind.noun) \(resource.name) has come in time")
        subscriptions?[resource.place]?.stats.fetchTimeouts += 1
        subscriptions?[resource.place]?.isReady = true
        await openWarmListeners()
    }

    /// What a control plane says. What was refused of those that nobody has yet is not waited for.
    func applyNamed(_ update: ResourceUpdate, _ origin: ConfigSource.Origin) async -> [ResourceRefusal] {
        guard let subscriptions = context.subscriptions(update.kind) else { return [] }
        var refused: [ResourceRefusal] = []
        for resource in update.added + update.updated {
            for place in subscriptions.places(of: origin, resource.name) {
                subscriptions[place]?.stats.attempts += 1
                do { try await take(resource, subscriptions, place) } catch {
                    refused.append(ResourceRefusal(resource.name, "\(error)"))
                }
            }
        }
        // Routes are not taken back.
        if update.kind == .extensionConfig {
            for name in update.removed {
                for place in subscriptions.places(of: origin, name) { removeFilter(place) }
            }
        }
        await openWarmListeners()
        return refused
    }

    /// Nothing is to be had of these, for now.
    func giveUpNamed(
        _ kind: ResourceKind, _ names: [String], _ origin: ConfigSource.Origin, tooLate: Bool
    ) async {
        guard let subscriptions = context.subscriptions(kind) else { return }
        for name in names {
            for place in subscriptions.places(of: origin, name) {
                if tooLate { subscriptions[place]?.stats.fetchTimeouts += 1 }
                subscriptions[place]?.isReady = true
            }
        }
        await openWarmListeners()
    }

    /// A file may have any number of resources: each by itself, one that is refused stays as it was.
    func readNamed(_ kind: ResourceKind, _ file: ConfigFile) async {
        guard let subscriptions = context.subscriptions(kind) else { return }
        let places = subscriptions.places(of: .file(file))
        for place in places { subscriptions[place]?.stats.attempts += 1 }
        let response: ResourceResponse
        do {
            response = try ResourceResponse(
                kind, file: ConfigText(name: file.path, text: try Files.readText(file.path)))
        } catch {
            for place in places { subscriptions[place]?.stats.failures += 1 }
            return problems.report("\(error)")
        }
        for refusal in response.rejected { problems.report("\(refusal)") }
        for place in places {
            guard let name = subscriptions[place]?.source.name else { continue }
            if let resource = response.resources.first(where: { $0.name == name }) {
                do { try await take(resource, subscriptions, place) } catch {
                    problems.report(kind.rejection(of: [ResourceRefusal(name, "\(error)")]))
                }
            } else if response.rejected.isEmpty {
                // Neither is taken back by being left out.
                subscriptions[place]?.stats.empty += 1
                subscriptions[place]?.stats.succeeded(response.version, reloads: false, at: .now())
            } else {
                subscriptions[place]?.stats.rejections += 1
            }
        }
        await openWarmListeners()
    }

    private func take(_ resource: Resource, _ subscriptions: NamedSubscriptions, _ place: Int) async throws {
        let isRoutes = subscriptions.kind == .routeConfiguration
        let isComing = isRoutes && comingTables[place] != nil
        guard isComing || subscriptions[place]?.resource?.bytes != resource.bytes else {
            subscriptions[place]?.stats.succeeded(resource.version, reloads: false, at: .now())
            return
        }
        do {
            if isRoutes { try await setRoutes(resource, place) } else { try setFilter(resource, place) }
        } catch {
            subscriptions[place]?.stats.rejections += 1
            // Who has nothing yet goes on without, as nothing else may come.
            subscriptions[place]?.isReady = true
            throw error
        }
        if isRoutes { await publishTables() } else { taken(resource, subscriptions, place) }
    }

    /// It is in use from now on.
    private func taken(_ resource: Resource, _ subscriptions: NamedSubscriptions, _ place: Int) {
        let now = Timestamp.now()
        subscriptions[place]?.resource = resource.atRest
        subscriptions[place]?.updated = now
        subscriptions[place]?.isReady = true
        subscriptions[place]?.stats.succeeded(resource.version, reloads: true, at: now)
    }

    private func setRoutes(_ resource: Resource, _ place: Int) async throws {
        let (table, clusters) = try mentioning { () throws(ConfigError) in
            let node = try resource.node()
            let table = try RouteTable(node, context, isStatic: false)
            try node.finish()
            return table
        }
        comingTables[place] = ComingTable(table: table, resource: resource, clusters: clusters)
        await refer(.comingRoutes(place), to: clusters)
    }

    /// The table serves from now on.
    func publish(_ coming: ComingTable, _ place: Int) {
        let table = coming.table
        for worker in workers { worker.loop.submit { worker.set(table, at: place) } }
        taken(coming.resource, context.routes, place)
    }

    var dynamicRoutes: [(resource: Resource, updated: Timestamp)] { named(context.routes) }

    /// What the admin pages tell of the resources of a kind that came by name.
    func named(_ subscriptions: NamedSubscriptions) -> [(resource: Resource, updated: Timestamp)] {
        subscriptions.all.compactMap { subscription in
            guard let resource = subscription?.resource, let updated = subscription?.updated else { return nil }
            return (resource, updated)
        }
    }
}
