import Bytes
import XDS

extension RBACRules {
    /// An `envoy.config.rbac.v3.RBAC`.
    init(_ node: ConfigNode, of subjects: Subjects = .requests) throws(ConfigError) {
        effect = try Effect(node, "action")
        var policies: [Policy] = []
        for (name, policy) in node.messageMap("policies") { policies.append(try Policy(name, policy, subjects)) }
        self.policies = policies.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        if node.message("audit_logging_options")?.has("logger_configs") == true {
            throw node.unsupported("audit_logging_options")
        }
    }
}

extension RBACRules.Effect {
    init(_ node: ConfigNode, _ field: String) throws(ConfigError) {
        self =
            switch try node.enumeration(field, as: Name.self) {
            case .allow: .allow
            case .deny: .deny
            case .log: .log
            }
    }

    private enum Name: String, ConfigEnum {
        case allow = "ALLOW"
        case deny = "DENY"
        case log = "LOG"
    }
}

extension RBACRules.Policy {
    init(_ name: String, _ node: ConfigNode, _ subjects: RBACRules.Subjects) throws(ConfigError) {
        self.name = name
        permissions = try node.messages("permissions") { (node) throws(ConfigError) in
            try RBACCondition(node, "rule", sets: "rules", subjects)
        }
        principals = try node.messages("principals") { (node) throws(ConfigError) in
            try RBACCondition(node, "identifier", sets: "ids", subjects)
        }
        for field in ["condition", "checked_condition", "cel_config"] where node.has(field) {
            throw node.error(field, "conditions in CEL are not supported")
        }
    }
}

extension RBACCondition {
    /// A `Permission` or a `Principal`, whose fields have different names and one meaning.
    init(
        _ node: ConfigNode, _ oneof: String, sets: String, _ subjects: RBACRules.Subjects
    ) throws(ConfigError) {
        func required<T>(
            _ name: String, _ build: (ConfigNode) throws(ConfigError) -> T
        ) throws(ConfigError) -> T {
            guard let value = try node.message(name, build) else { throw node.error(name, "is missing") }
            return value
        }
        func list(_ name: String) throws(ConfigError) -> [RBACCondition] {
            try required(name) { (set) throws(ConfigError) in
                try set.messages(sets) { (node) throws(ConfigError) in
                    try RBACCondition(node, oneof, sets: sets, subjects)
                }
            }
        }
        func range(_ name: String) throws(ConfigError) -> AddressRanges {
            AddressRanges([try required(name, CIDR.init)])
        }
        let name = node.choice(oneof) ?? ""
        if subjects == .connections, Self.ofHTTP.contains(name) {
            let kind = oneof == "rule" ? "permission" : "principal"
            throw node.error("\(kind) \(name) is not supported for connections without HTTP")
        }
        switch name {
        case "any":
            _ = node.bool("any")
            self = .anything
        case "and_rules", "and_ids": self = .all(try list(name))
        case "or_rules", "or_ids": self = .any(try list(name))
        case "not_rule", "not_id":
            self = .not(
                try required(name) { (node) throws(ConfigError) in try RBACCondition(node, oneof, sets: sets, subjects)
                })
        case "header": self = .header(try required(name, HeaderMatcher.init))
        case "url_path":
            self = .path(
                try required(name) { (path) throws(ConfigError) in
                    guard let matcher = try path.message("path", StringMatcher.init) else {
                        throw path.error("path", "is missing")
                    }
                    return matcher
                })
        case "destination_ip": self = .destination(try range(name))
        case "destination_port":
            let port = Int(node.uint32(name))
            self = .destinationPort(port, port + 1)
        case "destination_port_range":
            self = try required(name) { (range) throws(ConfigError) in
                let (first, last) = (Int(range.int32("start")), Int(range.int32("end")))
                guard first < last else { throw range.error("Invalid port range") }
                return .destinationPort(first, last)
            }
        case "requested_server_name": self = .serverName(try required(name, StringMatcher.init))
        case "metadata": self = .metadata(try required(name, MetadataMatcher.init), ofRoute: false)
        case "sourced_metadata":
            self = try required(name) { (sourced) throws(ConfigError) in
                guard let matcher = try sourced.message("metadata_matcher", MetadataMatcher.init) else {
                    throw sourced.error("metadata_matcher", "is missing")
                }
                return .metadata(
                    matcher, ofRoute: try sourced.enumeration("metadata_source", as: MetadataSource.self) == .route)
            }
        case "filter_state": self = .filterState(try required(name, FilterStateMatcher.init))
        case "direct_remote_ip": self = .directRemote(try range(name))
        case "source_ip": self = .source(try range(name))
        case "remote_ip": self = .remote(try range(name))
        case "authenticated":
            self = .authenticated(
                try required(name) { (node) throws(ConfigError) in
                    try node.message("principal_name", StringMatcher.init)
                })
        default: throw node.unsupported(name)
        }
    }

    private static let ofHTTP: Set<String> = ["header", "url_path", "metadata", "sourced_metadata", "filter_state"]

    private enum MetadataSource: String, ConfigEnum {
        case dynamic = "DYNAMIC"
        case route = "ROUTE"
    }
}

extension RBACEngine {
    /// What stands in one of two fields, the matcher before the rules; nil where neither does.
    init?(
        _ node: ConfigNode, rules: String, matcher: String, of subjects: RBACRules.Subjects
    ) throws(ConfigError) {
        if let matcher = try node.message(matcher, { (node) throws(ConfigError) in try RBACMatcher(node) }) {
            node.ignore(rules)
            self = .matcher(matcher)
        } else if let rules = try node.message(
            rules, { (node) throws(ConfigError) in try RBACRules(node, of: subjects) })
        {
            self = .rules(rules)
        } else {
            return nil
        }
    }
}

extension RBACMatcher {
    /// An `xds.type.matcher.v3.Matcher` with actions of type `envoy.config.rbac.v3.Action`.
    init(_ node: ConfigNode) throws(ConfigError) {
        tree = try MatchTree(node) { (action) throws(ConfigError) in
            guard action.typeName == "envoy.config.rbac.v3.Action" else {
                throw action.error("action \(action.typeName) is not one of access control")
            }
            return Action(name: action.string("name"), effect: try RBACRules.Effect(action, "action"))
        }
    }
}
