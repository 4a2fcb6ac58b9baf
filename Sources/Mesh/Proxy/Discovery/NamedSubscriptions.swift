import Bytes
import XDS

/// A resource by its name, as RDS and ECDS deliver it: what connection managers hold in place of it. Subscribed to while
/// somebody holds it.
package final class NamedResource: Sendable {
    package let name: String
    let place: Int

    fileprivate init(_ name: String, place: Int) {
        self.name = name
        self.place = place
    }
}

/// The resources of one kind that connection managers ask for by name. Those that ask for the same of the same source share one
/// subscription, as in Envoy. On the main loop only.
final class NamedSubscriptions {
    let kind: ResourceKind

    init(_ kind: ResourceKind) { self.kind = kind }

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
        fileprivate(set) weak var holder: NamedResource?
        var isStarted = false
        /// Listeners need not wait for it any more: it has come, or has not come in time.
        var isReady = false
        /// What is in use.
        var resource: Resource?
        var updated: Timestamp?
        var stats = SubscriptionCounters()
        /// Times that what is in use was of no use to somebody else who asked for it.
        var conflicts: UInt64 = 0
    }

    /// By place; nil where there is none any more.
    private(set) var all: [Subscription?] = []

    func subscribe(_ source: Source, prefix: String, fetchTimeout: UInt64) -> NamedResource {
        for subscription in all where subscription?.source == source {
            if let holder = subscription?.holder { return holder }
        }
        let place = all.firstIndex { $0 == nil } ?? all.count
        let holder = NamedResource(source.name, place: place)
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

    func areReady(_ resources: some Sequence<NamedResource>) -> Bool {
        resources.allSatisfy { self[$0.place]?.isReady ?? false }
    }
}

extension ListenerSnapshot {
    private var managers: [ConnectionManager] {
        chains.compactMap { chain in
            guard case .connectionManager(let manager) = chain.terminal else { return nil }
            return manager
        }
    }

    /// The route configurations that its connection managers know by name.
    var namedRoutes: [NamedResource] {
        managers.compactMap { manager in
            guard case .named(let routes) = manager.routes else { return nil }
            return routes
        }
    }

    /// The filters that they know by name, and cannot do without.
    var awaitedFilters: [NamedResource] {
        managers.flatMap { $0.discovered?.filters ?? [] }.filter(\.isAwaited).map(\.resource)
    }
}
