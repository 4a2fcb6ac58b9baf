import ClusterAPI
import Discovery
import JSON
import XDS

/// What the cluster says, as far as the mesh is concerned, and the resources that follow from it. Pure; the work of a change is that of
/// the Services that it touches.
struct MeshModel {
    private(set) var world: MeshWorld
    var services: [ObjectKey: MeshService] { world.services }
    private(set) var gateways = GatewayModel()
    /// Of each Service, routes of which a match can never be met, because another has the same.
    private(set) var shadowed: [ObjectKey: [RouteKey: RouteKey]] = [:]
    private var slices: [ObjectKey: [ObjectKey: MeshSlice]] = [:]
    private var dirtyTables: Set<ObjectKey> = []
    private var dirtyEndpoints: Set<ObjectKey> = []
    /// Pods that may be reached in another way than before.
    private var dirtyPods: Set<ObjectKey> = []
    /// The accounts that answer for a Service's endpoints by mutual TLS, as SPIFFE names; sorted.
    private var accounts: [ObjectKey: [String]] = [:]
    /// What was said of each Service, so that what is no longer said can be taken back.
    private var published: [ObjectKey: Set<Name>] = [:]

    private struct Name: Hashable {
        var audience: Audience
        var kind: ResourceKind
        var name: String
    }

    /// - Parameter domain: The cluster's, as `cluster.local`.
    init(domain: String) { world = MeshWorld(domain: domain) }

    // MARK: What the cluster says

    mutating func set(_ service: MeshService?, _ key: ObjectKey) {
        let (old, wasDual) = (services[key], world.isDualStack)
        guard old != service else { return }
        // The address of a gateway is that of its Service.
        if let name = service?.gateway ?? old?.gateway {
            let gateway = ObjectKey(namespace: key.namespace, name: name)
            gateways.touch(status: .gateway(gateway))
            if gateway == MeshIngressClass.gateway {
                for ingress in world.ingresses.keys { gateways.touch(status: .ingress(ingress)) }
            }
        }
        world.set(service, key)
        if world.mayBeAsked(key) { touchAsking() }
        touch(service: key)
        dirtyEndpoints.insert(key)
        if wasDual != world.isDualStack {
            dirtyPods.formUnion(world.pods.keys)
        } else if old?.selector != service?.selector || old?.ports != service?.ports {
            touchPods(behind: [old, service])
        }
        for policy in world.policies.authorizations.of(key.namespace) where policy.scope.targets.contains(.service(key))
        {
            touchStatus(policy)
        }
        for policy in world.policies.requests.of(key.namespace) where policy.scope.targets.contains(.service(key)) {
            touchStatus(policy)
        }
    }

    mutating func set(_ pod: MeshPod?, _ key: ObjectKey) {
        let old = world.pods[key]
        guard old != pod else { return }
        world.pods.set(pod, key)
        dirtyPods.insert(key)
        if old?.isMeshed != pod?.isMeshed || old?.capture != pod?.capture || old?.account != pod?.account
            || old?.labels != pod?.labels
        {
            dirtyEndpoints.formUnion(world.pods.services(of: key))
        }
        if old?.isMeshed != pod?.isMeshed || old?.isOver != pod?.isOver || old?.labels != pod?.labels {
            touchPolicies(about: [old, pod].compactMap(\.self), in: key.namespace)
        }
    }

    /// Whether anybody obeys a policy may be another matter now.
    private mutating func touchPolicies(about pods: [MeshPod], in namespace: String) {
        func touch(_ policy: some MeshPolicy) {
            guard pods.contains(where: { world.reach(policy.scope, $0) != .none }) else { return }
            touchStatus(policy)
        }
        for policy in world.policies.peers.about(namespace) { touch(policy) }
        for policy in world.policies.authorizations.about(namespace) { touch(policy) }
        for policy in world.policies.requests.about(namespace) { touch(policy) }
    }

    private mutating func touchStatus<Policy: MeshPolicy>(_ policy: Policy) {
        gateways.touch(status: .meshPolicy(MeshPolicyKey(kind: Policy.kind, key: policy.key)))
    }

