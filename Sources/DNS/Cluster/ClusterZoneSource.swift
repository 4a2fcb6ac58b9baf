import Bytes
import ClusterAPI
public import ClusterClient
public import Reactor
import Synchronization

/// Follows the cluster and hands each new zone to whoever serves it.
public final class ClusterZoneSource: Sendable {
    private let services: Informer<ServiceEntry>
    private let slices: Informer<SliceEntry>
    private let namespaces: Informer<NamespaceEntry>
    private let loop: EventLoop
    private let publish: @Sendable (ClusterZone) -> Void
    private let state: Mutex<State>

    private struct State {
        var builder: ZoneBuilder
        var isScheduled = false
        var unsynced = 3
    }

    /// Changes that come within this time become one new zone.
    static let gathering: Duration = .milliseconds(5)

    /// - Parameters:
    ///   - loop: where the informers run and zones are built.
    ///   - publish: called on `loop` with each new zone.
    public init(
        _ client: KubeClient, _ options: ClusterZoneOptions, loop: EventLoop,
        publish: @escaping @Sendable (ClusterZone) -> Void
    ) {
        self.loop = loop
        self.publish = publish
        state = Mutex(State(builder: ZoneBuilder(options)))
        services = Informer(client, .services)
        slices = Informer(client, .endpointSlices)
        namespaces = Informer(client, .namespaces)
        services.onEvent { [weak self] event in
            self?.change(event) { builder in
                switch event {
                case .added(_, let service), .updated(_, _, let service): builder.set(service)
                case .deleted(let key, _): builder.removeService(key)
                case .synced: break
                }
            }
        }
        slices.onEvent { [weak self] event in
            self?.change(event) { builder in
                switch event {
                case .added(_, let slice), .updated(_, _, let slice): builder.set(slice)
                case .deleted(let key, _): builder.removeSlice(key)
                case .synced: break
                }
            }
        }
        namespaces.onEvent { [weak self] event in
            self?.change(event) { builder in
                switch event {
                case .added(let key, _): builder.setNamespace(key.name, exists: true)
                case .deleted(let key, _): builder.setNamespace(key.name, exists: false)
                case .updated, .synced: break
                }
            }
        }
    }

    /// Whether everything was read once.
    public var isSynced: Bool { state.withLock { $0.unsynced == 0 } }

    /// Follows the cluster until the surrounding task is cancelled.
    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [services] in await services.run() }
            group.addTask { [slices] in await slices.run() }
            group.addTask { [namespaces] in await namespaces.run() }
        }
    }

    private func change<Element>(_ event: InformerEvent<Element>, _ apply: (inout ZoneBuilder) -> Void) {
        let (mustSchedule, isSync) = state.withLock { state -> (Bool, Bool) in
            apply(&state.builder)
            var isSync = false
            if case .synced = event {
                state.unsynced -= 1
                isSync = state.unsynced == 0
                if isSync { state.builder.markComplete() }
            }
            // Until everything is known, half a zone would only mislead.
            guard state.unsynced == 0, !state.isScheduled else { return (false, isSync) }
            state.isScheduled = true
            return (true, isSync)
        }
        guard mustSchedule else { return }
        let delay: Duration = isSync ? .zero : Self.gathering
        loop.submit { [self] in _ = loop.schedule(after: delay) { [self] in rebuild(force: isSync) } }
    }

    private func rebuild(force: Bool) {
        let zone = state.withLock { state -> ClusterZone? in
            state.isScheduled = false
            let hasChanged = state.builder.build(now: .now())
            return hasChanged || force ? state.builder.zone : nil
        }
        if let zone { publish(zone) }
    }
}
