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
    /// Changes that come within this time after others were published become one. The first after a rest waits for nothing.
    static let gathering: Duration = .milliseconds(2)
    /// Callers hear of a change so many rounds after those whom they call, when these do not answer.
    private static let patience = 25
    private static let round: Duration = .milliseconds(4)

    public let server: DiscoveryServer
    let loop: EventLoop
    let client: KubeClient
    private let log: Log
    let pods: Informer<MeshPod>
    /// Of everything that is followed.
    private var followed: [@Sendable () async -> Void] = []
    private let sidecars: SidecarScopes
    let gateways: GatewayScopes
    private var controller: GatewayController?
    /// Who is at the other end of TLS; set by what serves it.
    var authenticate: (TLSSession.Peer?) throws(GRPCEnding) -> MeshPeer = { _ throws(GRPCEnding) in
        throw GRPCEnding(.unauthenticated, "nobody is known here")
    }

    /// Answers streams; the server is there before this is.
    private final class Front {
        weak var plane: MeshControlPlane?
    }

    // Of the loop.
    private(set) var model: MeshModel
    private var unsynced = 0
    private var isReady = false
    private var audiences: [Audience: ServedScope] = [:]
    private var isScheduled = false
    /// Something has changed that is not published yet.
    private var hasNews = false
    private var published = MonotonicTime(nanoseconds: 0)

    /// On the loop.
    ///
    /// - Parameter sidecar: What proxies that are made here are like: those of gateways.
    public init(
        _ client: KubeClient, domain: String, loop: EventLoop, log: Log, sidecar: SidecarSettings = SidecarSettings()
    ) {
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
        gateways = GatewayScopes(server)
        pods = Informer(client, .pods, log: log)
        front.plane = self
        follow(pods) { model, key, new, _ in model.set(new, key) }
        follow(Informer<MeshService>(client, .services, log: log)) { model, key, new, _ in model.set(new, key) }
        follow(Informer<MeshSlice>(client, .endpointSlices, log: log)) { model, key, new, old in
            model.set(new, key, old: old)
        }
        followGatewayAPI()
        follow(Informer<StoredPolicy<PeerAuthentication>>(client, MeshPolicyKind.peers.resource, log: log)) {
            model, key, new, _ in model.set(new, key)
        }
        follow(Informer<StoredPolicy<AuthorizationPolicy>>(client, MeshPolicyKind.authorization.resource, log: log)) {
            model, key, new, _ in model.set(new, key)
        }
        follow(Informer<StoredPolicy<RequestAuthentication>>(client, MeshPolicyKind.requests.resource, log: log)) {
            model, key, new, _ in model.set(new, key)
        }
        let settings = Selection(fields: "metadata.name=\(MeshSettings.name)")
        follow(Informer<MeshSettings>(client, .configMaps, selection: settings, log: log)) { model, key, new, _ in
            model.set(new, key)
        }
        controller = GatewayController(
            client, loop: loop, log: log,
            GatewayController.Questions(
                status: { [weak self] target in
                    try? await self?.loop.perform { [weak self] in
                        guard let self else { return nil }
                        return model.status(target, gateways.refusals, now: .now())
                    }
                },
                workload: { [weak self] key in
                    try? await self?.loop.perform { [weak self] in
                        guard let state = self?.model.gateways.states[key] else { return nil as GatewayWorkload? }
                        return GatewayWorkload(gateway: state.gateway, ports: state.plan.ports, settings: sidecar)
                    }
                },
                ingress: { [weak self] in
                    let state = try? await self?.loop.perform { [weak self] in
                        guard let self else { return nil as (Bool, Bool)? }
                        return (model.needsIngressGateway, model.world.gateways[MeshIngressClass.gateway] != nil)
                    }
                    return (state ?? nil) ?? (false, false)
                }))
        server.seesClients = { [weak self] peer throws(GRPCEnding) in
            guard let self else { throw GRPCEnding(.unavailable, "the control plane stops") }
            return try clients(seenBy: peer)
        }
        server.onRefusals = { [weak self] in
            guard let self else { return }
            controller?.enqueue(gateways.note(model))
        }
    }

    private func followGatewayAPI() {
        for kind in RouteKind.ofGatewayAPI {
            follow(Informer<MeshRoute>(client, kind.resource, log: log)) { model, key, new, _ in
                model.set(new, RouteKey(kind: kind, key: key))
            }
        }
        func resource(_ name: String) -> GroupVersionResource {
            GroupVersionResource(group: RouteKind.group, resource: name)
        }
        follow(Informer<MeshGrant>(client, resource("referencegrants"), log: log)) { model, key, new, _ in
            model.set(new, key)
        }
        follow(Informer<MeshGateway>(client, resource("gateways"), log: log)) { model, key, new, _ in
            model.set(new, key)
        }
        follow(Informer<MeshListenerSet>(client, resource("listenersets"), log: log)) { model, key, new, _ in
            model.set(new, key)
        }
        follow(Informer<MeshGatewayClass>(client, resource("gatewayclasses"), log: log)) { model, key, new, _ in
            model.set(new, key)
        }
        follow(Informer<BackendTLSPolicy>(client, resource("backendtlspolicies"), log: log)) { model, key, new, _ in
            model.set(new, key)
        }
        follow(Informer<MeshIngress>(client, RouteKind.ingress.resource, log: log)) { model, key, new, _ in
            model.set(new, key)
        }
        let classes = GroupVersionResource(group: "networking.k8s.io", resource: "ingressclasses")
        follow(Informer<MeshIngressClass>(client, classes, log: log)) { model, key, new, _ in model.set(new, key) }
        follow(Informer<MeshNamespace>(client, .namespaces, log: log)) { model, key, new, _ in model.set(new, key) }
        let certificates = Selection(fields: "type=kubernetes.io/tls")
        follow(Informer<MeshSecret>(client, .secrets, selection: certificates, log: log)) { model, key, new, _ in
            model.set(new, key)
        }
        follow(Informer<MeshAuthorities>(client, .configMaps, log: log)) { model, key, new, _ in model.set(new, key) }
    }

    /// Until the surrounding task is cancelled.
    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            for follow in followed { group.addTask { await follow() } }
            if let controller { group.addTask { await controller.run() } }
        }
    }

    private func follow<Element>(
        _ informer: Informer<Element>,
        _ apply: @escaping @Sendable (inout MeshModel, ObjectKey, _ new: Element?, _ old: Element?) -> Void
    ) {
        unsynced += 1
        followed.append { await informer.run() }
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
        hasNews = true
        guard unsynced == 0, !isScheduled else { return }
        isScheduled = true
        // What the API tells in one breath is together in either case: those are calls that stand in the loop's queue before this one.
        if loop.now.duration(since: published) >= Self.gathering {
            loop.submit { [weak self] in self?.publish() }
        } else {
            _ = loop.schedule(after: Self.gathering) { [weak self] in self?.publish() }
        }
    }

    private func publish() {
        hasNews = false
        let changes = model.changes()
        for problem in changes.problems { report(problem) }
        let gatewayChanges = model.gatewayChanges()
        for problem in gatewayChanges.problems { report(problem) }
        let outcome = sidecars.change(
            changes.pods.filter(sidecars.serves).map { ($0, model.inboundShape(of: $0)) })
        for problem in outcome.problems { report("\(problem)") }
        let batches = changes.audiences.map { (changes[$0], self[$0]) } + gateways.take(gatewayChanges, model)
        // First those who are called, then those who call: a connection keeps the chain that it met, and one that came too early
        // would not be under the policies of its port.
        whenSettled(outcome.changed, rounds: Self.patience) { [self] in
            server.publish(batches)
            controller?.enqueue(gatewayChanges.statuses)
            isReady = true
            isScheduled = false
            published = .now()
            if hasNews { schedule() }
        }
    }

    /// Calls when the proxies that see these scopes have taken what they are told, or have had their time; perhaps now.
    private func whenSettled(_ scopes: [ServedScope], rounds: Int, _ body: @escaping () -> Void) {
        guard !scopes.isEmpty, rounds > 0 else { return body() }
        _ = loop.schedule(after: Self.round) { [weak self] in
            guard let self else { return }
            whenSettled(scopes.filter { !server.isSettled($0) }, rounds: rounds - 1, body)
        }
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