    mutating func set(_ policy: StoredPolicy<PeerAuthentication>?, _ key: ObjectKey) {
        let old = world.policies.peers.set(policy, key)
        gateways.touch(status: .meshPolicy(MeshPolicyKey(kind: .peers, key: key)))
        guard old != policy?.policy else { return }
        for pod in touchPods(under: [old, policy?.policy]) {
            dirtyEndpoints.formUnion(world.pods.services(of: pod))
        }
        // Of several for the same the oldest counts.
        for other in world.policies.peers.about(key.namespace) { touchStatus(other) }
    }

    mutating func set(_ policy: StoredPolicy<AuthorizationPolicy>?, _ key: ObjectKey) {
        let old = world.policies.authorizations.set(policy, key)
        gateways.touch(status: .meshPolicy(MeshPolicyKey(kind: .authorization, key: key)))
        guard old != policy?.policy else { return }
        touchPods(under: [old, policy?.policy])
        touchGateways(under: [old, policy?.policy])
    }

    mutating func set(_ policy: StoredPolicy<RequestAuthentication>?, _ key: ObjectKey) {
        let old = world.policies.requests.set(policy, key)
        gateways.touch(status: .meshPolicy(MeshPolicyKey(kind: .requests, key: key)))
        guard old != policy?.policy else { return }
        touchPods(under: [old, policy?.policy])
        touchGateways(under: [old, policy?.policy])
        // Those that ask for tokens say whether any are looked at.
        for other in world.policies.authorizations.all where other.usesTokens { touchStatus(other) }
    }

    mutating func set(_ settings: MeshSettings?, _ key: ObjectKey) {
        guard MeshPolicies.rootNamespaces.contains(key.namespace), world.settings[key.namespace] != settings else {
            return
        }
        world.settings[key.namespace] = settings
        touchAsking()
    }

    /// Those who are asked by policies may be others, or in another place.
    private mutating func touchAsking() {
        for policy in Array(world.policies.authorizations.all) where policy.action == .custom {
            touchStatus(policy)
            touchPods(under: [policy])
            touchGateways(under: [policy])
        }
    }

    /// Whom policies ask.
    func authorizers(of policies: some Sequence<AuthorizationPolicy>) -> Authorizers {
        Authorizers(policies, world) { service, port in outbound(service, port).meshCluster(accounts[service] ?? []) }
    }

    private mutating func touchGateways(under policies: [(some MeshPolicy)?]) {
        for scope in policies.compactMap({ $0?.scope }) {
            for gateway in world.gateways.values where world.isFor(scope, gateway) {
                gateways.touch(policiesOf: gateway.key)
            }
        }
    }

    private mutating func touchPods(behind services: [MeshService?]) {
        for service in services.compactMap(\.self) {
            dirtyPods.formUnion(world.pods.of(service.key.namespace).filter { service.selects($0) }.map(\.key))
        }
    }

    /// - Returns: The pods.
    @discardableResult
    private mutating func touchPods(under policies: [(some MeshPolicy)?]) -> Set<ObjectKey> {
        var touched: Set<ObjectKey> = []
        for scope in policies.compactMap({ $0?.scope }) {
            let pods = scope.isMeshWide ? world.pods.all : world.pods.of(scope.namespace)
            touched.formUnion(pods.lazy.filter { [world] in world.reach(scope, $0) != .none }.map(\.key))
        }
        dirtyPods.formUnion(touched)
        return touched
    }

    mutating func set(_ slice: MeshSlice?, _ key: ObjectKey, old: MeshSlice?) {
        if let old {
            world.pods.unlink(old)
            if old.service != slice?.service {
                slices[old.service]?[key] = nil
                dirtyEndpoints.insert(old.service)
            }
        }
        guard let slice else { return }
        world.pods.link(slice)
        slices[slice.service, default: [:]][key] = slice
        dirtyEndpoints.insert(slice.service)
    }

    mutating func set(_ route: MeshRoute?, _ key: RouteKey) {
        let old = world.routes[key]
        world.set(route, key)
        gateways.touch(status: .route(key))
        if let old, let route, old.says(route) { return }
        gateways.touch(route: key)
        for version in [old, route].compactMap(\.self) { touch(version) }
    }

