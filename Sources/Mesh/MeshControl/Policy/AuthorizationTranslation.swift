import ClusterAPI
import JSON

/// AuthorizationPolicies as filters of access control: pure. What is refused and what is allowed is said by the same rules for
/// requests and for connections that are no HTTP; of those only what can be known of a connection counts.
struct AuthorizationTranslation {
    enum Layer { case requests, connections }

    let layer: Layer

    /// In the order in which they decide: what is denied, then what is allowed.
    func filters(_ policies: [AuthorizationPolicy]) -> [JSONValue] {
        [AuthorizationPolicy.Action.deny, .allow].compactMap { action in
            filter(policies.filter { $0.action == action }, action)
        }
    }

    private func filter(_ policies: [AuthorizationPolicy], _ action: AuthorizationPolicy.Action) -> JSONValue? {
        guard !policies.isEmpty else { return nil }
        var fields = JSONObject()
        let (enforced, dry) = (policies.filter { !$0.isDry }, policies.filter(\.isDry))
        if !enforced.isEmpty { fields["rules"] = rules(enforced, action) }
        if !dry.isEmpty {
            fields["shadow_rules"] = rules(dry, action)
            fields["shadow_rules_stat_prefix"] = .string("istio_dry_run_\(action.rawValue.lowercased())_")
        }
        switch layer {
        case .requests: return ProxyConfig.httpFilter("rbac", "envoy.extensions.filters.http.rbac.v3.RBAC", fields)
        case .connections:
            fields["stat_prefix"] = "tcp."
            return ProxyConfig.networkFilter("rbac", "envoy.extensions.filters.network.rbac.v3.RBAC", fields)
        }
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
        return ["action": .string(action.rawValue), "policies": .object(named)]
    }
}
