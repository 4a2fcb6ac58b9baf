import ClusterAPI
import Discovery
import JSON
import XDS

/// One Gateway of ours: which routes use which of its listeners, and what its proxies are told. The work of a route that changes is that
/// of its own hostnames.
struct GatewayState {
    let gateway: MeshGateway
    let plan: GatewayPlan
    /// By route, then by its parents that mean this Gateway.
    private(set) var bindings: [RouteKey: [Int: RouteBinding]] = [:]
    /// Routes attached to each listener.
    private(set) var attached: [Int]
    private(set) var tables: [String: HostTable] = [:]
    /// Of TLS and TCP listeners: the routes for a hostname.
    private var streams: [Int: [String: Set<RouteKey>]] = [:]
    private var dirtyPorts: Set<Int>
    /// The ports of Services that a route leads to, and how many routes lead to each.
    private var uses: [RouteKey: Set<BackendUse>] = [:]
    private var users: [BackendUse: Int] = [:]
    private var dirtyUses: Set<BackendUse> = []
    private var isFresh = true
    /// What policies say to requests may be new.
    private var hasNewPolicies = true
    /// Clusters from which keys of tokens are fetched, and of those who are asked.
    private var policyClusters: Set<String> = []
    /// For each port and family of protocols: hostnames of listeners, with the place of each.
    private let hostnames: [PortFamily: [String: Int]]

    struct BackendUse: Hashable {
        var service: ObjectKey
        var port: Int
    }

    private struct PortFamily: Hashable {
        var port: Int
        var isTLS: Bool

        init(_ listener: GatewayPlan.Listener) { (port, isTLS) = (listener.spec.port, listener.isTLS) }
    }

    init(_ gateway: MeshGateway, _ plan: GatewayPlan) {
        self.gateway = gateway
        self.plan = plan
        attached = Array(repeating: 0, count: plan.listeners.count)
        dirtyPorts = Set(plan.ports)
        var hostnames: [PortFamily: [String: Int]] = [:]
        for (index, listener) in plan.listeners.enumerated() where listener.isUsable {
            hostnames[PortFamily(listener), default: [:]][listener.spec.hostname] = index
        }
        self.hostnames = hostnames
        for listener in plan.listeners where listener.isUsable && listener.isOfRequests {
            tables[listener.table, default: HostTable(listener.table)].reserve(listener.spec.hostname)
            for other in misdirected(listener) { tables[listener.table]?.touch(other) }
        }
    }

    /// The listener that is in charge of a name on a listener's port: the most specific one.
    private func owner(of hostname: String, _ listener: GatewayPlan.Listener) -> Int? {
        let listeners = hostnames[PortFamily(listener)] ?? [:]
        return Hostname.ladder(hostname).lazy.compactMap { listeners[$0] }.first
    }

    /// Hosts for which a connection to this listener is the wrong one.
    private func misdirected(_ listener: GatewayPlan.Listener) -> Set<String> {
        guard listener.spec.scheme == "HTTPS" else { return [] }
        let listeners = hostnames[PortFamily(listener)] ?? [:]
        return Set(listeners.filter { plan.listeners[$0.value].spec.scheme == "HTTPS" }.keys)
            .subtracting([listener.spec.hostname])
    }

    // MARK: Routes

    /// What a route is to this Gateway now; nil when it has gone, or names it no more.
    mutating func set(_ route: MeshRoute?, _ key: RouteKey, _ world: MeshWorld) {
        let objection = route?.objection()
        var fresh: [Int: RouteBinding] = [:]
        for (index, parent) in (route?.parents ?? []).enumerated() where means(parent) {
            guard let route else { break }
            var binding = RouteBinding(route, parent: parent, plan, world)
            if let objection, binding.accepted.holds {
                binding.accepted = objection
                binding.attachments = []
            }
            fresh[index] = binding
        }
        let old = bindings.removeValue(forKey: key) ?? [:]
        if !fresh.isEmpty { bindings[key] = fresh }
        apply(Self.attachments(old), key, adding: false)
        apply(Self.attachments(fresh), key, adding: true)
        use(fresh.values.contains { !$0.attachments.isEmpty } ? backends(route, world) : [], key)
    }