    mutating func set(_ grant: MeshGrant?, _ key: ObjectKey) {
        world.set(grant, key)
        gateways.touch(grantsIn: key.namespace, world)
        for (backend, leading) in world.leading where backend.namespace == key.namespace {
            for route in leading { touch(route: route) }
        }
    }

    /// Routes answer otherwise when a backend comes or goes.
    private mutating func touch(service key: ObjectKey) {
        dirtyTables.insert(key)
        for route in world.bound[key] ?? [] { gateways.touch(status: .route(route)) }
        for route in world.leading[key] ?? [] { touch(route: route) }
    }

    private mutating func touch(route key: RouteKey) {
        gateways.touch(route: key)
        if let route = world.routes[key] { touch(route) }
    }

    private mutating func touch(_ route: MeshRoute) {
        // What is spoken at a port may be known by its routes only.
        for parent in route.parents where parent.kind == .service {
            dirtyTables.insert(parent.key)
            touchPods(behind: [services[parent.key]])
        }
        // A port that a GRPCRoute leads to speaks HTTP/2 even where the Service does not say so.
        if route.route.kind == .grpc {
            dirtyTables.formUnion(route.backends)
            touchPods(behind: route.backends.map { services[$0] })
        }
    }

    // MARK: What the cluster says of gateways

    mutating func set(_ gateway: MeshGateway?, _ key: ObjectKey) {
        let old = world.gateways[key]
        world.set(gateway, key)
        gateways.touch(status: .gateway(key))
        if let old, let gateway, old.says(gateway) { return }
        gateways.touch(gateway: key)
        for policy in world.policies.authorizations.about(key.namespace)
        where [old, gateway].compactMap(\.self).contains(where: { world.isFor(policy.scope, $0) }) {
            touchStatus(policy)
        }
        for policy in world.policies.requests.about(key.namespace)
        where [old, gateway].compactMap(\.self).contains(where: { world.isFor(policy.scope, $0) }) {
            touchStatus(policy)
        }
    }

    mutating func set(_ gatewayClass: MeshGatewayClass?, _ key: ObjectKey) {
        let old = world.classes[key.name]
        world.set(gatewayClass, key)
        gateways.touch(status: .gatewayClass(key.name))
        if old?.isOurs != gatewayClass?.isOurs { gateways.touch(gatewayClass: key.name, world) }
    }

    mutating func set(_ namespace: MeshNamespace?, _ key: ObjectKey) {
        let old = world.namespaces[key.name]
        world.namespaces[key.name] = namespace
        if old != namespace { gateways.touchSelectors() }
    }

    mutating func set(_ secret: MeshSecret?, _ key: ObjectKey) {
        let old = world.secrets[key]
        world.secrets[key] = secret
        if old != secret { gateways.touch(secret: key, old, secret, world) }
    }

    mutating func set(_ authorities: MeshAuthorities?, _ key: ObjectKey) {
        let old = world.configMaps[key]
        world.configMaps[key] = authorities
        if old != authorities { gateways.touch(configMap: key, world) }
    }

    mutating func set(_ policy: BackendTLSPolicy?, _ key: ObjectKey) {
        let old = world.backendPolicies[key]
        world.set(policy, key)
        gateways.touch(status: .policy(key))
        if let old, let policy, old.says(policy) { return }
        for version in [old, policy].compactMap(\.self) { gateways.touch(policy: version, world) }
    }

    mutating func set(_ listeners: MeshListenerSet?, _ key: ObjectKey) {
        let old = world.listenerSets[key]
        world.set(listeners, key)
        gateways.touch(status: .listenerSet(key))
        if let old, let listeners, old.says(listeners) { return }
        for gateway in [old?.gateway, listeners?.gateway].compactMap(\.self) { gateways.touch(gateway: gateway) }
    }

