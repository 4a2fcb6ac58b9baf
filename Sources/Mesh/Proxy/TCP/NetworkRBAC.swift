import Bytes
import TLS
import XDS

/// `envoy.filters.network.rbac`: who may use a connection's chain, decided when the client has said its first bytes, or
/// with all of them.
package final class NetworkRBAC: Sendable {
    private let rules: Engine?
    private let shadow: Engine?
    private let isContinuous: Bool
    private let delay: UInt64
    private let allowed, denied, shadowAllowed, shadowDenied: CounterID

    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        rules = try Engine(node, rules: "rules", matcher: "matcher")
        shadow = try Engine(node, rules: "shadow_rules", matcher: "shadow_matcher")
        isContinuous = try node.enumeration("enforcement_type", as: Enforcement.self) == .continuous
        delay = node.nanoseconds("delay_deny", default: 0)
        let prefix = "\(node.string("stat_prefix")).rbac."
        let shadowPrefix = prefix + node.string("shadow_rules_stat_prefix")
        allowed = context.counters.counter(prefix + "allowed")
        denied = context.counters.counter(prefix + "denied")
        shadowAllowed = context.counters.counter(shadowPrefix + "shadow_allowed")
        shadowDenied = context.counters.counter(shadowPrefix + "shadow_denied")
    }

    private enum Engine: Sendable {
        case rules(ConnectionPolicy)
        case matcher(RBACMatcher)

        init?(_ node: ConfigNode, rules: String, matcher: String) throws(ConfigError) {
            if let matcher = try node.message(matcher, { (node) throws(ConfigError) in try RBACMatcher(node) }) {
                node.ignore(rules)
                self = .matcher(matcher)
            } else if let rules = try node.message(rules, ConnectionPolicy.init) {
                self = .rules(rules)
            } else {
                return nil
            }
        }

        func decide(_ connection: ProxyConnection) -> (isAllowed: Bool, policy: String?) {
            switch self {
            case .rules(let rules): return rules.decide(connection)
            case .matcher(let matcher):
                let decision = matcher.decide(MatchSubject(connection))
                return (decision.allows, decision.policy)
            }
        }
    }

    private enum Enforcement: String, ConfigEnum {
        case once = "ONE_TIME_ON_FIRST_BYTE"
        case continuous = "CONTINUOUS"
    }

    func data(_ connection: ProxyConnection, _ run: NetworkFilterRun) -> NetworkFilter.DataStep {
        if let shadow {
            connection.worker.count(shadow.decide(connection).isAllowed ? shadowAllowed : shadowDenied)
        }
        guard let rules else { return isContinuous ? .proceed : .done }
        let verdict = rules.decide(connection)
        connection.worker.count(verdict.isAllowed ? allowed : denied)
        guard !verdict.isAllowed else { return isContinuous ? .proceed : .done }
        let details = "rbac_access_denied_matched_policy[\(verdict.policy ?? "none")]"
        run.refuse(connection, ConnectionRefusal(details: details, flags: []), after: delay)
        return .refused
    }
}

/// The rules of an `envoy.config.rbac.v3.RBAC` over what a connection is, without HTTP.
struct ConnectionPolicy: Sendable {
    private enum Action: String, ConfigEnum {
        case allow = "ALLOW"
        case deny = "DENY"
        case log = "LOG"
    }

    private struct Policy {
        var name: String
        var permissions: [ConnectionCondition]
        var principals: [ConnectionCondition]
    }

    private let action: Action
    /// By name, the order in which they are asked.
    private let policies: [Policy]

    init(_ node: ConfigNode) throws(ConfigError) {
        action = try node.enumeration("action", as: Action.self)
        var policies: [Policy] = []
        for (name, policy) in node.messageMap("policies") {
            policies.append(
                Policy(
                    name: name, permissions: try policy.messages("permissions", ConnectionCondition.permission),
                    principals: try policy.messages("principals", ConnectionCondition.principal)))
        }
        self.policies = policies
    }

    func decide(_ connection: ProxyConnection) -> (isAllowed: Bool, policy: String?) {
        let found = policies.first { policy in
            policy.permissions.contains { $0.holds(connection) } && policy.principals.contains { $0.holds(connection) }
        }
        return switch action {
        case .allow: (found != nil, found?.name)
        case .deny: (found == nil, found?.name)
        case .log: (true, found?.name)
        }
    }
}

