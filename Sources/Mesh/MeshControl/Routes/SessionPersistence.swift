import ClusterAPI
import JSON

/// Who has been at a backend's pod comes back to it (GEP-1619): a rule's `sessionPersistence`, for the filter that keeps it.
struct SessionPersistence {
    static let filter = "envoy.filters.http.stateful_session"

    private let rule: JSONValue
    private let isHeader: Bool
    /// Nil where it does not end.
    private let timeout: Int64?

    /// Nil for a rule that wants none.
    init?(_ rule: JSONValue) {
        guard let wish = rule["sessionPersistence"] else { return nil }
        self.rule = wish
        isHeader = wish.text("type") == "Header"
        timeout = GatewayDuration(wish.text("absoluteTimeout"))?.milliseconds
    }

    private var isPermanent: Bool { rule.text("cookie", "lifetimeType") == "Permanent" }

    /// Why it cannot be kept; nil when it can. What a client carries has no end but that of a cookie that says its own.
    var problem: String? {
        guard timeout != nil else { return isPermanent ? "a permanent cookie needs an absoluteTimeout" : nil }
        if isHeader { return "absoluteTimeout is not supported for headers" }
        return isPermanent ? nil : "absoluteTimeout is supported for cookies of lifetimeType Permanent only"
    }

    /// - Parameter owner: The route and rule whose session it is, where it has no name of its own.
    func add(to route: inout JSONObject, owner: String) {
        var filters = route["typed_per_filter_config"]?.object ?? JSONObject()
        let state: JSONValue
        if isHeader {
            state = [
                "name": "envoy.http.stateful_session.header",
                "typed_config": .typed(
                    "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState",
                    ["name": .string(name("header", owner))]),
            ]
        } else {
            let path = rule.text("cookie", "path")
            var cookie: JSONObject = [
                "name": .string(name("cookie", owner)), "path": .string(path.isEmpty ? "/" : path),
            ]
            if isPermanent, let timeout { cookie["ttl"] = .string("\(max(1, timeout / 1000))s") }
            state = [
                "name": "envoy.http.stateful_session.cookie",
                "typed_config": .typed(
                    "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState",
                    ["cookie": .object(cookie)]),
            ]
        }
        // gRPC's own clients have no such filter, and may pass it over.
        filters[Self.filter] = .typed(
            "envoy.config.route.v3.FilterConfig",
            [
                "is_optional": true,
                "config": .typed(
                    "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute",
                    ["stateful_session": ["session_state": state]]),
            ])
        route["typed_per_filter_config"] = .object(filters)
    }

    private func name(_ kind: String, _ owner: String) -> String {
        let own = rule.text(kind, "name")
        guard own.isEmpty else { return own }
        // The same for all proxies, and after a restart.
        let hash = owner.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x0100_0000_01b3 }
        return (isHeader ? "x-weft-session-" : "weft-session-") + String(hash & 0xffff_ffff, radix: 16)
    }
}
