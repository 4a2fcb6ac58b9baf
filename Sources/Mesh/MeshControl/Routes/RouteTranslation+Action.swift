import ClusterAPI
import JSON

// What is done with the requests of a rule.
extension RouteTranslation {
    /// A part of a rule's requests, and what is done with it.
    struct Share {
        /// Of all of the rule's requests that no share before this one took; nil takes the rest.
        var fraction: JSONValue?
        var action: JSONObject
    }

    /// Most rules are one share: weights are the route's own affair. Where a backend has a path or a redirect of its own, which a
    /// weighted cluster cannot have, each backend is one.
    func shares(_ rule: JSONValue, _ route: RouteKey, _ prefix: Prefix?) -> [Share] {
        let backends = rule.list("backendRefs").filter { ($0["weight"]?.int ?? 1) > 0 }
        let isApart = backends.contains { backend in
            backend.list("filters").contains { ["URLRewrite", "RequestRedirect"].contains($0.text("type")) }
        }
        guard isApart else { return [Share(action: action(rule, rule.list("filters"), route, prefix))] }
        let total = backends.reduce(0.0) { $0 + Double($1["weight"]?.int ?? 1) }
        var taken = 0.0
        return backends.enumerated().map { index, backend in
            var only = rule
            var bare = backend
            bare["filters"] = nil
            only["backendRefs"] = [bare]
            let own = backend.list("filters")
            let kinds = Set(own.map { $0.text("type") })
            // A backend's own filters come after the rule's, and replace what can be there only once.
            let filters = rule.list("filters").filter { filter in
                filter.text("type") == "RequestMirror" || filter.text("type").hasSuffix("HeaderModifier")
                    || !kinds.contains(filter.text("type"))
            }
            taken += Double(backend["weight"]?.int ?? 1)
            // One draw decides for all routes that a request is compared with, so fractions add up.
            let fraction: JSONValue? =
                index == backends.count - 1
                ? nil
                : [
                    "default_value": [
                        "numerator": .int(Int64(taken / total * 1_000_000)), "denominator": "MILLION",
                    ]
                ]
            return Share(fraction: fraction, action: action(only, filters + own, route, prefix))
        }
    }

    private func action(_ rule: JSONValue, _ filters: [JSONValue], _ owner: RouteKey, _ prefix: Prefix?) -> JSONObject {
        var json = JSONObject()
        for filter in filters { changeHeaders(filter, &json) }
        if let cors = filters.first(where: { $0.text("type") == "CORS" })?["cors"] {
            json["typed_per_filter_config"] = ["envoy.filters.http.cors": Self.crossOrigin(cors)]
        }
        if let redirect = filters.first(where: { $0.text("type") == "RequestRedirect" })?["requestRedirect"] {
            json["redirect"] = .object(self.redirect(redirect, prefix))
            return json
        }
        guard var route = target(rule, owner) else {
            json["direct_response"] = ["status": 500]
            return json
        }
        if let rewrite = filters.first(where: { $0.text("type") == "URLRewrite" })?["urlRewrite"] {
            if !rewrite.text("hostname").isEmpty { route["host_rewrite_literal"] = .string(rewrite.text("hostname")) }
            rewritePath(rewrite["path"] ?? .null, prefix, &route)
        }
        let mirrors = filters.filter { $0.text("type") == "RequestMirror" }.compactMap { filter in
            mirror(filter["requestMirror"] ?? .null, owner)
        }
        if !mirrors.isEmpty { route["request_mirror_policies"] = .array(mirrors) }
        limitTime(rule, &route)
        json["route"] = .object(route)
        return json
    }

    /// Nil when none of the backends can take anything.
    private func target(_ rule: JSONValue, _ owner: RouteKey) -> JSONObject? {
        var weighted: [JSONValue] = []
        var total: Int64 = 0
        var isAnyThere = false
        for backend in rule.list("backendRefs") {
            let weight = backend["weight"]?.int ?? 1
            guard weight > 0 else { continue }
            total += weight
            let found = cluster(backend, owner)
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

    func mirror(_ mirror: JSONValue, _ route: RouteKey) -> JSONValue? {
        guard let cluster = cluster(mirror["backendRef"] ?? .null, route) else { return nil }
        var policy: JSONObject = ["cluster": .string(cluster), "disable_shadow_host_suffix_append": true]
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

    func limitTime(_ rule: JSONValue, _ route: inout JSONObject) {
        let whole = GatewayDuration(rule.text("timeouts", "request"))?.milliseconds
        let one = GatewayDuration(rule.text("timeouts", "backendRequest"))?.milliseconds
        let retry = rule["retry"]
        // Without another try the time of one is the time of all; 0 is no limit, in both of the APIs.
        let limit = whole ?? (retry == nil ? one : nil)
        route["timeout"] = .string(Self.seconds(limit ?? 0))
        guard let retry else {
            route["retry_policy"] = Self.retries
            return
        }
        var policy: JSONObject = [
            "retry_on": "connect-failure,refused-stream,reset,unavailable,retriable-status-codes",
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

    /// Where a route says nothing: what hides a connection that failed and an upstream that is unavailable, on another endpoint.
    static let retries: JSONValue = [
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "num_retries": 2, "retriable_status_codes": [503], "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [
            [
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": .typed(
                    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", [:]),
            ]
        ],
    ]

    private static func seconds(_ milliseconds: Int64) -> String {
        let rest = String(milliseconds % 1000)
        return "\(milliseconds / 1000).\(String(repeating: "0", count: 3 - rest.utf8.count))\(rest)s"
    }
}