    func means(_ parent: MeshRoute.Parent) -> Bool {
        switch parent.kind {
        case .gateway: parent.key == gateway.key
        case .listenerSet: plan.listeners.contains { $0.spec.owner == .set(parent.key) }
        default: false
        }
    }

    /// Of all of a route's references to this Gateway together: hostnames by listener.
    private static func attachments(_ bindings: [Int: RouteBinding]) -> [Int: Set<String>] {
        var all: [Int: Set<String>] = [:]
        for attachment in bindings.values.flatMap(\.attachments) {
            all[attachment.listener, default: []].formUnion(attachment.hostnames)
        }
        return all
    }

    private mutating func apply(_ attachments: [Int: Set<String>], _ key: RouteKey, adding: Bool) {
        for (index, names) in attachments {
            attached[index] += adding ? 1 : -1
            let listener = plan.listeners[index]
            guard listener.isUsable else { continue }
            // What a more specific listener is for, this one does not answer.
            for name in names where owner(of: name, listener) == index {
                if listener.isOfRequests {
                    if adding {
                        tables[listener.table]?.add(key, name)
                    } else {
                        tables[listener.table]?.remove(key, name)
                    }
                } else {
                    if adding {
                        streams[index, default: [:]][name, default: []].insert(key)
                    } else {
                        streams[index]?.remove(key, from: name)
                    }
                    dirtyPorts.insert(listener.spec.port)
                }
            }
        }
    }

    private func backends(_ route: MeshRoute?, _ world: MeshWorld) -> Set<BackendUse> {
        guard let route else { return [] }
        return Set(
            route.references.compactMap { reference in
                guard case .port(let service, let port) = world.backend(reference, of: route.route) else { return nil }
                return BackendUse(service: service, port: port.number)
            })
    }

    private mutating func use(_ fresh: Set<BackendUse>, _ key: RouteKey) {
        for use in uses[key] ?? [] {
            users[use, default: 0] -= 1
            dirtyUses.insert(use)
        }
        for use in fresh {
            users[use, default: 0] += 1
            dirtyUses.insert(use)
        }
        uses[key] = fresh.isEmpty ? nil : fresh
    }

    /// A Service's clusters have to be told anew.
    mutating func touch(service: ObjectKey) {
        for use in users.keys where use.service == service { dirtyUses.insert(use) }
    }

    /// Others may be let in than before.
    mutating func touchPolicies() {
        hasNewPolicies = true
        dirtyPorts.formUnion(plan.ports)
    }

    /// The Services that its routes lead to.
    var services: Set<ObjectKey> { Set(users.keys.map(\.service)) }

    /// Those of which something is to be told, among them the ones that it leads to since the last time, or no more.
    var dirtyServices: Set<ObjectKey> { Set(dirtyUses.map(\.service)) }

    func isUsing(_ service: ObjectKey) -> Bool { users.keys.contains { $0.service == service } }

    /// The routes of which a match can never be met, each with one that is in its way.
    var shadowed: [RouteKey: RouteKey] {
        tables.values.reduce(into: [:]) { all, table in
            for found in table.shadowed.values { all.merge(found) { first, _ in first } }
        }
    }

    // MARK: Resources