    mutating func set(_ ingress: MeshIngress?, _ key: ObjectKey) {
        let old = world.ingresses[key]
        world.set(ingress, key)
        gateways.touch(status: .ingress(key))
        if let old, let ingress, old.says(ingress) { return }
        if old?.certificates ?? [] != ingress?.certificates ?? [] || old?.className != ingress?.className {
            gateways.touch(gateway: MeshIngressClass.gateway)
        }
        route(old, ingress.flatMap { world.isOurs($0) ? $0 : nil })
    }

    /// An Ingress's routes are like all others, as long as it is ours.
    private mutating func route(_ old: MeshIngress?, _ new: MeshIngress?) {
        let routes = Dictionary(uniqueKeysWithValues: (new?.routes ?? []).map { ($0.route, $0) })
        for route in old?.routes ?? [] where routes[route.route] == nil { set(nil as MeshRoute?, route.route) }
        for (key, route) in routes { set(route, key) }
    }

    mutating func set(_ ingressClass: MeshIngressClass?, _ key: ObjectKey) {
        let old = world.ingressClasses[key.name]
        guard old != ingressClass else { return }
        world.ingressClasses[key.name] = ingressClass
        gateways.touch(gateway: MeshIngressClass.gateway)
        for ingress in world.ingresses.values {
            gateways.touch(status: .ingress(ingress.key))
            route(ingress, world.isOurs(ingress) ? ingress : nil)
        }
    }

    /// Whether there is anything for the gateway of Ingresses to do.
    var needsIngressGateway: Bool { world.ingresses.values.contains(where: world.isOurs) }

    /// What gateways have to be told since the last call; asked after `changes()`.
    mutating func gatewayChanges() -> GatewayModel.Changes {
        // Taken out while it changes, so that nothing of it is copied.
        var gateways = GatewayModel()
        swap(&gateways, &self.gateways)
        defer { self.gateways = gateways }
        return gateways.changes(world) { service, port in outbound(service, port).meshCluster(accounts[service] ?? []) }
    }

    // MARK: What follows

    /// What has to be published since the last call.
    mutating func changes() -> MeshChanges {
        var changes = MeshChanges()
        for key in dirtyEndpoints {
            // Each pod of a Service without an address is called by its own, and has a listener.
            if services[key]?.isHeadless == true { dirtyTables.insert(key) }
            let found = services[key] == nil ? [] : accounts(of: key)
            // While nobody answers, those are expected who answered last.
            guard accounts[key] ?? [] != found, !found.isEmpty || services[key] == nil else { continue }
            accounts[key] = found.isEmpty ? nil : found
            dirtyTables.insert(key)
            if world.mayBeAsked(key) { touchAsking() }
        }
        for key in dirtyTables {
            var said: Set<Name> = []
            var shadowed: [RouteKey: RouteKey] = [:]
            gateways.touch(service: key)
            for port in services[key]?.ports ?? [] {
                describe(key, port, &shadowed) { audience, kind, name, json in
                    said.insert(Name(audience: audience, kind: kind, name: name))
                    changes.add(kind, name, json, for: audience)
                }
            }
            for route in Set(shadowed.keys).union((self.shadowed[key] ?? [:]).keys) {
                gateways.touch(status: .route(route))
            }
            self.shadowed[key] = shadowed.isEmpty ? nil : shadowed
            for gone in published[key, default: []].subtracting(said) {
                // A pod may be of several Services without an address, each of which has a listener for it.
                let isShared =
                    gone.kind == .listener && published.contains { $0.key != key && $0.value.contains(gone) }
                guard !isShared else { continue }
                changes.add(ServedChange(gone.kind, gone.name, nil), for: gone.audience)
                // Its endpoints go with the cluster.
                if gone.kind == .cluster, gone.audience == .members {
                    changes.add(ServedChange(.clusterLoadAssignment, gone.name, nil), for: .everybody)
                }
            }
            published[key] = said.isEmpty ? nil : said
        }
        for key in dirtyEndpoints {
            for port in services[key]?.ports ?? [] {
                let name = world.clusterName(key, port.number)
                changes.add(.clusterLoadAssignment, name, endpoints(name, key, port), for: .everybody)
            }
        }
        changes.pods = dirtyPods
        dirtyTables = []
        dirtyEndpoints = []
        dirtyPods = []
        return changes
    }

