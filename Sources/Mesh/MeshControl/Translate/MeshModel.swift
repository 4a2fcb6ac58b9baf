import ClusterAPI
import Discovery
import JSON
import XDS

/// What has to be published.
struct MeshChanges {
    /// For all proxies, and the listeners of clients that have none of their own (gRPC's).
    var shared: [ServedChange] = []
    var listeners: [ServedChange] = []
    /// By namespace, for the proxies there alone: before what all see.
    var namespaces: [String: [ServedChange]] = [:]
    /// What cannot be said, which stays as it was.
    var problems: [String] = []

    mutating func add(_ change: ServedChange, for namespace: String = "") {
        switch (namespace, change.kind) {
        case ("", .listener): listeners.append(change)
        case ("", _): shared.append(change)
        default: namespaces[namespace, default: []].append(change)
        }
    }
}

/// What the cluster says, as far as the mesh is concerned, and the resources that follow from it. Pure; the work of a change is that of
/// the Services that it touches.
struct MeshModel {
    private(set) var world: MeshWorld
    var services: [ObjectKey: MeshService] { world.services }
    private var slices: [ObjectKey: [ObjectKey: MeshSlice]] = [:]
    private var dirtyTables: Set<ObjectKey> = []
    private var dirtyEndpoints: Set<ObjectKey> = []
    /// What was said of each Service, so that what is no longer said can be taken back.
    private var published: [ObjectKey: Set<Name>] = [:]

    private struct Name: Hashable {
        var kind: ResourceKind
        var name: String
        /// The namespace whose proxies alone see it; "" for all.
        var consumer = ""
    }

    /// - Parameter domain: The cluster's, as `cluster.local`.
    init(domain: String) { world = MeshWorld(domain: domain) }

    // MARK: What the cluster says

    mutating func set(_ service: MeshService?, _ key: ObjectKey) {
        world.set(service, key)
        touch(service: key)
        dirtyEndpoints.insert(key)
    }

    mutating func set(_ slice: MeshSlice?, _ key: ObjectKey, old: MeshSlice?) {
        if let old, old.service != slice?.service {
            slices[old.service]?[key] = nil
            dirtyEndpoints.insert(old.service)
        }
        guard let slice else { return }
        slices[slice.service, default: [:]][key] = slice
        dirtyEndpoints.insert(slice.service)
    }

    mutating func set(_ route: MeshRoute?, _ key: RouteKey) {
        let old = world.routes[key]
        world.set(route, key)
        if let old, let route, old.says(route) { return }
        for version in [old, route].compactMap(\.self) { touch(version) }
    }

    mutating func set(_ grant: MeshGrant?, _ key: ObjectKey) {
        world.set(grant, key)
        for (backend, leading) in world.leading where backend.namespace == key.namespace {
            for route in leading { touch(route: route) }
        }
    }

    /// Routes answer otherwise when a backend comes or goes.
    private mutating func touch(service key: ObjectKey) {
        dirtyTables.insert(key)
        for route in world.leading[key] ?? [] { touch(route: route) }
    }

    private mutating func touch(route key: RouteKey) {
        if let route = world.routes[key] { touch(route) }
    }

    private mutating func touch(_ route: MeshRoute) {
        for parent in route.parents where parent.kind == .service { dirtyTables.insert(parent.key) }
        // A port that a GRPCRoute leads to speaks HTTP/2 even where the Service does not say so.
        if route.route.kind == .grpc { dirtyTables.formUnion(route.backends) }
    }

    // MARK: What follows

    /// What has to be published since the last call.
    mutating func changes() -> MeshChanges {
        var changes = MeshChanges()
        func add(_ kind: ResourceKind, _ name: String, _ json: JSONValue, for consumer: String = "") {
            do throws(ConfigError) {
                changes.add(ServedChange(kind, name, try Self.message(kind, json)), for: consumer)
            } catch { changes.problems.append("\(kind.service) \(name): \(error)") }
        }
        for key in dirtyTables {
            let service = services[key]
            var said: Set<Name> = []
            func say(_ kind: ResourceKind, _ name: String, _ json: JSONValue, for consumer: String = "") {
                said.insert(Name(kind: kind, name: name, consumer: consumer))
                add(kind, name, json, for: consumer)
            }
            for port in service?.ports ?? [] {
                let cluster = world.clusterName(key, port.number)
                say(.cluster, cluster, self.cluster(key, port))
                let table = "\(world.host(key)):\(port.number)"
                // Routes of the Service's own namespace are for everybody; those of others for the callers there, who then follow no
                // other (GEP-1426).
                let bound = Dictionary(
                    grouping: (world.bound[key] ?? []).compactMap { world.routes[$0] }.filter {
                        $0.route.kind.isOfRequests && $0.binds(key, port.number)
                    }, by: \.namespace)
                say(.routeConfiguration, table, routeConfiguration(table, key, port.number, bound[key.namespace] ?? []))
                for (namespace, routes) in bound where namespace != key.namespace {
                    say(
                        .routeConfiguration, table, routeConfiguration(table, key, port.number, routes), for: namespace)
                }
                say(.listener, table, Self.listener(table))
            }
            for gone in published[key, default: []].subtracting(said) {
                changes.add(ServedChange(gone.kind, gone.name, nil), for: gone.consumer)
                // Its endpoints go with the cluster.
                if gone.kind == .cluster { changes.add(ServedChange(.clusterLoadAssignment, gone.name, nil)) }
            }
            published[key] = said.isEmpty ? nil : said
        }
        for key in dirtyEndpoints {
            for port in services[key]?.ports ?? [] {
                let name = world.clusterName(key, port.number)
                add(.clusterLoadAssignment, name, endpoints(name, key, port))
            }
        }
        dirtyTables = []
        dirtyEndpoints = []
        return changes
    }

