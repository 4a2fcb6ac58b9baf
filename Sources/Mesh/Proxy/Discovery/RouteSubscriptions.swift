import Bytes
import XDS

/// A route configuration by its name, as RDS delivers it: what connection managers hold in place of a table. Workers keep the
/// present table at its place. Subscribed to while somebody holds it.
package final class NamedRoutes: Sendable {
    package let name: String
    let place: Int

    fileprivate init(_ name: String, place: Int) {
        self.name = name
        self.place = place
    }
}

/// The route configurations that connection managers ask for by name. Those that ask for the same of the same source share one
/// subscription, as in Envoy. On the main loop only.
final class RouteSubscriptions {
    struct Source: Hashable {
        var origin: ConfigSource.Origin
        var name: String
    }

    struct Subscription {
        let source: Source
        /// Of the connection manager that asked first: its statistics are there.
        let prefix: String
        /// Nanoseconds; 0 waits for ever.
        let fetchTimeout: UInt64
        fileprivate(set) weak var holder: NamedRoutes?
        var isStarted = false
        /// Listeners need not wait for it any more: it has come, or has not come in time.
        var isReady = false
        /// What is in use.
        var resource: Resource?
        var updated: Timestamp?
        var stats = SubscriptionCounters()
    }

    /// By place; nil where there is none any more.
    private(set) var all: [Subscription?] = []

    func subscribe(_ source: Source, prefix: String, fetchTimeout: UInt64) -> NamedRoutes {
        for subscription in all where subscription?.source == source {
            if let holder = subscription?.holder { return holder }
        }
        let place = all.firstIndex { $0 == nil } ?? all.count
        let holder = NamedRoutes(source.name, place: place)
        if place == all.count { all.append(nil) }
        all[place] = Subscription(source: source, prefix: prefix, fetchTimeout: fetchTimeout, holder: holder)
        return holder
    }

    subscript(place: Int) -> Subscription? {
        get { all.indices.contains(place) ? all[place] : nil }
        set { if all.indices.contains(place) { all[place] = newValue } }
    }

    /// The places of those that are yet to be followed.
    func start() -> [Int] {
        let fresh = all.indices.filter { all[$0].map { !$0.isStarted && $0.holder != nil } ?? false }
        for place in fresh { all[place]?.isStarted = true }
        return fresh
    }

    /// Ends those that nobody holds any more.
    ///
    /// - Returns: their places, the files that nobody needs any more, and what is to be asked of control planes no longer.
    func sweep() -> (places: [Int], files: [ConfigFile], discovered: [Source]) {
        let gone = all.indices.filter { all[$0] != nil && all[$0]?.holder == nil }
        let sources = gone.compactMap { all[$0]?.isStarted == true ? all[$0]?.source : nil }
        for place in gone { all[place] = nil }
        var files: Set<ConfigFile> = []
        var discovered: [Source] = []
        for source in sources {
            if case .file(let file) = source.origin {
                if !all.contains(where: { $0?.source.origin == source.origin }) { files.insert(file) }
            } else {
                discovered.append(source)
            }
        }
        return (gone, Array(files), discovered)
    }

    /// Of a source, or of one of its names.
    func places(of origin: ConfigSource.Origin, _ name: String? = nil) -> [Int] {
        all.indices.filter { place in
            guard let subscription = all[place], subscription.isStarted else { return false }
            return subscription.source.origin == origin && (name == nil || subscription.source.name == name)
        }
    }

    func areReady(_ routes: [NamedRoutes]) -> Bool { routes.allSatisfy { self[$0.place]?.isReady ?? false } }
}

extension ListenerSnapshot {
    /// The route configurations that its connection managers know by name.
    var namedRoutes: [NamedRoutes] {
        chains.compactMap { chain in
            guard case .connectionManager(let manager) = chain.terminal, case .named(let routes) = manager.routes else {
                return nil
            }
            return routes
        }
    }
}
