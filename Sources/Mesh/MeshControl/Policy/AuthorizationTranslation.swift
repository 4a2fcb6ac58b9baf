import ClusterAPI
import JSON

/// AuthorizationPolicies as filters of access control: pure. What is refused and what is allowed is said by the same rules for
/// requests and for connections that are no HTTP; of those only what can be known of a connection counts.
struct AuthorizationTranslation {
    enum Layer {
        /// Requests whose tokens nobody has looked at yet.
        case arrivals
        case requests, connections
    }

    let layer: Layer

    /// In the order in which they are asked: what is told, what is denied, what is allowed.
    private static let actions = [AuthorizationPolicy.Action.audit, .deny, .allow]

    // MARK: Connections

    /// Filters of connections that are no HTTP.
    static func connectionFilters(_ policies: [AuthorizationPolicy]) -> [JSONValue] {
        let translation = AuthorizationTranslation(layer: .connections)
        var all = actions.compactMap { translation.fields(policies, $0) }
        // Nobody can be asked about a stream, so it is not for who would have been.
        let unasked = policies.filter { $0.action == .custom && !$0.isDry }
        if !unasked.isEmpty { all.insert(["rules": translation.rules(unasked, .custom)], at: 0) }
        return all.map { fields in
            var fields = fields
            fields["stat_prefix"] = "tcp."
            return ProxyConfig.networkFilter("rbac", "envoy.extensions.filters.network.rbac.v3.RBAC", fields)
        }
    }

    // MARK: Requests that others decide on

    /// Those that are enforced, by whom they ask.
    private static func asking(_ policies: [AuthorizationPolicy]) -> [(name: String, policies: [AuthorizationPolicy])] {
        Dictionary(grouping: policies.filter { $0.action == .custom && !$0.isDry }) { $0.provider ?? "" }
            .sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// For each who is asked: rules that find the requests for him and decide nothing, and a filter that asks where they did. Before the
    /// filter that looks at tokens, because whoever is asked may be the one that brings some.
    static func askingFilters(_ policies: [AuthorizationPolicy], _ authorizers: Authorizers) -> [JSONValue] {
        asking(policies).flatMap { name, _ -> [JSONValue] in
            let rules: JSONValue = [
                "name": .string(filterName(asking: name)),
                "typed_config": .typed(
                    "envoy.extensions.filters.http.rbac.v3.RBAC",
                    ["shadow_rules_stat_prefix": .string(shadowPrefix(asking: name))]),
            ]
            let condition: JSONValue = [
                "filter": "envoy.filters.http.rbac",
                "path": [["key": .string(shadowPrefix(asking: name) + "shadow_effective_policy_id")]],
                "value": ["string_match": ["prefix": .string(askingPrefix)]],
            ]
            return [rules] + [authorizers.filter(name, when: condition)].compactMap(\.self)
        }
    }

    /// Istio's names, by which its users find them.
    private static let askingPrefix = "istio-ext-authz-"
    private static func filterName(asking name: String) -> String { "envoy.filters.http.rbac.custom.\(name)" }
    private static func shadowPrefix(asking name: String) -> String { "istio_ext_authz_\(name)_" }

    // MARK: Requests

    private static func filterName(_ action: AuthorizationPolicy.Action) -> String {
        "envoy.filters.http.rbac.\(action.rawValue.lowercased())"
    }

    /// Filters that let all pass: what they do is said by the routes, which change without a connection that has to end, and for the
    /// next request of those that are open.
    ///
    /// - Parameter isAudited: Some policy wants to be told of requests; such a one comes and goes with the listener.
    static func requestFilters(isAudited: Bool) -> [JSONValue] {
        actions.filter { isAudited || $0 != .audit }.map { action in
            [
                "name": .string(filterName(action)),
                // Counters are the filter's, whatever routes say.
                "typed_config": .typed(
                    "envoy.extensions.filters.http.rbac.v3.RBAC",
                    ["shadow_rules_stat_prefix": .string(shadowPrefix(action))]),
            ]
        }
    }

    /// A line on standard output for each request that an AUDIT policy matches, and for no other.
    static let auditLog: JSONValue = {
        func metadata(_ name: String) -> String { "%DYNAMIC_METADATA(envoy.filters.http.rbac:\(name))%" }
        let policy = metadata(shadowPrefix(.audit) + "shadow_effective_policy_id")
        return [
            "name": "envoy.access_loggers.stdout",
            "filter": [
                "metadata_filter": [
                    // RBAC's LOG leaves this behind for what it matches.
                    "matcher": [
                        "filter": "envoy.common", "path": [["key": "access_log_hint"]], "value": ["bool_match": true],
                    ],
                    "match_if_key_not_found": false,
                ]
            ],
            "typed_config": .typed(
                "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                [
                    "log_format": [
                        "text_format_source": [
                            "inline_string": .string(
                                "[%START_TIME%] audit \(policy) %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_REMOTE_ADDRESS% "
                                    + "\"%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %REQ(X-REQUEST-ID)%\n"
                            )
                        ]
                    ]
                ]),
        ]
    }()