/// One permission or principal, with those within it.
indirect enum ConnectionCondition: Sendable {
    case any
    case all([ConnectionCondition])
    case oneOf([ConnectionCondition])
    case not(ConnectionCondition)
    case destination(CIDR)
    case destinationPorts(Range<Int>)
    case serverName(StringMatcher)
    case directPeer(CIDR)
    case peer(CIDR)
    /// With TLS and a trusted certificate; its name, if one is asked for.
    case authenticated(StringMatcher?)

    func holds(_ connection: ProxyConnection) -> Bool {
        switch self {
        case .any: return true
        case .all(let conditions): return conditions.allSatisfy { $0.holds(connection) }
        case .oneOf(let conditions): return conditions.contains { $0.holds(connection) }
        case .not(let condition): return !condition.holds(connection)
        case .destination(let range): return Self.contains(range, connection.origin.local)
        case .destinationPorts(let range):
            return connection.origin.local.port.map { range.contains(Int($0.rawValue)) } ?? false
        case .serverName(let matcher): return matcher.matches(connection.origin.serverName)
        case .directPeer(let range): return Self.contains(range, connection.origin.directRemote)
        case .peer(let range): return Self.contains(range, connection.origin.remote)
        case .authenticated(let matcher):
            guard let session = connection.tlsSession, let certificate = session.peerCertificate else { return false }
            guard let matcher else { return true }
            let names = certificate.alternativeNames
            let candidates = !names.uris.isEmpty ? names.uris : names.dns
            if candidates.isEmpty { return matcher.matches(certificate.subjectText) }
            return candidates.contains { matcher.matches($0) }
        }
    }

    private static func contains(_ range: CIDR, _ address: SocketAddress) -> Bool {
        guard let address = address.address else { return false }
        return range.contains(address) || range.contains(address.unmapped)
    }

    /// An `envoy.config.rbac.v3.Permission`.
    static func permission(_ node: ConfigNode) throws(ConfigError) -> ConnectionCondition {
        switch node.choice("rule") {
        case "any":
            _ = node.bool("any")
            return .any
        case "and_rules":
            return .all(
                try node.message("and_rules") { (set) throws(ConfigError) in try set.messages("rules", permission) }
                    ?? [])
        case "or_rules":
            return .oneOf(
                try node.message("or_rules") { (set) throws(ConfigError) in try set.messages("rules", permission) }
                    ?? [])
        case "not_rule": return .not(try node.message("not_rule", permission) ?? .any)
        case "destination_ip": return .destination(try required(node, "destination_ip", CIDR.init))
        case "destination_port":
            let port = Int(node.uint32("destination_port"))
            return .destinationPorts(port..<port + 1)
        case "destination_port_range":
            return .destinationPorts(try required(node, "destination_port_range", Range.init(config:)))
        case "requested_server_name":
            return .serverName(try required(node, "requested_server_name", StringMatcher.init))
        case let other:
            throw node.error("permission \(other ?? "") is not supported for connections without HTTP")
        }
    }

    /// An `envoy.config.rbac.v3.Principal`.
    static func principal(_ node: ConfigNode) throws(ConfigError) -> ConnectionCondition {
        switch node.choice("identifier") {
        case "any":
            _ = node.bool("any")
            return .any
        case "and_ids":
            return .all(
                try node.message("and_ids") { (set) throws(ConfigError) in try set.messages("ids", principal) } ?? [])
        case "or_ids":
            return .oneOf(
                try node.message("or_ids") { (set) throws(ConfigError) in try set.messages("ids", principal) } ?? [])
        case "not_id": return .not(try node.message("not_id", principal) ?? .any)
        case "direct_remote_ip": return .directPeer(try required(node, "direct_remote_ip", CIDR.init))
        case "remote_ip": return .peer(try required(node, "remote_ip", CIDR.init))
        case "source_ip": return .peer(try required(node, "source_ip", CIDR.init))
        case "authenticated":
            return .authenticated(
                try node.message("authenticated") { (node) throws(ConfigError) in
                    try node.message("principal_name", StringMatcher.init)
                } ?? nil)
        case let other:
            throw node.error("principal \(other ?? "") is not supported for connections without HTTP")
        }
    }

    private static func required<T>(
        _ node: ConfigNode, _ name: String, _ build: (ConfigNode) throws(ConfigError) -> T
    ) throws(ConfigError) -> T {
        guard let value = try node.message(name, build) else { throw node.error(name, "is missing") }
        return value
    }
}

extension Range<Int> {
    /// An `envoy.type.v3.Int32Range`: the end is not in it.
    init(config node: ConfigNode) throws(ConfigError) {
        let (start, end) = (Int(node.int32("start")), Int(node.int32("end")))
        guard start <= end else { throw node.error("the range ends before it starts") }
        self = start..<end
    }
}
