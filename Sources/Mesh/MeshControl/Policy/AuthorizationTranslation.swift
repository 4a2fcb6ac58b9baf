import ClusterAPI
import JSON

/// AuthorizationPolicies as filters of access control: pure. What is refused and what is allowed is said by the same rules for
/// requests and for connections that are no HTTP; of those only what can be known of a connection counts.
struct AuthorizationTranslation {
    enum Layer { case requests, connections }

    let layer: Layer

    /// In the order in which they are asked: what is told, what is denied, what is allowed.
    private static let actions = [AuthorizationPolicy.Action.audit, .deny, .allow]

    // MARK: Connections

    /// Filters of connections that are no HTTP.
    static func connectionFilters(_ policies: [AuthorizationPolicy]) -> [JSONValue] {
        actions.compactMap { action in
            guard var fields = AuthorizationTranslation(layer: .connections).fields(policies, action) else {
                return nil
            }
            fields["stat_prefix"] = "tcp."
            return ProxyConfig.networkFilter("rbac", "envoy.extensions.filters.network.rbac.v3.RBAC", fields)
        }
    }

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
    static func requestSettings(_ policies: [AuthorizationPolicy]) -> JSONObject {
        var settings = JSONObject()
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
    private func rules(_ policies: [AuthorizationPolicy], _ action: AuthorizationPolicy.Action) -> JSONValue {
        var named = JSONObject()
        for policy in policies {
            for (index, rule) in policy.rules.enumerated() {
                let reading = AuthorizationRule(
                    rule, layer: layer, isDeny: action == .deny, namespace: policy.key.namespace)
                guard let permissions = reading.permissions, let principals = reading.principals else { continue }
                named["ns[\(policy.key.namespace)]-policy[\(policy.key.name)]-rule[\(index)]"] = [
                    "permissions": .array(permissions), "principals": .array(principals),
                ]
            }
        }
        return ["action": .string(action == .audit ? "LOG" : action.rawValue), "policies": .object(named)]
    }
}
