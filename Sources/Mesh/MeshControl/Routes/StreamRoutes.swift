import ClusterAPI
import JSON

/// Where the connections to a port of a Service's go, when TCPRoutes and TLSRoutes bind to it: pure.
///
/// One connection has one way, that of the oldest route: of a TLSRoute by the name that the client says, most specific name first;
/// whatever no TLSRoute names follows the TCPRoute. Where there are only TLSRoutes, what they do not name is refused.
struct StreamRoutes {
    struct Named {
        /// "" is any name.
        var hostname: String
        var target: JSONObject
    }

    private(set) var named: [Named] = []
    /// Nil where no TCPRoute says anything.
    private(set) var rest: JSONObject?
    /// Routes that leave no connection to another, by that one.
    private(set) var shadowed: [RouteKey: RouteKey] = [:]

    /// - Parameter service: Whose port it is.
    init(_ routes: [MeshRoute], of service: ObjectKey, _ world: MeshWorld) {
        var owners: [String: RouteKey] = [:]
        var first: RouteKey?
        for route in routes.sorted(by: { ($0.created, $0.route) < ($1.created, $1.route) }) {
            if route.route.kind == .tcp {
                if let first {
                    shadowed[route.route] = first
                } else {
                    first = route.route
                    rest = world.target(route, from: service)
                }
                continue
            }
            for hostname in route.hostnames.isEmpty ? [""] : route.hostnames.map({ $0.lowercased() }) {
                if let owner = owners[hostname] {
                    if owner != route.route { shadowed[route.route] = owner }
                    continue
                }
                owners[hostname] = route.route
                named.append(Named(hostname: hostname, target: world.target(route, from: service)))
            }
        }
        named.sort { $0.hostname < $1.hostname }
    }

    var isEmpty: Bool { named.isEmpty && rest == nil }
}

extension MeshWorld {
    /// Where the connections of a TLSRoute or TCPRoute go (`TcpProxy.cluster_specifier`).
    ///
    /// - Parameter service: To which they were going, where the route is a Service's.
    func target(_ route: MeshRoute, from service: ObjectKey? = nil) -> JSONObject {
        var weighted: [JSONValue] = []
        for reference in route.rules.first?.list("backendRefs") ?? [] {
            let weight = reference["weight"]?.int ?? 1
            guard weight > 0 else { continue }
            var name = RouteTranslation.nowhere
            if case .port(let service, let port) = backend(reference, of: route.route, from: service) {
                name = clusterName(service, port.number)
            }
            weighted.append(["name": .string(name), "weight": .int(weight)])
        }
        switch weighted.count {
        case 0: return ["cluster": .string(RouteTranslation.nowhere)]
        case 1: return ["cluster": weighted[0]["name"] ?? .null]
        default: return ["weighted_clusters": ["clusters": .array(weighted)]]
        }
    }
}
