import ClusterAPI
import Discovery
import JSON
import XDS

/// Something whose status is ours to write.
enum StatusTarget: Hashable, Sendable {
    case gatewayClass(String)
    case gateway(ObjectKey)
    case route(RouteKey)
    case policy(ObjectKey)
    case ingress(ObjectKey)
    case listenerSet(ObjectKey)
    case meshPolicy(MeshPolicyKey)
}

/// What gateways are told, and whose status may have changed with it: pure. The work of a change is that of the Gateways and the
/// hostnames that it touches.
struct GatewayModel {
    private(set) var states: [ObjectKey: GatewayState] = [:]
    private var dirtyGateways: Set<ObjectKey> = []
    private var dirtyRoutes: Set<RouteKey> = []
    private var dirtyServices: Set<ObjectKey> = []
    private var dirtyPolicies: Set<ObjectKey> = []
    private var statuses: Set<StatusTarget> = []
    private var rotated: [ObjectKey: Set<ObjectKey>] = [:]
    private var published: [ObjectKey: Set<Name>] = [:]

    private struct Name: Hashable {
        var kind: ResourceKind
        var name: String
    }

    /// What follows from what has changed.
    struct Changes {
        /// By Gateway: what its proxies see and nobody else.
        var gateways: [ObjectKey: [ServedChange]] = [:]
        /// Gateways that have gone, or are another's now.
        var gone: Set<ObjectKey> = []
        var statuses: Set<StatusTarget> = []
        var problems: [String] = []
    }

    // MARK: What has changed

    mutating func touch(gateway key: ObjectKey) { dirtyGateways.insert(key) }

    mutating func touch(route key: RouteKey) { dirtyRoutes.insert(key) }

    /// Others may be let in at a Gateway than before.
    mutating func touch(policiesOf key: ObjectKey) { dirtyPolicies.insert(key) }

    /// What is said of a Service's clusters has changed.
    mutating func touch(service key: ObjectKey) { dirtyServices.insert(key) }

    mutating func touch(status target: StatusTarget) { statuses.insert(target) }

    mutating func touch(gatewayClass name: String, _ world: MeshWorld) {
        statuses.insert(.gatewayClass(name))
        for gateway in world.gateways.values where gateway.className == name { dirtyGateways.insert(gateway.key) }
    }

    /// A Secret that comes, goes or becomes usable changes listeners; one that is only new is told as it is.
    mutating func touch(secret key: ObjectKey, _ old: MeshSecret?, _ new: MeshSecret?, _ world: MeshWorld) {
        let isSameForm = old != nil && new != nil && old?.problem == nil && new?.problem == nil
        for state in states.values {
            let gateway = state.gateway
            if isSameForm {
                if state.secrets.contains(key) { rotated[gateway.key, default: []].insert(key) }
            } else if Self.refers(gateway, toSecret: key, world) {
                dirtyGateways.insert(gateway.key)
            }
        }
    }

    private static func refers(_ gateway: MeshGateway, toSecret key: ObjectKey, _ world: MeshWorld) -> Bool {
        let listeners = gateway.listeners + world.listeners(addedTo: gateway)
        let own = listeners.flatMap { listener in
            listener.certificates.map { $0.target(from: listener.owner.key.namespace) }
        }
        return own.contains(key)
            || gateway.backend["clientCertificateRef"]?.target(from: gateway.key.namespace) == key
    }

    /// What selects by a namespace's labels may choose otherwise.
    mutating func touchSelectors() {
        for state in states.values {
            let selects = state.plan.listeners.contains { listener in
                if case .selector = listener.spec.namespaces { true } else { false }
            }
            let selectsSets = if case .selector = state.gateway.allowedSets { true } else { false }
            if selects || selectsSets { dirtyGateways.insert(state.gateway.key) }
        }
    }

    mutating func touch(grantsIn namespace: String, _ world: MeshWorld) {
        for gateway in world.gateways.values {
            let foreign = (gateway.listeners + world.listeners(addedTo: gateway)).contains { listener in
                listener.certificates.contains { $0.text("namespace") == namespace }
            }
            if foreign || gateway.backend.text("clientCertificateRef", "namespace") == namespace
                || gateway.frontend != .null
            {
                dirtyGateways.insert(gateway.key)
            }
        }
    }

    mutating func touch(configMap key: ObjectKey, _ world: MeshWorld) {
        for gateway in world.gateways.values where gateway.frontend != .null { dirtyGateways.insert(gateway.key) }
        for policy in world.backendPolicies.values where policy.key.namespace == key.namespace {
            touch(policy: policy, world)
        }
    }

    mutating func touch(policy: BackendTLSPolicy, _ world: MeshWorld) {
        statuses.insert(.policy(policy.key))
        for service in policy.services {
            dirtyServices.insert(service)
            for other in world.policed[service] ?? [] { statuses.insert(.policy(other)) }
            // Whether a backend can be reached at all depends on it.
            dirtyRoutes.formUnion(world.leading[service] ?? [])
        }
    }

    /// Which Gateways a policy is for, is told by its status.
    private mutating func touch(policiesOf services: Set<ObjectKey>, _ world: MeshWorld) {
        for service in services {
            for policy in world.policed[service] ?? [] { statuses.insert(.policy(policy)) }
        }
    }

