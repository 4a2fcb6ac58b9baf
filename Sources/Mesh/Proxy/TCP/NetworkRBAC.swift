import XDS

/// `envoy.filters.network.rbac`: who may use a connection's chain, decided when the client has said its first bytes, or
/// with all of them.
package final class NetworkRBAC: Sendable {
    private let rules: RBACEngine?
    private let shadow: RBACEngine?
    private let isContinuous: Bool
    private let delay: UInt64
    private let allowed, denied, shadowAllowed, shadowDenied: CounterID

    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        rules = try RBACEngine(node, rules: "rules", matcher: "matcher", of: .connections)
        shadow = try RBACEngine(node, rules: "shadow_rules", matcher: "shadow_matcher", of: .connections)
        isContinuous = try node.enumeration("enforcement_type", as: Enforcement.self) == .continuous
        delay = node.nanoseconds("delay_deny", default: 0)
        let prefix = "\(node.string("stat_prefix")).rbac."
        let shadowPrefix = prefix + node.string("shadow_rules_stat_prefix")
        allowed = context.counters.counter(prefix + "allowed")
        denied = context.counters.counter(prefix + "denied")
        shadowAllowed = context.counters.counter(shadowPrefix + "shadow_allowed")
        shadowDenied = context.counters.counter(shadowPrefix + "shadow_denied")
    }

    private enum Enforcement: String, ConfigEnum {
        case once = "ONE_TIME_ON_FIRST_BYTE"
        case continuous = "CONTINUOUS"
    }

    func data(_ connection: ProxyConnection, _ run: NetworkFilterRun) -> NetworkFilter.DataStep {
        if let shadow {
            connection.worker.count(shadow.decide(MatchSubject(connection)).allows ? shadowAllowed : shadowDenied)
        }
        guard let rules else { return isContinuous ? .proceed : .done }
        let verdict = rules.decide(MatchSubject(connection))
        connection.worker.count(verdict.allows ? allowed : denied)
        guard !verdict.allows else { return isContinuous ? .proceed : .done }
        let details = "rbac_access_denied_matched_policy[\(verdict.policy ?? "none")]"
        run.refuse(connection, ConnectionRefusal(details: details, flags: []), after: delay)
        return .refused
    }
}
