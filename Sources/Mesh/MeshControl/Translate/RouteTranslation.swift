import ClusterAPI
import JSON

/// HTTPRoutes as routes of Envoy's: pure. What is written is what gRPC's own xDS client understands too, so that one table serves
/// both.
struct RouteTranslation {
    /// Says where a backend leads; nil when it does not exist or may not be named.
    var cluster: (_ backend: ObjectKey, _ port: Int, _ from: String) -> String?

    /// No such cluster is ever published: requests to it are answered with 500, as the Gateway API wants for the share of a backend
    /// that does not exist.
    static let nowhere = "weft-invalid-backend"

    /// The routes of one Service's port, first match first, in the precedence of the Gateway API over all HTTPRoutes together.
    func routes(_ httpRoutes: [MeshRoute]) -> [JSONValue] {
        var ranked: [(rank: Rank, route: JSONValue)] = []
        for route in httpRoutes.sorted(by: { ($0.created, "\($0.key)") < ($1.created, "\($1.key)") }) {
            for rule in route.rules {
                for match in rule.list("matches") {
                    for (path, action) in paths(match["path"] ?? .null, rule, route.key.namespace) {
                        var json = action
                        json["match"] = .object(self.match(path, match))
                        json["name"] = .string("\(route.key)")
                        ranked.append((Rank(match, order: ranked.count), .object(json)))
                    }
                }
            }
        }
        return ranked.sorted { $0.rank < $1.rank }.map(\.route)
    }

    /// Exact path, then expressions, then the longest prefix; then a method, the most headers, the most parameters, the oldest route,
    /// and the order in it.
    private struct Rank: Comparable {
        var key: [Int]

        init(_ match: JSONValue, order: Int) {
            let path = match["path"] ?? .null
            let kind =
                switch path.text("type") {
                case "Exact": 0
                case "RegularExpression": 1
                default: 2
                }
            key = [
                kind, -path.text("value").utf8.count, match.text("method").isEmpty ? 1 : 0,
                -match.list("headers").count, -match.list("queryParams").count, order,
            ]
        }

        static func < (a: Rank, b: Rank) -> Bool { a.key.lexicographicallyPrecedes(b.key) }
    }

    // MARK: Matches

    /// One match of a path, with the action of its rule as it is for it. A prefix ends at a slash, which Envoy says in a way that
    /// gRPC does not know: it is two routes here, the path itself and what is below it.
    private func paths(
        _ path: JSONValue, _ rule: JSONValue, _ namespace: String
    ) -> [(path: JSONObject, action: JSONObject)] {
        let value = path.text("value")
        switch path.text("type") {
        case "Exact": return [(["path": .string(value)], action(rule, namespace, prefix: nil))]
        case "RegularExpression":
            return [(["safe_regex": ["regex": .string(value)]], action(rule, namespace, prefix: nil))]
        default:
            let trimmed = value.hasSuffix("/") ? String(value.dropLast()) : value
            guard !trimmed.isEmpty else { return [(["prefix": "/"], action(rule, namespace, prefix: .all))] }
            return [
                (["path": .string(trimmed)], action(rule, namespace, prefix: .itself)),
                (["prefix": .string(trimmed + "/")], action(rule, namespace, prefix: .below)),
            ]
        }
    }

    private func match(_ path: JSONObject, _ match: JSONValue) -> JSONObject {
        var json = path
        var headers = match.list("headers").map { named($0) }
        if !match.text("method").isEmpty {
            headers.append(["name": ":method", "string_match": ["exact": .string(match.text("method"))]])
        }
        if !headers.isEmpty { json["headers"] = .array(headers) }
        let parameters = match.list("queryParams").map { named($0) }
        if !parameters.isEmpty { json["query_parameters"] = .array(parameters) }
        return json
    }

    private func named(_ match: JSONValue) -> JSONValue {
        let value: JSONValue = .string(match.text("value"))
        let matcher: JSONValue =
            match.text("type") == "RegularExpression" ? ["safe_regex": ["regex": value]] : ["exact": value]
        return ["name": .string(match.text("name")), "string_match": matcher]
    }

    // MARK: Actions

    /// Which part of a prefix a route is for.
    private enum Prefix { case all, itself, below }

