import ClusterAPI
import JSON

/// HTTPRoutes and GRPCRoutes as routes of Envoy's: pure. What is written is what gRPC's own xDS client understands too, so that one
/// table serves both.
struct RouteTranslation {
    /// Says where a backend leads; nil when it does not exist or may not be named.
    var cluster: (_ reference: JSONValue, _ route: RouteKey) -> String?
    /// Of the listener whose table this is: what a redirect leads to that names no port. Nil leaves the client's as it is.
    var port: Int?
    var isTLS = false

    /// No such cluster is ever published: requests to it are answered with 500, as the Gateway API wants for the share of a backend
    /// that does not exist.
    static let nowhere = "weft-invalid-backend"

    init(cluster: @escaping (_ reference: JSONValue, _ route: RouteKey) -> String?) { self.cluster = cluster }

    struct Table {
        var routes: [JSONValue] = []
        /// Routes of which a match can never be met, because an older one has the same.
        var shadowed: [RouteKey: RouteKey] = [:]
    }

    private struct Entry {
        var rank: Rank
        var owner: RouteKey
        var json: JSONObject
    }

    /// The routes of one virtual host, first match first: in the precedence of the Gateway API over all of a tier together, one tier
    /// after the other.
    func table(_ tiers: [[MeshRoute]]) -> Table {
        var table = Table()
        var owners: [JSONValue: RouteKey] = [:]
        for tier in tiers {
            for entry in entries(tier).sorted(by: { $0.rank < $1.rank }) {
                let match = entry.json["match"] ?? .null
                if let owner = owners[match] {
                    // What only shares the requests of its match (`runtime_fraction`) differs from the others.
                    if owner != entry.owner { table.shadowed[entry.owner] = owner }
                    continue
                }
                owners[match] = entry.owner
                table.routes.append(.object(entry.json))
            }
        }
        return table
    }

    private func entries(_ routes: [MeshRoute]) -> [Entry] {
        var entries: [Entry] = []
        for route in routes.sorted(by: { ($0.created, $0.route) < ($1.created, $1.route) }) {
            for (index, rule) in route.rules.enumerated() {
                let name = "\(route.key)/\(rule.text("name").isEmpty ? String(index) : rule.text("name"))"
                let matches = rule.list("matches")
                for match in matches.isEmpty ? [.object(JSONObject())] : matches {
                    for (path, prefix) in route.route.kind == .grpc ? methods(match) : paths(match["path"] ?? .null) {
                        let condition = self.match(path, match)
                        for share in shares(rule, route.route, prefix) {
                            var json = share.action
                            var condition = condition
                            if let fraction = share.fraction { condition["runtime_fraction"] = fraction }
                            route.fault?.add(to: &json)
                            SessionPersistence(rule)?.add(to: &json, owner: name)
                            json["match"] = .object(condition)
                            json["name"] = .string(name)
                            let rank = Rank(match, route.route.kind, order: entries.count)
                            entries.append(Entry(rank: rank, owner: route.route, json: json))
                        }
                    }
                }
            }
        }
        return entries
    }

    /// Exact path, then expressions, then the longest prefix; then a method, the most headers, the most parameters, the oldest route,
    /// and the order in it. Of GRPCRoutes the longest service and method take the place of the path.
    private struct Rank: Comparable {
        var key: [Int]

        init(_ match: JSONValue, _ kind: RouteKind, order: Int) {
            let path = kind == .grpc ? match["method"] ?? .null : match["path"] ?? .null
            let isExact = path.text("type") == "Exact"
            let place =
                switch path.text("type") {
                case "RegularExpression": 1
                case "Exact" where kind != .grpc || !path.text("service").isEmpty && !path.text("method").isEmpty: 0
                default: isExact && path.text("service").isEmpty ? 1 : 2
                }
            let length =
                kind == .grpc
                ? path.text("service").utf8.count + path.text("method").utf8.count : path.text("value").utf8.count
            key = [
                place, -length, kind == .grpc || match.text("method").isEmpty ? 1 : 0,
                -match.list("headers").count, -match.list("queryParams").count, order,
            ]
        }

        static func < (a: Rank, b: Rank) -> Bool { a.key.lexicographicallyPrecedes(b.key) }
    }
}