    private func outbound(_ key: ObjectKey, _ port: MeshService.Port) -> OutboundTranslation {
        var known = port
        known.spoken = world.spoken(key, port)
        return OutboundTranslation(
            host: world.host(key), cluster: world.clusterName(key, port.number), port: known)
    }

    /// All that is said of a port of a Service, but for its endpoints.
    private func describe(
        _ key: ObjectKey, _ port: MeshService.Port, _ shadowed: inout [RouteKey: RouteKey],
        _ say: (Audience, ResourceKind, _ name: String, JSONValue) -> Void
    ) {
        let outbound = outbound(key, port)
        say(.strangers, .cluster, outbound.cluster, outbound.plainCluster())
        say(.members, .cluster, outbound.cluster, outbound.meshCluster(accounts[key] ?? []))
        // Routes of the Service's own namespace are for everybody; those of others for the callers there, who then follow no
        // other (GEP-1426).
        let all = (world.bound[key] ?? []).compactMap { world.routes[$0] }.filter { $0.binds(key, port.number) }
        let bound = Dictionary(grouping: all.filter(\.route.kind.isOfRequests), by: \.namespace)
        let table = outbound.table
        say(
            .everybody, .routeConfiguration, table,
            routeConfiguration(table, key, port.number, bound[key.namespace] ?? [], &shadowed))
        for (namespace, routes) in bound where namespace != key.namespace {
            say(
                .namespace(namespace), .routeConfiguration, table,
                routeConfiguration(table, key, port.number, routes, &shadowed))
        }
        say(.clients, .listener, table, outbound.clientListener())
        var streams: [String: StreamRoutes] = [:]
        if !outbound.port.spoken.isHTTP {
            let own = Dictionary(grouping: all.filter { !$0.route.kind.isOfRequests }, by: \.namespace)
            streams = own.mapValues { StreamRoutes($0, of: key, world) }
            for routes in streams.values { shadowed.merge(routes.shadowed) { first, _ in first } }
        }
        for address in services[key]?.addresses ?? [] {
            let (name, listener) = outbound.listener(address, streams[key.namespace])
            say(.sidecars, .listener, name, listener)
            for (namespace, routes) in streams where namespace != key.namespace {
                say(.namespace(namespace), .listener, name, outbound.listener(address, routes).json)
            }
        }
        if services[key]?.isHeadless == true { describePods(key, port, outbound, routed: Set(bound.keys), say) }
    }

    /// What is said of a Service's pods where callers use their own addresses, because it has none.
    ///
    /// - Parameter routed: Namespaces that have routes for it; those of its own are for everybody.
    private func describePods(
        _ key: ObjectKey, _ port: MeshService.Port, _ outbound: OutboundTranslation, routed: Set<String>,
        _ say: (Audience, ResourceKind, _ name: String, JSONValue) -> Void
    ) {
        let isRouted = outbound.port.spoken.isHTTP && routed.contains(key.namespace)
        if let accounts = accounts[key] {
            say(.members, .cluster, outbound.directCluster, outbound.directCluster(accounts))
        }
        for slice in (slices[key] ?? [:]).values {
            guard let number = slice.ports[port.name] else { continue }
            for endpoint in slice.endpoints {
                if isRouted || takesMutualTLS(endpoint, number, outbound.port) {
                    let (name, listener) = outbound.directListener(endpoint.address, number, isRouted: isRouted)
                    say(.sidecars, .listener, name, listener)
                }
                for namespace in routed where namespace != key.namespace && outbound.port.spoken.isHTTP {
                    let (name, listener) = outbound.directListener(endpoint.address, number, isRouted: true)
                    say(.namespace(namespace), .listener, name, listener)
                }
            }
        }
    }

    /// Who answers by mutual TLS at a Service's endpoints.
    private func accounts(of service: ObjectKey) -> [String] {
        var found: Set<String> = []
        for slice in (slices[service] ?? [:]).values {
            for pod in slice.endpoints.compactMap(\.pod) {
                guard let pod = world.pods[pod], pod.isMeshed else { continue }
                found.insert("spiffe://\(world.domain)/ns/\(pod.key.namespace)/sa/\(pod.account)")
            }
        }
        return found.sorted()
    }

