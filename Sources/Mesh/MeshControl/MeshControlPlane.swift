import ClusterAPI
public import ClusterClient
public import Discovery
import GRPC
import HTTP
public import Reactor
import Telemetry
import XDS

/// Follows the cluster's Services, their endpoints and the HTTPRoutes that bind to them, and hands what follows to proxies.
///
/// Belongs to one loop, on which its server's streams are too.
public final class MeshControlPlane: @unchecked Sendable {
    /// Changes that come within this time become one.
    static let gathering: Duration = .milliseconds(2)

    public let server: DiscoveryServer
    let loop: EventLoop
    private let log: Log
    private let services: Informer<MeshService>
    private let slices: Informer<MeshSlice>
    private let routes: [Informer<MeshRoute>]
    private let grants: Informer<MeshGrant>
    /// What every proxy sees, and what only those see that have no listeners of their own: gRPC's clients.
    let shared: ServedScope
    let listeners: ServedScope
    private let readiness: Readiness

    private final class Readiness {
        var isReady = false
    }

    // Of the loop.
    private var model: MeshModel
    private var unsynced = 0
    /// What the proxies of a namespace see before what all see.
    private var namespaces: [String: ServedScope] = [:]
    private var isScheduled = false

    /// On the loop.
    public init(_ client: KubeClient, domain: String, loop: EventLoop, log: Log) {
        self.loop = loop
        self.log = log
        model = MeshModel(domain: domain)
        let (shared, listeners) = (ServedScope("mesh"), ServedScope("listeners"))
        (self.shared, self.listeners) = (shared, listeners)
        let readiness = Readiness()
        self.readiness = readiness
        server = DiscoveryServer(loop: loop, identifier: "weft-control") { node, _ throws(GRPCEnding) in
            // A proxy that comes back would take half of the world for all of it.
            guard readiness.isReady else { throw GRPCEnding(.unavailable, "the cluster has not been read yet") }
            return node.userAgent.hasPrefix("gRPC") ? [listeners, shared] : [shared]
        }
        services = Informer(client, .services, log: log)
        slices = Informer(client, .endpointSlices, log: log)
        routes = [RouteKind.http, .grpc].map { Informer(client, $0.resource, log: log) }
        grants = Informer(
            client, GroupVersionResource(group: RouteKind.group, resource: "referencegrants"), log: log)
        follow(services) { model, key, new, _ in model.set(new, key) }
        follow(slices) { model, key, new, old in model.set(new, key, old: old) }
        for (kind, routes) in zip([RouteKind.http, .grpc], routes) {
            follow(routes) { model, key, new, _ in model.set(new, RouteKey(kind: kind, key: key)) }
        }
        follow(grants) { model, key, new, _ in model.set(new, key) }
    }

    /// Until the surrounding task is cancelled.
    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [services] in await services.run() }
            group.addTask { [slices] in await slices.run() }
            for routes in routes { group.addTask { await routes.run() } }
            group.addTask { [grants] in await grants.run() }
        }
    }

    private func follow<Element>(
        _ informer: Informer<Element>,
        _ apply: @escaping @Sendable (inout MeshModel, ObjectKey, _ new: Element?, _ old: Element?) -> Void
    ) {
        unsynced += 1
        informer.onEvent { [weak self] event in
            guard let self else { return }
            loop.execute { [self] in
                switch event {
                case .added(let key, let new): apply(&model, key, new, nil)
                case .updated(let key, let old, let new): apply(&model, key, new, old)
                case .deleted(let key, let old): apply(&model, key, nil, old)
                case .synced: unsynced -= 1
                }
                schedule()
            }
        }
    }

    /// Half of what is known at first would only mislead.
    private func schedule() {
        guard unsynced == 0, !isScheduled else { return }
        isScheduled = true
        _ = loop.schedule(after: Self.gathering) { [weak self] in self?.publish() }
    }

    /// What the proxies of a namespace see before what all see: consumers' own routes.
    func scope(_ namespace: String) -> ServedScope {
        if let scope = namespaces[namespace] { return scope }
        let scope = ServedScope("namespace \(namespace)")
        namespaces[namespace] = scope
        return scope
    }

    private func publish() {
        isScheduled = false
        let changes = model.changes()
        for problem in changes.problems { log.error("this cannot be said to proxies", ["what": problem]) }
        server.publish(changes.shared, in: shared)
        server.publish(changes.listeners, in: listeners)
        for (namespace, changes) in changes.namespaces { server.publish(changes, in: scope(namespace)) }
        readiness.isReady = true
    }
}