    private func action(_ rule: JSONValue, _ namespace: String, prefix: Prefix?) -> JSONObject {
        var json = JSONObject()
        let filters = rule.list("filters")
        for filter in filters { changeHeaders(filter, &json) }
        if let redirect = filters.first(where: { $0.text("type") == "RequestRedirect" })?["requestRedirect"] {
            json["redirect"] = .object(self.redirect(redirect, prefix))
            return json
        }
        guard var route = target(rule, namespace) else {
            json["direct_response"] = ["status": 500]
            return json
        }
        if let rewrite = filters.first(where: { $0.text("type") == "URLRewrite" })?["urlRewrite"] {
            if !rewrite.text("hostname").isEmpty { route["host_rewrite_literal"] = .string(rewrite.text("hostname")) }
            rewritePath(rewrite["path"] ?? .null, prefix, &route)
        }
        let mirrors = filters.filter { $0.text("type") == "RequestMirror" }.compactMap { filter in
            mirror(filter["requestMirror"] ?? .null, namespace)
        }
        if !mirrors.isEmpty { route["request_mirror_policies"] = .array(mirrors) }
        limitTime(rule, &route)
        json["route"] = .object(route)
        return json
    }

    /// Nil when none of the backends can take anything.
    private func target(_ rule: JSONValue, _ namespace: String) -> JSONObject? {
        var weighted: [JSONValue] = []
        var total: Int64 = 0
        var isAnyThere = false
        for backend in rule.list("backendRefs") {
            let weight = backend["weight"]?.int ?? 1
            guard weight > 0 else { continue }
            total += weight
            let found = self.backend(backend, namespace)
            isAnyThere = isAnyThere || found != nil
            var entry: JSONObject = ["name": .string(found ?? Self.nowhere), "weight": .int(weight)]
            for filter in backend.list("filters") { changeHeaders(filter, &entry) }
            weighted.append(.object(entry))
        }
        guard isAnyThere, total <= Int64(UInt32.max) else { return nil }
        var route: JSONObject = ["cluster_not_found_response_code": "INTERNAL_SERVER_ERROR"]
        if weighted.count == 1, let only = weighted[0].object, only.count == 2 {
            route["cluster"] = only["name"]
        } else {
            route["weighted_clusters"] = ["clusters": .array(weighted)]
        }
        return route
    }

    private func backend(_ reference: JSONValue, _ namespace: String) -> String? {
        guard reference.text("group").isEmpty, ["", "Service"].contains(reference.text("kind")) else { return nil }
        let own = reference.text("namespace")
        let key = ObjectKey(namespace: own.isEmpty ? namespace : own, name: reference.text("name"))
        return cluster(key, Int(reference.number("port")), namespace)
    }

    private func mirror(_ mirror: JSONValue, _ namespace: String) -> JSONValue? {
        guard let cluster = backend(mirror["backendRef"] ?? .null, namespace) else { return nil }
        var policy: JSONObject = ["cluster": .string(cluster)]
        if let percent = mirror["percent"]?.int {
            policy["runtime_fraction"] = ["default_value": ["numerator": .int(percent), "denominator": "HUNDRED"]]
        } else if let part = mirror["fraction"]?["numerator"]?.int {
            let whole = max(1, mirror["fraction"]?["denominator"]?.int ?? 100)
            // Envoy has three denominators; a millionth is near enough to any fraction.
            let millionths = part.multipliedReportingOverflow(by: 1_000_000)
            let numerator = millionths.overflow ? 1_000_000 : min(1_000_000, millionths.partialValue / whole)
            policy["runtime_fraction"] = ["default_value": ["numerator": .int(numerator), "denominator": "MILLION"]]
        }
        return .object(policy)
    }