    private func routeConfiguration(
        _ name: String, _ key: ObjectKey, _ port: Int, _ bound: [MeshRoute], _ shadowed: inout [RouteKey: RouteKey]
    ) -> JSONValue {
        let own = world.clusterName(key, port)
        let translation = RouteTranslation { reference, route in
            guard case .port(let backend, let port) = world.backend(reference, of: route, from: key) else { return nil }
            return world.clusterName(backend, port.number)
        }
        let table = translation.table([bound.filter { $0.objection() == nil }])
        shadowed.merge(table.shadowed) { first, _ in first }
        // Without a route a Service is what it always was; with one, what no rule matches is not found.
        let routes: [JSONValue] =
            bound.isEmpty
            ? [
                [
                    "match": ["prefix": "/"], "name": "default",
                    "route": ["cluster": .string(own), "timeout": "0s", "retry_policy": RouteTranslation.retries],
                ]
            ]
            : table.routes
        // Who uses this table has chosen the Service already, by its address or its name; what he calls it is his affair.
        return [
            "name": .string(name),
            "virtual_hosts": [["name": .string(name), "domains": ["*"], "routes": .array(routes)]],
        ]
    }

    private func endpoints(_ name: String, _ key: ObjectKey, _ port: MeshService.Port) -> JSONValue {
        var zones: [String: [JSONValue]] = [:]
        var seen: Set<String> = []
        let slices = (slices[key] ?? [:]).values.sorted { $0.key.name < $1.key.name }
        // The last that are left serve until they are gone (KEP-1669).
        let isAnyReady = slices.contains { $0.ports[port.name] != nil && $0.endpoints.contains(where: \.isReady) }
        for slice in slices {
            guard let number = slice.ports[port.name] else { continue }
            for endpoint in slice.endpoints where endpoint.isReady || endpoint.isDraining {
                // While an endpoint moves from one slice to another it may stand in both.
                guard seen.insert("\(endpoint.address) \(number)").inserted else { continue }
                var json: JSONObject = [
                    "endpoint": [
                        "address": [
                            "socket_address": ["address": .string(endpoint.address), "port_value": .int(Int64(number))]
                        ]
                    ],
                    "health_status": endpoint.isReady || !isAnyReady ? "HEALTHY" : "DRAINING",
                ]
                if let metadata = metadata(of: endpoint, number, port) { json["metadata"] = metadata }
                zones[endpoint.zone, default: []].append(.object(json))
            }
        }
        let localities = zones.sorted { $0.key < $1.key }.map { zone, endpoints -> JSONValue in
            [
                "locality": ["zone": .string(zone)], "load_balancing_weight": .int(Int64(endpoints.count)),
                "lb_endpoints": .array(endpoints),
            ]
        }
        return ["cluster_name": .string(name), "endpoints": .array(localities)]
    }

    /// Whether it takes mutual TLS, and whose pod it is, for those who count requests by workload.
    private func metadata(
        of endpoint: MeshSlice.Endpoint, _ number: Int, _ port: MeshService.Port
    ) -> JSONValue? {
        guard let pod = endpoint.pod.flatMap({ world.pods[$0] }) else { return nil }
        var filters: JSONObject = ["istio": ["workload": .string(pod.workloadName)]]
        if takesMutualTLS(pod, number, port) { filters["envoy.transport_socket_match"] = MutualTLS.mark }
        return ["filter_metadata": .object(filters)]
    }

    private func takesMutualTLS(
        _ endpoint: MeshSlice.Endpoint, _ number: Int, _ port: MeshService.Port
    ) -> Bool {
        endpoint.pod.flatMap { world.pods[$0] }.map { takesMutualTLS($0, number, port) } ?? false
    }

    /// Whether a port of a pod's is its sidecar's to answer, and no policy forbids it.
    private func takesMutualTLS(_ pod: MeshPod, _ number: Int, _ port: MeshService.Port) -> Bool {
        pod.isMeshed(at: number) && world.policies.mode(of: pod, port: number, port.spoken) != .disable
    }
}
