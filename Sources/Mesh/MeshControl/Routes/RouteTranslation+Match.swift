import ClusterAPI
import JSON

// Which requests a rule is for.
extension RouteTranslation {
    /// Which part of a prefix a route is for.
    enum Prefix { case all, itself, below }

    /// One match of a path, and which part of a prefix it is. A prefix ends at a slash, which Envoy says in a way that gRPC does not
    /// know: it is two routes here, the path itself and what is below it.
    func paths(_ path: JSONValue) -> [(path: JSONObject, prefix: Prefix?)] {
        let value = path.text("value")
        switch path.text("type") {
        case "Exact": return [(["path": .string(value)], nil)]
        case "RegularExpression": return [(["safe_regex": ["regex": .string(value)]], nil)]
        default:
            let trimmed = value.hasSuffix("/") ? String(value.dropLast()) : value
            guard !trimmed.isEmpty else { return [(["prefix": "/"], .all)] }
            return [
                (["path": .string(trimmed)], .itself), (["prefix": .string(trimmed + "/")], .below),
            ]
        }
    }

    /// A method of gRPC as the path that it is.
    func methods(_ match: JSONValue) -> [(path: JSONObject, prefix: Prefix?)] {
        let method = match["method"] ?? .null
        let (service, name) = (method.text("service"), method.text("method"))
        guard method.text("type") != "RegularExpression" else {
            let expression = "/\(service.isEmpty ? "[^/]+" : service)/\(name.isEmpty ? "[^/]+" : name)"
            return [(["safe_regex": ["regex": .string(expression)]], nil)]
        }
        switch (service.isEmpty, name.isEmpty) {
        case (true, true): return [(["prefix": "/"], nil)]
        case (false, true): return [(["prefix": .string("/\(service)/")], nil)]
        // A method's name has nothing in it that means more in an expression.
        case (true, false): return [(["safe_regex": ["regex": .string("/[^/]+/\(name)")]], nil)]
        case (false, false): return [(["path": .string("/\(service)/\(name)")], nil)]
        }
    }

    func match(_ path: JSONObject, _ match: JSONValue) -> JSONObject {
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

    /// The expressions of a route's matches, each with what it is for.
    static func expressions(_ route: MeshRoute) -> [(place: String, expression: String)] {
        var found: [(place: String, expression: String)] = []
        for (number, rule) in route.rules.enumerated() {
            for match in rule.list("matches") {
                let path = match["path"] ?? .null
                let method = match["method"] ?? .null
                let named = match.list("headers") + match.list("queryParams")
                var expressions = [path].filter { $0.text("type") == "RegularExpression" }.map { $0.text("value") }
                expressions += named.filter { $0.text("type") == "RegularExpression" }.map { $0.text("value") }
                if method.text("type") == "RegularExpression" {
                    expressions += [method.text("service"), method.text("method")].filter { !$0.isEmpty }
                }
                found += expressions.map { ("rule \(number)", $0) }
            }
        }
        return found
    }
}