    // MARK: What follows

    mutating func changes(
        _ world: MeshWorld, cluster: (ObjectKey, MeshService.Port) -> JSONValue
    ) -> Changes {
        var changes = Changes()
        for key in dirtyGateways { rebuild(key, world, &changes) }
        var touched = dirtyGateways
        // No copy of a state may be held while it changes: its tables would be copied with it.
        for key in dirtyRoutes {
            statuses.insert(.route(key))
            let route = world.routes[key]
            let gateways = states.keys.filter { gateway in
                !dirtyGateways.contains(gateway)
                    && (states[gateway]?.bindings[key] != nil
                        || route?.parents.contains { states[gateway]?.means($0) ?? false } == true)
            }
            for gateway in gateways {
                states[gateway]?.set(route, key, world)
                statuses.insert(.gateway(gateway))
                for set in world.addedTo[gateway] ?? [] { statuses.insert(.listenerSet(set)) }
                touched.insert(gateway)
            }
        }
        for service in dirtyServices {
            for gateway in states.keys.filter({ states[$0]?.isUsing(service) == true }) {
                states[gateway]?.touch(service: service)
                touched.insert(gateway)
            }
        }
        for gateway in dirtyPolicies where states[gateway] != nil {
            states[gateway]?.touchPolicies()
            touched.insert(gateway)
        }
        for gateway in touched where states[gateway] != nil {
            touch(policiesOf: states[gateway]?.dirtyServices ?? [], world)
            let shadowed = states[gateway]?.shadowed ?? [:]
            let said = states[gateway]?.changes(world, cluster: cluster, problems: &changes.problems) ?? []
            note(said, of: gateway, isWhole: dirtyGateways.contains(gateway), &changes)
            // A route that is no longer in another's way, or newly so.
            let fresh = states[gateway]?.shadowed ?? [:]
            for route in Set(shadowed.keys).union(fresh.keys) where shadowed[route] != fresh[route] {
                statuses.insert(.route(route))
            }
        }
        for (gateway, secrets) in rotated where states[gateway] != nil {
            for key in secrets {
                guard let secret = world.secrets[key] else { continue }
                do throws(ConfigError) {
                    changes.gateways[gateway, default: []].append(
                        ServedChange(
                            .secret, GatewayResources.name(ofSecret: key),
                            try Message.bytes(of: .secret, GatewayResources.secret(secret))))
                } catch { changes.problems.append("gateway \(gateway): Secret \(key): \(error)") }
            }
        }
        changes.statuses = statuses
        (dirtyGateways, dirtyRoutes, dirtyServices, dirtyPolicies) = ([], [], [], [])
        (statuses, rotated) = ([], [:])
        return changes
    }

    private mutating func rebuild(_ key: ObjectKey, _ world: MeshWorld, _ changes: inout Changes) {
        let old = states.removeValue(forKey: key)
        touch(policiesOf: old?.services ?? [], world)
        // Routes that were bound here may have to be told that they are no longer.
        for route in old?.bindings.keys.map({ $0 }) ?? [] { statuses.insert(.route(route)) }
        guard let gateway = world.gateways[key], world.isOurs(gateway) else {
            if old != nil || published[key] != nil {
                changes.gateways[key] = (published.removeValue(forKey: key) ?? []).map {
                    ServedChange($0.kind, $0.name, nil)
                }
                changes.gone.insert(key)
            }
            return
        }
        let listeners = gateway.listeners + world.listeners(addedTo: gateway)
        var state = GatewayState(gateway, GatewayPlan(gateway, listeners, world))
        let sets = world.addedTo[key] ?? []
        let routes = sets.union([key]).reduce(into: Set<RouteKey>()) { $0.formUnion(world.entering[$1] ?? []) }
        for route in routes {
            state.set(world.routes[route], route, world)
            statuses.insert(.route(route))
        }
        for set in sets { statuses.insert(.listenerSet(set)) }
        states[key] = state
        statuses.insert(.gateway(key))
    }

    /// Keeps in mind what was said, so that what is no longer said can be taken back.
    private mutating func note(_ said: [ServedChange], of gateway: ObjectKey, isWhole: Bool, _ changes: inout Changes) {
        var names = published[gateway] ?? []
        let before = names
        if isWhole { names = [] }
        for change in said {
            let name = Name(kind: change.kind, name: change.name)
            if change.message == nil { names.remove(name) } else { names.insert(name) }
        }
        var all = said.filter { $0.message != nil || before.contains(Name(kind: $0.kind, name: $0.name)) }
        let spoken = Set(all.map { Name(kind: $0.kind, name: $0.name) })
        for gone in before.subtracting(names) where !spoken.contains(gone) {
            all.append(ServedChange(gone.kind, gone.name, nil))
        }
        published[gateway] = names
        changes.gateways[gateway, default: []] += all
    }
}

extension MeshWorld {
    /// Listeners that others add to a Gateway.
    func listeners(addedTo gateway: MeshGateway) -> [MeshListener] {
        gateway.key == MeshIngressClass.gateway
            ? ingressListeners() : listenerSets(of: gateway).flatMap(\.listeners)
    }
}
