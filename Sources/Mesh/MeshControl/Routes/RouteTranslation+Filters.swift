import ClusterAPI
import JSON

// Filters that change a request, its response or its way.
extension RouteTranslation {
    func redirect(_ redirect: JSONValue, _ prefix: Prefix?) -> JSONObject {
        var json = JSONObject()
        let scheme = redirect.text("scheme")
        if !scheme.isEmpty { json["scheme_redirect"] = .string(scheme) }
        if !redirect.text("hostname").isEmpty { json["host_redirect"] = .string(redirect.text("hostname")) }
        // Without a port of its own a redirect goes to its scheme's, or back to the listener; a scheme's usual port is left out.
        let isTLS = scheme.isEmpty ? self.isTLS : scheme == "https"
        let port = redirect["port"]?.int ?? (scheme.isEmpty ? self.port.map { Int64($0) } : nil)
        if let port, self.port == nil || port != (isTLS ? 443 : 80) { json["port_redirect"] = .int(port) }
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

    func rewritePath(_ path: JSONValue, _ prefix: Prefix?, _ route: inout JSONObject) {
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
    static func replacement(_ text: String, _ prefix: Prefix?) -> String {
        let trimmed = text.hasSuffix("/") ? String(text.dropLast()) : text
        return prefix == .itself && !trimmed.isEmpty ? trimmed : trimmed + "/"
    }

    func changeHeaders(_ filter: JSONValue, _ json: inout JSONObject) {
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

    /// What browsers let pages of other origins do (the Fetch standard's CORS protocol), for the filter that answers them. A client
    /// without that filter, such as gRPC's, may pass it over.
    static func crossOrigin(_ cors: JSONValue) -> JSONValue {
        var policy: JSONObject = [
            "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
            "allow_origin_string_match": .array(cors.list("allowOrigins").compactMap(\.string).map(origin)),
            "allow_credentials": .bool(cors["allowCredentials"]?.bool ?? false),
            "forward_not_matching_preflights": false,
            "max_age": .string(String(cors["maxAge"]?.int ?? 5)),
        ]
        for (field, member) in [
            ("allow_methods", "allowMethods"), ("allow_headers", "allowHeaders"), ("expose_headers", "exposeHeaders"),
        ] {
            let names = cors.list(member).compactMap(\.string)
            if !names.isEmpty { policy[field] = .string(names.joined(separator: ", ")) }
        }
        return [
            "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "is_optional": true,
            "config": .object(policy),
        ]
    }

    /// An origin is exact, anything at all, or has a host that begins with a star.
    private static func origin(_ text: String) -> JSONValue {
        guard text.contains("*") else { return ["exact": .string(text)] }
        let parts = text.split(separator: "*", omittingEmptySubsequences: false).map { part in
            part.reduce(into: "") { $0 += "\\.+?()[]{}|^$".contains($1) ? "\\\($1)" : String($1) }
        }
        return ["safe_regex": ["regex": .string(parts.joined(separator: ".*"))]]
    }
}
