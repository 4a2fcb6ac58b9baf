import JSON
import XDS

/// Lets requests in or keeps them out by who asks for what (`envoy.filters.http.rbac`).
package final class RBACFilter: Sendable {
    /// What is enforced, and what is only noted.
    struct Engines: Sendable {
        var enforced: RBACEngine?
        var shadow: RBACEngine?
    }

    struct Counters: Sendable {
        var allowed, denied, shadowAllowed, shadowDenied: CounterID
    }

    /// What a route says instead: other rules, or none at all.
    package struct Override: Sendable {
        let engines: Engines
    }

    private static let namespace = "envoy.filters.http.rbac"

    let engines: Engines
    let counters: Counters
    let shadowPrefix: String

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        var engines = engines
        if case .rbac(let override)? = stream.settings(slot) { engines = override.engines }
        let subject = MatchSubject(stream)
        if let decision = engines.shadow?.decide(subject) { noteShadow(decision, stream) }
        guard let decision = engines.enforced?.decide(subject) else { return .proceed }
        note(decision, in: stream, prefix: "enforced_")
        if let logs = decision.logs {
            var common = stream.ownMetadata.values["envoy.common"] ?? JSONObject()
            common["access_log_hint"] = .bool(logs)
            stream.ownMetadata.values["envoy.common"] = common
        }
        guard decision.allows else {
            stream.worker.count(counters.denied)
            let name = decision.policy.map { String($0.map { $0.isWhitespace ? "_" : $0 }) } ?? "none"
            stream.detailText = "rbac_access_denied_matched_policy[\(name)]"
            stream.reply(403, "RBAC: access denied", details: "rbac_access_denied_matched_policy")
            return .replied
        }
        stream.worker.count(counters.allowed)
        return .proceed
    }

    private func noteShadow(_ decision: RBACRules.Decision, _ stream: HTTPStream) {
        stream.worker.count(decision.allows ? counters.shadowAllowed : counters.shadowDenied)
        note(decision, in: stream, prefix: "\(shadowPrefix)shadow_")
    }

    private func note(_ decision: RBACRules.Decision, in stream: HTTPStream, prefix: String) {
        let metadata = stream.ownMetadata
        var own = metadata.values[Self.namespace] ?? JSONObject()
        if let policy = decision.policy { own["\(prefix)effective_policy_id"] = .string(policy) }
        own["\(prefix)engine_result"] = .string(decision.allows ? "allowed" : "denied")
        metadata.values[Self.namespace] = own
    }

    init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        engines = try Engines(node)
        let prefix = node.string("rules_stat_prefix")
        shadowPrefix = node.string("shadow_rules_stat_prefix")
        counters = Counters(
            allowed: context.counter("rbac.\(prefix)allowed"), denied: context.counter("rbac.\(prefix)denied"),
            shadowAllowed: context.counter("rbac.\(shadowPrefix)shadow_allowed"),
            shadowDenied: context.counter("rbac.\(shadowPrefix)shadow_denied"))
        if node.bool("track_per_rule_stats") { throw node.unsupported("track_per_rule_stats") }
    }
}

extension RBACFilter.Engines {
    init(_ node: ConfigNode) throws(ConfigError) {
        enforced = try RBACEngine(node, rules: "rules", matcher: "matcher", of: .requests)
        shadow = try RBACEngine(node, rules: "shadow_rules", matcher: "shadow_matcher", of: .requests)
    }
}

extension RBACFilter.Override {
    /// An `envoy.extensions.filters.http.rbac.v3.RBACPerRoute`.
    init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        engines =
            try node.message("rbac") { (node) throws(ConfigError) in
                // Counters are the filter's own.
                node.ignore("rules_stat_prefix", "shadow_rules_stat_prefix", "track_per_rule_stats")
                return try RBACFilter.Engines(node)
            } ?? RBACFilter.Engines()
    }
}