    private func redirect(_ redirect: JSONValue, _ prefix: Prefix?) -> JSONObject {
        var json = JSONObject()
        if !redirect.text("scheme").isEmpty { json["scheme_redirect"] = .string(redirect.text("scheme")) }
        if !redirect.text("hostname").isEmpty { json["host_redirect"] = .string(redirect.text("hostname")) }
        if let port = redirect["port"]?.int { json["port_redirect"] = .int(port) }
        let path = redirect["path"] ?? .null
        switch path.text("type") {
        case "ReplaceFullPath": json["path_redirect"] = .string(path.text("replaceFullPath"))
        case "ReplacePrefixMatch":
            json["prefix_rewrite"] = .string(Self.replacement(path.text("replacePrefixMatch"), prefix))
        default: break
        }
        json["response_code"] =
            switch redirect["statusCode"]?.int {
            case 301: "MOVED_PERMANENTLY"
            case 303: "SEE_OTHER"
            case 307: "TEMPORARY_REDIRECT"
            case 308: "PERMANENT_REDIRECT"
            default: "FOUND"
            }
        return json
    }

    private func rewritePath(_ path: JSONValue, _ prefix: Prefix?, _ route: inout JSONObject) {
        switch path.text("type") {
        case "ReplaceFullPath":
            // A backslash would be a reference to a group.
            let text = path.text("replaceFullPath").split(separator: "\\", omittingEmptySubsequences: false)
                .joined(separator: "\\\\")
            route["regex_rewrite"] = ["pattern": ["regex": "^/.*$"], "substitution": .string(text)]
        case "ReplacePrefixMatch":
            route["prefix_rewrite"] = .string(Self.replacement(path.text("replacePrefixMatch"), prefix))
        default: break
        }
    }

    /// What stands in place of the matched part: neither two slashes nor none.
    private static func replacement(_ text: String, _ prefix: Prefix?) -> String {
        let trimmed = text.hasSuffix("/") ? String(text.dropLast()) : text
        return prefix == .itself && !trimmed.isEmpty ? trimmed : trimmed + "/"
    }

    private func changeHeaders(_ filter: JSONValue, _ json: inout JSONObject) {
        for (type, member, field) in [
            ("RequestHeaderModifier", "requestHeaderModifier", "request"),
            ("ResponseHeaderModifier", "responseHeaderModifier", "response"),
        ] where filter.text("type") == type {
            let change = filter[member] ?? .null
            let added = [("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD")].flatMap {
                verb, action in
                change.list(verb).map { header -> JSONValue in
                    [
                        "header": [
                            "key": .string(header.text("name")), "value": .string(Self.literal(header.text("value"))),
                        ],
                        "append_action": .string(action),
                    ]
                }
            }
            if !added.isEmpty { json["\(field)_headers_to_add"] = .array(added) }
            let removed = change.list("remove")
            if !removed.isEmpty { json["\(field)_headers_to_remove"] = .array(removed) }
        }
    }

    /// A value in which nothing is a command operator.
    private static func literal(_ text: String) -> String {
        text.split(separator: "%", omittingEmptySubsequences: false).joined(separator: "%%")
    }

    private func limitTime(_ rule: JSONValue, _ route: inout JSONObject) {
        let whole = GatewayDuration(rule.text("timeouts", "request"))?.milliseconds
        let one = GatewayDuration(rule.text("timeouts", "backendRequest"))?.milliseconds
        let retry = rule["retry"]
        // Without another try the time of one is the time of all; 0 is no limit, in both of the APIs.
        let limit = whole ?? (retry == nil ? one : nil)
        route["timeout"] = .string(Self.seconds(limit ?? 0))
        guard let retry else { return }
        var policy: JSONObject = [
            "retry_on": "connect-failure,refused-stream,unavailable,retriable-status-codes",
            "num_retries": .int(retry["attempts"]?.int ?? 1),
        ]
        let codes = retry.list("codes")
        if !codes.isEmpty { policy["retriable_status_codes"] = .array(codes) }
        if let one, one > 0 { policy["per_try_timeout"] = .string(Self.seconds(one)) }
        if let backoff = GatewayDuration(retry.text("backoff"))?.milliseconds, backoff > 0 {
            policy["retry_back_off"] = ["base_interval": .string(Self.seconds(backoff))]
        }
        route["retry_policy"] = .object(policy)
    }

    private static func seconds(_ milliseconds: Int64) -> String {
        let rest = String(milliseconds % 1000)
        return "\(milliseconds / 1000).\(String(repeating: "0", count: 3 - rest.utf8.count))\(rest)s"
    }
}
