import ClusterAPI
public import ClusterClient
public import Discovery
import GRPC
import HTTP
public import Reactor
import TLS
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
    let client: KubeClient
    private let log: Log
    private let services: Informer<MeshService>
    private let slices: Informer<MeshSlice>
    private let routes: [Informer<MeshRoute>]
    private let grants: Informer<MeshGrant>
    let pods: Informer<MeshPod>
    private let peerPolicies: Informer<PeerAuthentication>
    private let authorizations: Informer<AuthorizationPolicy>
    private let sidecars: SidecarScopes
    /// Who is at the other end of TLS; set by what serves it.
    var authenticate: (TLSSession.Peer?) throws(GRPCEnding) -> MeshPeer = { _ throws(GRPCEnding) in
        throw GRPCEnding(.unauthenticated, "nobody is known here")
    }

    /// Answers streams; the server is there before this is.
    private final class Front {
        weak var plane: MeshControlPlane?
    }

    // Of the loop.
    private var model: MeshModel
    private var unsynced = 0
    private var isReady = false
    private var audiences: [Audience: ServedScope] = [:]
    private var isScheduled = false

    /// On the loop.
    public init(_ client: KubeClient, domain: String, loop: EventLoop, log: Log) {
        self.loop = loop
        self.client = client
        self.log = log
        model = MeshModel(domain: domain)
        let front = Front()
        server = DiscoveryServer(loop: loop, identifier: "weft-control") { node, peer throws(GRPCEnding) in
            // A proxy that comes back would take half of the world for all of it.
            guard let plane = front.plane, plane.isReady else {
                throw GRPCEnding(.unavailable, "the cluster has not been read yet")
            }
            guard let peer else { return try plane.scopes(ofUnknown: node) }
            return try plane.scopes(of: plane.identify(node, plane.authenticate(peer)), node)
        }
        sidecars = SidecarScopes(server, trustDomain: domain)
        services = Informer(client, .services, log: log)
        slices = Informer(client, .endpointSlices, log: log)
        routes = [RouteKind.http, .grpc].map { Informer(client, $0.resource, log: log) }
        grants = Informer(
            client, GroupVersionResource(group: RouteKind.group, resource: "referencegrants"), log: log)
        pods = Informer(client, .pods, log: log)
        let security = "security.istio.io"
        peerPolicies = Informer(
            client, GroupVersionResource(group: security, resource: "peerauthentications"), log: log)
        authorizations = Informer(
            client, GroupVersionResource(group: security, resource: "authorizationpolicies"), log: log)
        front.plane = self
        follow(services) { model, key, new, _ in model.set(new, key) }
        follow(slices) { model, key, new, old in model.set(new, key, old: old) }
        for (kind, routes) in zip([RouteKind.http, .grpc], routes) {
            follow(routes) { model, key, new, _ in model.set(new, RouteKey(kind: kind, key: key)) }
        }
        follow(grants) { model, key, new, _ in model.set(new, key) }
        follow(pods) { model, key, new, _ in model.set(new, key) }
        follow(peerPolicies) { model, key, new, _ in model.set(new, key) }
        follow(authorizations) { model, key, new, _ in model.set(new, key) }
    }

    /// Until the surrounding task is cancelled.
    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [services] in await services.run() }
            group.addTask { [slices] in await slices.run() }
            for routes in routes { group.addTask { await routes.run() } }
            group.addTask { [grants] in await grants.run() }
            group.addTask { [pods] in await pods.run() }
            group.addTask { [peerPolicies] in await peerPolicies.run() }
            group.addTask { [authorizations] in await authorizations.run() }
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

    private func publish() {
        isScheduled = false
        let changes = model.changes()
        for problem in changes.problems { report(problem) }
        server.publish(changes.audiences.map { (changes[$0], self[$0]) })
        for pod in changes.pods {
            do throws(ConfigError) {
                try sidecars.change(pod, to: model.inboundShape(of: pod))
            } catch { report("pod \(pod): \(error)") }
        }
        isReady = true
    }

    private func report(_ problem: String) { log.error("this cannot be said to proxies", ["what": problem]) }

    // MARK: Who sees what

    subscript(audience: Audience) -> ServedScope {
        if let scope = audiences[audience] { return scope }
        let scope = ServedScope("\(audience)")
        audiences[audience] = scope
        return scope
    }

    /// The listeners and clusters of a pod's own sidecar.
    func ownScope(of pod: ObjectKey) throws(GRPCEnding) -> ServedScope {
        guard let shape = model.inboundShape(of: pod) else {
            throw GRPCEnding(.unavailable, "pod \(pod) is not known here yet")
        }
        do throws(ConfigError) { return try sidecars.scope(of: pod, shape) } catch {
            report("pod \(pod): \(error)")
            throw GRPCEnding(.internalError, "the configuration of pod \(pod) cannot be said: \(error)")
        }
    }
}
