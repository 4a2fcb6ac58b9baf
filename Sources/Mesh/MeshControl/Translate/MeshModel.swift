import ClusterAPI
import Discovery
import JSON
import XDS

/// What the cluster says, as far as the mesh is concerned, and the resources that follow from it. Pure; the work of a change is that of
/// the Services that it touches.
struct MeshModel {
    private let domain: String
    private var services: [ObjectKey: MeshService] = [:]
    private var slices: [ObjectKey: [ObjectKey: MeshSlice]] = [:]
    private var routes: [ObjectKey: MeshRoute] = [:]
    private var grants: [ObjectKey: MeshGrant] = [:]
    /// The routes that bind to a Service, and those that lead to it.
    private var bound: [ObjectKey: Set<ObjectKey>] = [:]
    private var leading: [ObjectKey: Set<ObjectKey>] = [:]
    private var dirtyTables: Set<ObjectKey> = []
    private var dirtyEndpoints: Set<ObjectKey> = []
    /// What was said of each Service, so that what is no longer said can be taken back.
    private var published: [ObjectKey: Set<Name>] = [:]

    private struct Name: Hashable {
        var kind: ResourceKind
        var name: String
    }

    /// - Parameter domain: The cluster's, as `cluster.local`.
    init(domain: String) { self.domain = domain }

    // MARK: What the cluster says

    mutating func set(_ service: MeshService?, _ key: ObjectKey) {
        services[key] = service
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

    mutating func set(_ route: MeshRoute?, _ key: ObjectKey) {
        for version in [routes[key], route].compactMap(\.self) {
            let isNew = version == route
            for parent in version.parents {
                if isNew { bound[parent.service, default: []].insert(key) } else { bound[parent.service]?.remove(key) }
                dirtyTables.insert(parent.service)
            }
            for backend in Self.backends(version) {
                if isNew { leading[backend, default: []].insert(key) } else { leading[backend]?.remove(key) }
            }
        }
        routes[key] = route
    }

    mutating func set(_ grant: MeshGrant?, _ key: ObjectKey) {
        grants[key] = grant
        for (backend, leading) in leading where backend.namespace == key.namespace {
            for route in leading { touch(route: route) }
        }
    }

    /// Routes answer otherwise when a backend comes or goes.
    private mutating func touch(service key: ObjectKey) {
        dirtyTables.insert(key)
        for route in leading[key] ?? [] { touch(route: route) }
    }

    private mutating func touch(route key: ObjectKey) {
        for parent in routes[key]?.parents ?? [] { dirtyTables.insert(parent.service) }
    }

    private static func backends(_ route: MeshRoute) -> Set<ObjectKey> {
        var found: Set<ObjectKey> = []
        for rule in route.rules {
            let mirrors = rule.list("filters").compactMap { $0[path: "requestMirror", "backendRef"] }
            for reference in rule.list("backendRefs") + mirrors {
                let namespace = reference.text("namespace")
                found.insert(
                    ObjectKey(
                        namespace: namespace.isEmpty ? route.key.namespace : namespace, name: reference.text("name")))
            }
        }
        return found
    }

    // MARK: What follows

    /// What has to be published since the last call: for all proxies, and the listeners of clients that have none of their own
    /// (gRPC's).
    ///
    /// What cannot be said stays as it was, and is a problem.
    mutating func changes() -> (shared: [ServedChange], listeners: [ServedChange], problems: [String]) {
        var all: [ServedChange] = []
        var problems: [String] = []
        func add(_ kind: ResourceKind, _ name: String, _ json: JSONValue) {
            do throws(ConfigError) {
                all.append(ServedChange(kind, name, try Self.message(kind, json)))
            } catch { problems.append("\(kind.service) \(name): \(error)") }
        }
        for key in dirtyTables {
            let service = services[key]
            var said: Set<Name> = []
            func say(_ kind: ResourceKind, _ name: String, _ json: JSONValue) {
                said.insert(Name(kind: kind, name: name))
                add(kind, name, json)
            }
            for port in service?.ports ?? [] {
                let cluster = clusterName(key, port.number)
                say(.cluster, cluster, Self.cluster(cluster, port))
                let table = "\(host(key)):\(port.number)"
                say(.routeConfiguration, table, routeConfiguration(table, key, port.number))
                say(.listener, table, Self.listener(table))
            }
            for gone in published[key, default: []].subtracting(said) {
                all.append(ServedChange(gone.kind, gone.name, nil))
                // Its endpoints go with the cluster.
                if gone.kind == .cluster { all.append(ServedChange(.clusterLoadAssignment, gone.name, nil)) }
            }
            published[key] = said.isEmpty ? nil : said
        }
        for key in dirtyEndpoints {
            for port in services[key]?.ports ?? [] {
                let name = clusterName(key, port.number)
                add(.clusterLoadAssignment, name, endpoints(name, key, port))
            }
        }
        dirtyTables = []
        dirtyEndpoints = []
        return (all.filter { $0.kind != .listener }, all.filter { $0.kind == .listener }, problems)
    }

    private func host(_ key: ObjectKey) -> String { "\(key.name).\(key.namespace).svc.\(domain)" }

    /// As the control planes that people know name it.
    private func clusterName(_ key: ObjectKey, _ port: Int) -> String { "outbound|\(port)||\(host(key))" }

    private func routeConfiguration(_ name: String, _ key: ObjectKey, _ port: Int) -> JSONValue {
        let bound = (bound[key] ?? []).compactMap { self.routes[$0] }.filter { $0.binds(key, port) }
        let own = clusterName(key, port)
        let translation = RouteTranslation { backend, port, namespace in
            guard services[backend]?.ports.contains(where: { $0.number == port }) == true,
                backend.namespace == namespace || grants.values.contains(where: { $0.allows(namespace, backend) })
            else { return nil }
            return clusterName(backend, port)
        }
        // Without a route a Service is what it always was; with one, what no rule matches is not found.
        let routes: [JSONValue] =
            bound.isEmpty
            ? [["match": ["prefix": "/"], "route": ["cluster": .string(own), "timeout": "0s"], "name": "default"]]
            : translation.routes(bound)
        let names = [host(key), "\(key.name).\(key.namespace).svc", "\(key.name).\(key.namespace)", key.name]
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

    private static let ads: JSONValue = ["ads": [:], "resource_api_version": "V3"]

    private static func cluster(_ name: String, _ port: MeshService.Port) -> JSONValue {
        var cluster: JSONObject = [
            "name": .string(name), "type": "EDS", "connect_timeout": "10s",
            "eds_cluster_config": ["eds_config": ads, "service_name": .string(name)],
        ]
        if port.speaksHTTP2 {
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
    private static func message(_ kind: ResourceKind, _ json: JSONValue) throws(ConfigError) -> [UInt8] {
        guard let type = Message(kind.rawValue)?.type else { preconditionFailure("no type \(kind.rawValue)") }
        return try Message(json: json, type: type).binary()
    }
}