    /// What routes say to the filters of requests (`typed_per_filter_config`).
    ///
    /// - Parameter authorizers: Who is there to be asked. What others should be asked about is refused.
    static func requestSettings(_ policies: [AuthorizationPolicy], _ authorizers: Authorizers) -> JSONObject {
        var settings = JSONObject()
        for (name, policies) in asking(policies) {
            let rules = AuthorizationTranslation(layer: .arrivals).rules(policies, .custom, prefix: askingPrefix)
            let fields: JSONObject =
                authorizers.knows(name)
                ? ["shadow_rules": rules, "shadow_rules_stat_prefix": .string(shadowPrefix(asking: name))]
                : ["rules": rules]
            settings[filterName(asking: name)] = .typed(
                "envoy.extensions.filters.http.rbac.v3.RBACPerRoute", ["rbac": .object(fields)])
        }
        for action in actions {
            guard let fields = AuthorizationTranslation(layer: .requests).fields(policies, action) else { continue }
            settings[filterName(action)] = .typed(
                "envoy.extensions.filters.http.rbac.v3.RBACPerRoute", ["rbac": .object(fields)])
        }
        return settings
    }

    // MARK: Rules

    private static func shadowPrefix(_ action: AuthorizationPolicy.Action) -> String {
        action == .audit ? "istio_audit_" : "istio_dry_run_\(action.rawValue.lowercased())_"
    }

    private func fields(_ policies: [AuthorizationPolicy], _ action: AuthorizationPolicy.Action) -> JSONObject? {
        let policies = policies.filter { $0.action == action }
        guard !policies.isEmpty else { return nil }
        var fields = JSONObject()
        let (enforced, dry) = (policies.filter { !$0.isDry }, policies.filter(\.isDry))
        if !enforced.isEmpty { fields["rules"] = rules(enforced, action) }
        // What is told is counted besides, and the policy that it was for known, by rules that decide nothing.
        let shadow = action == .audit ? policies : dry
        if !shadow.isEmpty {
            fields["shadow_rules"] = rules(shadow, action == .audit ? .allow : action)
            fields["shadow_rules_stat_prefix"] = .string(Self.shadowPrefix(action))
        }
        return fields
    }

    /// Without a rule an ALLOW matches nothing, so that nothing is allowed.
    private func rules(
        _ policies: [AuthorizationPolicy], _ action: AuthorizationPolicy.Action, prefix: String = ""
    ) -> JSONValue {
        // Where nobody can be asked, what is no matter of a stream is none of him who would be.
        let isStrict = action == .deny || action == .custom && layer != .connections
        let word =
            switch action {
            case .audit: "LOG"
            case .custom: "DENY"
            case .allow, .deny: action.rawValue
            }
        var named = JSONObject()
        for policy in policies {
            for (index, rule) in policy.rules.enumerated() {
                let reading = AuthorizationRule(
                    rule, layer: layer, isDeny: isStrict, namespace: policy.key.namespace)
                guard let permissions = reading.permissions, let principals = reading.principals else { continue }
                named["\(prefix)ns[\(policy.key.namespace)]-policy[\(policy.key.name)]-rule[\(index)]"] = [
                    "permissions": .array(permissions), "principals": .array(principals),
                ]
            }
        }
        return ["action": .string(word), "policies": .object(named)]
    }
}