    /// What is said since the last time; nothing is told twice.
    mutating func changes(
        _ world: MeshWorld, cluster: (ObjectKey, MeshService.Port) -> JSONValue, problems: inout [String]
    ) -> [ServedChange] {
        var changes: [ServedChange] = []
        let authorizations = world.inForce(world.policies.authorizations, gateway)
        let resources = GatewayResources(
            gateway: gateway, plan: plan, world: world, authorizations: authorizations,
            authorizers: Authorizers(authorizations, world, cluster: cluster),
            tokens: TokenTranslation(world.inForce(world.policies.requests, gateway)))
        func say(_ kind: ResourceKind, _ name: String, _ message: () throws(ConfigError) -> [UInt8]?) {
            do throws(ConfigError) {
                changes.append(ServedChange(kind, name, try message()))
            } catch { problems.append("gateway \(gateway.key): \(kind.service) \(name): \(error)") }
        }
        if isFresh {
            for key in secrets {
                guard let secret = world.secrets[key] else { continue }
                say(.secret, GatewayResources.name(ofSecret: key)) { () throws(ConfigError) in
                    try Message.bytes(of: .secret, GatewayResources.secret(secret))
                }
            }
        }
        if hasNewPolicies {
            let settings = AuthorizationTranslation.requestSettings(authorizations, resources.authorizers)
            for name in tables.keys { tables[name]?.settings = settings }
            let clusters = resources.tokens.clusters + resources.authorizers.clusters
            for (name, json) in clusters {
                say(.cluster, name) { () throws(ConfigError) in try Message.bytes(of: .cluster, json) }
            }
            for gone in policyClusters.subtracting(clusters.map(\.name)) { say(.cluster, gone) { nil } }
            policyClusters = Set(clusters.map(\.name))
        }
        for use in dirtyUses {
            let name = world.clusterName(use.service, use.port)
            let port = world.services[use.service]?.ports.first { $0.number == use.port }
            let count = users[use] ?? 0
            if count <= 0 { users[use] = nil }
            say(.cluster, name) { () throws(ConfigError) in
                guard count > 0, let port else { return nil }
                let json = resources.cluster(cluster(use.service, port), use.service, port)
                return try Message.bytes(of: .cluster, json)
            }
        }
        for name in tables.keys.sorted() where tables[name]?.isDirty == true {
            guard let listener = plan.listeners.first(where: { $0.isUsable && $0.isOfRequests && $0.table == name }),
                // Taken out while it changes, so that nothing of it is copied.
                var table = tables.removeValue(forKey: name)
            else { continue }
            var translation = RouteTranslation { reference, route in
                guard case .port(let service, let port) = world.backend(reference, of: route),
                    world.policy(for: service, port).map({ world.trust($0).isUsable }) ?? true
                else { return nil }
                return world.clusterName(service, port.number)
            }
            translation.port = listener.spec.port
            translation.isTLS = listener.isTLS
            let listeners = hostnames[PortFamily(listener)] ?? [:]
            let others = misdirected(listener)
            say(.routeConfiguration, name) { [translation] () throws(ConfigError) in
                try table.update(
                    translation, misdirected: others,
                    owner: { name in Hostname.ladder(name).lazy.compactMap { listeners[$0] }.first },
                    route: { world.routes[$0] })
                return try table.message()
            }
            tables[name] = table
        }
        for port in dirtyPorts {
            var targets: [Int: [(hostname: String, target: JSONObject)]] = [:]
            for (index, names) in streams where plan.listeners[index].spec.port == port {
                targets[index] = names.sorted { $0.key < $1.key }.compactMap { name, keys in
                    // One connection has one way: the oldest route's.
                    let routes = keys.compactMap { world.routes[$0] }.sorted {
                        ($0.created, $0.route) < ($1.created, $1.route)
                    }
                    return routes.first.map { (name, world.target($0)) }
                }
            }
            let targetsOfPort = targets
            say(.listener, GatewayResources.name(port)) { () throws(ConfigError) in
                guard let json = resources.listener(port, targetsOfPort) else { return nil }
                return try Message.bytes(of: .listener, json)
            }
        }
        (dirtyUses, dirtyPorts, isFresh, hasNewPolicies) = ([], [], false, false)
        return changes
    }

    /// The Secrets that its proxies show.
    var secrets: Set<ObjectKey> {
        var all = Set(plan.listeners.filter(\.isUsable).flatMap(\.certificates))
        if let client = plan.clientCertificate { all.insert(client) }
        return all
    }
}
