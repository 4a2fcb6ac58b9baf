import ClusterAPI
import JSON

/// What the cluster says, as far as the mesh is concerned, and who refers to whom. Knows nothing of what follows from it.
struct MeshWorld {
    /// The cluster's, as `cluster.local`.
    let domain: String
    private(set) var services: [ObjectKey: MeshService] = [:]
    /// Those of each namespace.
    private(set) var neighbours: [String: Set<ObjectKey>] = [:]
    /// Those with an address of IPv6.
    private var servicesOfV6: Set<ObjectKey> = []
    var pods = MeshPods()
    var policies = MeshPolicies()
    /// Of root namespaces.
    var settings: [String: MeshSettings] = [:]
    private(set) var routes: [RouteKey: MeshRoute] = [:]
    private(set) var grants: [String: [ObjectKey: MeshGrant]] = [:]
    private(set) var gateways: [ObjectKey: MeshGateway] = [:]
    private(set) var ingresses: [ObjectKey: MeshIngress] = [:]
    private(set) var listenerSets: [ObjectKey: MeshListenerSet] = [:]
    /// The ListenerSets that name a Gateway.
    private(set) var addedTo: [ObjectKey: Set<ObjectKey>] = [:]
    var ingressClasses: [String: MeshIngressClass] = [:]
    private(set) var classes: [String: MeshGatewayClass] = [:]
    var namespaces: [String: MeshNamespace] = [:]
    var secrets: [ObjectKey: MeshSecret] = [:]
    var configMaps: [ObjectKey: MeshAuthorities] = [:]
    private(set) var backendPolicies: [ObjectKey: BackendTLSPolicy] = [:]
    /// The policies for a Service.
    private(set) var policed: [ObjectKey: Set<ObjectKey>] = [:]
    /// The routes that name a Gateway or a ListenerSet; of both of one name both are here.
    private(set) var entering: [ObjectKey: Set<RouteKey>] = [:]
    /// The routes that bind to a Service, and those that lead to it.
    private(set) var bound: [ObjectKey: Set<RouteKey>] = [:]
    private(set) var leading: [ObjectKey: Set<RouteKey>] = [:]

    init(domain: String) { self.domain = domain }

    mutating func set(_ service: MeshService?, _ key: ObjectKey) {
        services[key] = service
        if service == nil {
            neighbours.remove(key, from: key.namespace)
        } else {
            neighbours[key.namespace, default: []].insert(key)
        }
        if service?.addresses.contains(where: { $0.contains(":") }) == true {
            servicesOfV6.insert(key)
        } else {
            servicesOfV6.remove(key)
        }
    }

    /// Whether pods have addresses of both families, as far as Services tell.
    var isDualStack: Bool { !servicesOfV6.isEmpty }

    mutating func set(_ grant: MeshGrant?, _ key: ObjectKey) {
        grants[key.namespace, default: [:]][key] = grant
        if grants[key.namespace]?.isEmpty == true { grants[key.namespace] = nil }
    }

    mutating func set(_ route: MeshRoute?, _ key: RouteKey) {
        let old = routes[key]
        routes[key] = route
        if let old, let route, old.says(route) { return }
        if let old {
            for parent in old.parents where parent.kind == .service { bound.remove(key, from: parent.key) }
            for parent in old.parents where parent.entersGateway { entering.remove(key, from: parent.key) }
            for backend in old.backends { leading.remove(key, from: backend) }
        }
        if let route {
            for parent in route.parents where parent.kind == .service { bound[parent.key, default: []].insert(key) }
            for parent in route.parents where parent.entersGateway { entering[parent.key, default: []].insert(key) }
            for backend in route.backends { leading[backend, default: []].insert(key) }
        }
    }

    mutating func set(_ gateway: MeshGateway?, _ key: ObjectKey) { gateways[key] = gateway }

    mutating func set(_ gatewayClass: MeshGatewayClass?, _ key: ObjectKey) { classes[key.name] = gatewayClass }

    mutating func set(_ listeners: MeshListenerSet?, _ key: ObjectKey) {
        if let gateway = listenerSets[key]?.gateway { addedTo.remove(key, from: gateway) }
        listenerSets[key] = listeners
        if let gateway = listeners?.gateway { addedTo[gateway, default: []].insert(key) }
    }

    mutating func set(_ ingress: MeshIngress?, _ key: ObjectKey) { ingresses[key] = ingress }

    mutating func set(_ policy: BackendTLSPolicy?, _ key: ObjectKey) {
        for service in backendPolicies[key]?.services ?? [] { policed.remove(key, from: service) }
        backendPolicies[key] = policy
        for service in policy?.services ?? [] { policed[service, default: []].insert(key) }
    }

    /// Whether a Gateway is of a class of ours.
    func isOurs(_ gateway: MeshGateway) -> Bool { classes[gateway.className]?.isOurs ?? false }

    /// Whether an object of the core group may be named by a kind of the Gateway API's in another namespace, or in its own.
    func isAllowed(_ kind: String, of namespace: String, toName target: String, _ key: ObjectKey) -> Bool {
        namespace == key.namespace
            || grants[key.namespace]?.values.contains {
                $0.allows(kind, of: namespace, toName: target, key.name)
            } == true
    }

    /// What is spoken at a port: what is declared; where nothing is, what the routes that bind to it or lead to it speak of.
    func spoken(_ key: ObjectKey, _ port: MeshService.Port) -> PortProtocol {
        if isCalledByGRPC(key, port.number) { return .http2 }
        guard port.spoken == .unknown, let bound = bound[key] else { return port.spoken }
        let kinds = bound.compactMap { routes[$0] }.filter { $0.binds(key, port.number) }.map(\.route.kind)
        return kinds.contains(.grpc) ? .http2 : kinds.contains(.http) ? .http : .unknown
    }

    func host(_ key: ObjectKey) -> String { "\(key.name).\(key.namespace).svc.\(domain)" }

    /// As the control planes that people know name it.
    func clusterName(_ key: ObjectKey, _ port: Int) -> String { "outbound|\(port)||\(host(key))" }
}

extension Dictionary {
    /// Takes a member out of one of many sets, and with its last one the set.
    mutating func remove<Member: Hashable>(_ member: Member, from key: Key) where Value == Set<Member> {
        self[key]?.remove(member)
        if self[key]?.isEmpty == true { self[key] = nil }
    }
}