    private func routeConfiguration(_ name: String, _ key: ObjectKey, _ port: Int, _ bound: [MeshRoute]) -> JSONValue {
        let own = world.clusterName(key, port)
        let translation = RouteTranslation { reference, route in
            guard case .port(let backend, let port) = world.backend(reference, of: route) else { return nil }
            return world.clusterName(backend, port.number)
        }
        // Without a route a Service is what it always was; with one, what no rule matches is not found.
        let routes: [JSONValue] =
            bound.isEmpty
            ? [["match": ["prefix": "/"], "route": ["cluster": .string(own), "timeout": "0s"], "name": "default"]]
            : translation.table([bound]).routes
        let names = [world.host(key), "\(key.name).\(key.namespace).svc", "\(key.name).\(key.namespace)", key.name]
        let hosts = names + (services[key]?.addresses ?? []).map { $0.contains(":") ? "[\($0)]" : $0 }
        let domains = hosts.flatMap { [JSONValue.string($0), .string("\($0):\(port)")] }
        return [
            "name": .string(name),
            "virtual_hosts": [["name": .string(name), "domains": .array(domains), "routes": .array(routes)]],
        ]
    }

    private func endpoints(_ name: String, _ key: ObjectKey, _ port: MeshService.Port) -> JSONValue {
        var zones: [String: [JSONValue]] = [:]
        var seen: Set<String> = []
        for slice in (slices[key] ?? [:]).values.sorted(by: { $0.key.name < $1.key.name }) {
            guard let number = slice.ports[port.name] else { continue }
            for endpoint in slice.endpoints where endpoint.isReady || endpoint.isDraining {
                // While an endpoint moves from one slice to another it may stand in both.
                guard seen.insert("\(endpoint.address) \(number)").inserted else { continue }
                zones[endpoint.zone, default: []].append([
                    "endpoint": [
                        "address": [
                            "socket_address": ["address": .string(endpoint.address), "port_value": .int(Int64(number))]
                        ]
                    ],
                    "health_status": endpoint.isReady ? "HEALTHY" : "DRAINING",
                ])
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

    // MARK: Messages

    static let ads: JSONValue = ["ads": [:], "resource_api_version": "V3"]

    func cluster(_ key: ObjectKey, _ port: MeshService.Port) -> JSONValue {
        let name = world.clusterName(key, port.number)
        var cluster: JSONObject = [
            "name": .string(name), "type": "EDS", "connect_timeout": "10s",
            "eds_cluster_config": ["eds_config": Self.ads, "service_name": .string(name)],
        ]
        if port.speaksHTTP2 || world.isCalledByGRPC(key, port.number) {
            let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
            cluster["typed_extension_protocol_options"] = .object([
                options: [
                    "@type": .string("type.googleapis.com/\(options)"),
                    "explicit_http_config": ["http2_protocol_options": [:]],
                ]
            ])
        }
        return .object(cluster)
    }

    /// What a client without listeners of its own asks for by the name of what it wants to reach.
    private static func listener(_ name: String) -> JSONValue {
        let filters = "type.googleapis.com/envoy.extensions.filters"
        return [
            "name": .string(name),
            "api_listener": [
                "api_listener": [
                    "@type": .string("\(filters).network.http_connection_manager.v3.HttpConnectionManager"),
                    "stat_prefix": .string(name),
                    "rds": ["config_source": ads, "route_config_name": .string(name)],
                    "http_filters": [
                        [
                            "name": "envoy.filters.http.router",
                            "typed_config": ["@type": .string("\(filters).http.router.v3.Router")],
                        ]
                    ],
                ]
            ],
        ]
    }

    /// The message of a resource that is written here. A number that a route brings along may be more than Envoy's API can say.
    static func message(_ kind: ResourceKind, _ json: JSONValue) throws(ConfigError) -> [UInt8] {
        guard let type = Message(kind.rawValue)?.type else { preconditionFailure("no type \(kind.rawValue)") }
        return try Message(json: json, type: type).binary()
    }
}
