import Bytes
import Reactor
import XDS

// Route configurations by name, from files and control planes. A change of one replaces only that table; listeners stay as they are.
extension ProxyServer {
    /// Follows what a listener that was just built asks for, and drops what no listener asks for any more.
    func followRoutes() async throws {
        let gone = context.routes.sweep()
        for place in gone.places {
            comingTables[place] = nil
            await refer(.comingRoutes(place), to: [])
            await refer(.routes(place), to: [])
            for worker in workers { worker.loop.submit { worker.removeRoutes(place) } }
        }
        for file in gone.files { await unfollow(.routeConfiguration, file) }
        if !gone.discovered.isEmpty {
            await onDirectory { directory in
                for source in gone.discovered {
                    directory.discovery?.session(source.origin, .routeConfiguration)?.unsubscribe(
                        .routeConfiguration, source.name)
                }
            }
        }
        for place in context.routes.start() {
            guard let subscription = context.routes[place] else { continue }
            scheduleFetchTimeout(place, subscription)
            let source = subscription.source
            if case .file(let file) = source.origin {
                try await follow(.routeConfiguration, file)
                continue
            }
            context.routes[place]?.stats.attempts += 1
            let fetchTime = subscription.fetchTimeout
            await onDirectory { directory in
                directory.discovery?.session(source.origin, .routeConfiguration)?.subscribeToRoutes(
                    source.name, fetchTime: fetchTime)
            }
        }
    }

    private func scheduleFetchTimeout(_ place: Int, _ subscription: RouteSubscriptions.Subscription) {
        guard subscription.fetchTimeout > 0, let holder = subscription.holder else { return }
        let (loop, time) = (clusters.loop, Duration.nanoseconds(Int64(clamping: subscription.fetchTimeout)))
        loop.submit { [weak holder, weak self] in
            loop.schedule(after: time) {
                guard let holder, let self else { return }
                Task { await self.fetchTimedOut(holder) }
            }
        }
    }

    /// `initial_fetch_timeout`: listeners serve without these routes from now on.
    private func fetchTimedOut(_ routes: NamedRoutes) async {
        guard context.routes[routes.place]?.isReady == false else { return }
        ProxyLog.warning(.config, "no route configuration \(routes.name) has come in time")
        context.routes[routes.place]?.stats.fetchTimeouts += 1
        context.routes[routes.place]?.isReady = true
        await openWarmListeners()
    }

    /// What a control plane says. What was refused of those that nobody has yet is not waited for.
    func applyRoutes(_ update: ResourceUpdate, _ origin: ConfigSource.Origin) async -> [ResourceRefusal] {
        var refused: [ResourceRefusal] = []
        for resource in update.added + update.updated {
            for place in context.routes.places(of: origin, resource.name) {
                context.routes[place]?.stats.attempts += 1
                do { try await take(resource, place) } catch {
                    refused.append(ResourceRefusal(resource.name, "\(error)"))
                }
            }
        }
        await openWarmListeners()
        return refused
    }

    /// Nothing is to be had of these, for now.
    func giveUpRoutes(_ names: [String], _ origin: ConfigSource.Origin) async {
        for name in names {
            for place in context.routes.places(of: origin, name) { context.routes[place]?.isReady = true }
        }
        await openWarmListeners()
    }

    /// A file may have any number of route configurations: each by itself, one that is refused stays as it was.
    func readRoutes(_ file: ConfigFile) async {
        let places = context.routes.places(of: .file(file))
        for place in places { context.routes[place]?.stats.attempts += 1 }
        let response: ResourceResponse
        do {
            response = try ResourceResponse(
                .routeConfiguration, file: ConfigText(name: file.path, text: try Files.readText(file.path)))
        } catch {
            for place in places { context.routes[place]?.stats.failures += 1 }
            return problems.report("\(error)")
        }
        for refusal in response.rejected { problems.report("\(refusal)") }
        for place in places {
            guard let name = context.routes[place]?.source.name else { continue }
            if let resource = response.resources.first(where: { $0.name == name }) {
                do { try await take(resource, place) } catch { problems.report("\(error)") }
            } else if response.rejected.isEmpty {
                // Routes are not taken back by being left out.
                context.routes[place]?.stats.empty += 1
                context.routes[place]?.stats.succeeded(response.version, reloads: false, at: .now())
            } else {
                context.routes[place]?.stats.rejections += 1
            }
        }
        await openWarmListeners()
    }

    private func take(_ resource: Resource, _ place: Int) async throws {
        let isComing = comingTables[place] != nil
        guard isComing || context.routes[place]?.resource?.bytes != resource.bytes else {
            context.routes[place]?.stats.succeeded(resource.version, reloads: false, at: .now())
            return
        }
        do {
            let (table, clusters) = try mentioning { () throws(ConfigError) in
                let node = try resource.node()
                let table = try RouteTable(node, context, isStatic: false)
                try node.finish()
                return table
            }
            comingTables[place] = ComingTable(table: table, resource: resource, clusters: clusters)
            await refer(.comingRoutes(place), to: clusters)
        } catch {
            context.routes[place]?.stats.rejections += 1
            throw error
        }
        await publishTables()
    }

    /// The table serves from now on.
    func publish(_ coming: ComingTable, _ place: Int) {
        let (table, resource, now) = (coming.table, coming.resource, Timestamp.now())
        for worker in workers { worker.loop.submit { worker.set(table, at: place) } }
        context.routes[place]?.resource = resource.atRest
        context.routes[place]?.updated = now
        context.routes[place]?.isReady = true
        context.routes[place]?.stats.succeeded(resource.version, reloads: true, at: now)
    }

    /// What the admin pages tell of route configurations that came by name.
    var dynamicRoutes: [(resource: Resource, updated: Timestamp)] {
        context.routes.all.compactMap { subscription in
            guard let resource = subscription?.resource, let updated = subscription?.updated else { return nil }
            return (resource, updated)
        }
    }
}
