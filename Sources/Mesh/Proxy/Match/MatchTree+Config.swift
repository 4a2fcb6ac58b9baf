import Bytes
import XDS

extension MatchTree {
    typealias ActionReader = (ConfigNode) throws(ConfigError) -> Action

    /// An `xds.type.matcher.v3.Matcher`.
    ///
    /// - Parameter action: reads what is packed in an action.
    init(_ node: ConfigNode, action: ActionReader) throws(ConfigError) {
        otherwise = try node.message("on_no_match") { (node) throws(ConfigError) in try Outcome(node, action) }
        switch node.choice("matcher_type") {
        case "matcher_list":
            guard let list = node.message("matcher_list") else { throw node.error("matcher_list", "is missing") }
            var rules: [(predicate: Predicate, outcome: Outcome)] = []
            for rule in list.messages("matchers") {
                guard let predicate = try rule.message("predicate", Predicate.init(_:)),
                    let outcome = try Outcome(rule, in: "on_match", action)
                else { throw rule.error("a predicate or what follows is missing") }
                rules.append((predicate, outcome))
            }
            kind = .list(rules)
        case "matcher_tree":
            guard let tree = node.message("matcher_tree") else { throw node.error("matcher_tree", "is missing") }
            kind = try Self.tree(tree, action)
        default: kind = .nothing
        }
    }

    private static func tree(_ node: ConfigNode, _ action: ActionReader) throws(ConfigError) -> Kind {
        guard let input = try node.message("input", MatchInput.init) else { throw node.error("input", "is missing") }
        func map(_ name: String) throws(ConfigError) -> [(key: [UInt8], outcome: Outcome)] {
            guard let map = node.message(name) else { return [] }
            var entries: [(key: [UInt8], outcome: Outcome)] = []
            for entry in map.messageMap("map") {
                entries.append((Array(entry.key.utf8), try Outcome(entry.value, action)))
            }
            return entries
        }
        switch node.choice("tree_type") {
        case "exact_match_map":
            return .exact(input, try map("exact_match_map").sorted { $0.key.lexicographicallyPrecedes($1.key) })
        case "prefix_match_map":
            return .prefix(input, try map("prefix_match_map").sorted { $0.key.count > $1.key.count })
        default:
            guard let custom = node.message("custom_match") else { throw node.error("custom_match", "is missing") }
            _ = custom.string("name")
            guard let matcher = try custom.typed("typed_config") else {
                throw custom.error("typed_config", "is missing")
            }
            switch matcher.typeName {
            case "xds.type.matcher.v3.IPMatcher": return try addresses(matcher, input, action)
            case "xds.type.matcher.v3.ServerNameMatcher": return try names(matcher, input, action)
            default: throw custom.error("typed_config", "matcher \(matcher.typeName) is not supported")
            }
        }
    }

    private static func addresses(
        _ node: ConfigNode, _ input: MatchInput, _ action: ActionReader
    ) throws(ConfigError) -> Kind {
        var prefixes: [(CIDR, Int)] = []
        var outcomes: [Outcome] = []
        for range in node.messages("range_matchers") {
            if range.bool("exclusive") { throw range.unsupported("exclusive") }
            for prefix in try range.messages("ranges", CIDR.init) { prefixes.append((prefix, outcomes.count)) }
            guard let outcome = try Outcome(range, in: "on_match", action) else {
                throw range.error("on_match", "is missing")
            }
            outcomes.append(outcome)
        }
        return .addresses(input, PrefixTable(prefixes), outcomes)
    }

    private static func names(
        _ node: ConfigNode, _ input: MatchInput, _ action: ActionReader
    ) throws(ConfigError) -> Kind {
        var names = ServerNames(exact: [], suffixes: [])
        var outcomes: [Outcome] = []
        for matcher in node.messages("domain_matchers") {
            for domain in matcher.strings("domains") {
                let text = Array(domain.lowercased().utf8)
                if text.first == UInt8(ascii: "*") {
                    names.suffixes.append((Array(text.dropFirst()), outcomes.count))
                } else {
                    names.exact.append((text, outcomes.count))
                }
            }
            guard let outcome = try Outcome(matcher, in: "on_match", action) else {
                throw matcher.error("on_match", "is missing")
            }
            outcomes.append(outcome)
        }
        names.suffixes.sort { $0.name.count > $1.name.count }
        return .names(input, names, outcomes)
    }
}

extension MatchTree.Outcome {
    init(_ node: ConfigNode, _ action: MatchTree.ActionReader) throws(ConfigError) {
        let outcome: MatchTree.Outcome
        switch node.choice("on_match") {
        case "matcher":
            guard
                let tree = try node.message(
                    "matcher", { (node) throws(ConfigError) in try MatchTree(node, action: action) })
            else { throw node.error("matcher", "is missing") }
            outcome = .tree(tree)
        default:
            guard let extended = node.message("action") else { throw node.error("action", "is missing") }
            _ = extended.string("name")
            guard let typed = try extended.typed("typed_config") else {
                throw extended.error("typed_config", "is missing")
            }
            outcome = .action(try action(typed))
        }
        self = node.bool("keep_matching") ? .keepMatching(outcome) : outcome
    }

    init?(_ node: ConfigNode, in field: String, _ action: MatchTree.ActionReader) throws(ConfigError) {
        guard let node = node.message(field) else { return nil }
        try self.init(node, action)
    }
}

extension MatchTree.Predicate {
    init(_ node: ConfigNode) throws(ConfigError) {
        func list(_ name: String) throws(ConfigError) -> [MatchTree.Predicate] {
            guard let list = node.message(name) else { return [] }
            return try list.messages("predicate", MatchTree.Predicate.init(_:))
        }
        switch node.choice("match_type") {
        case "or_matcher": self = .any(try list("or_matcher"))
        case "and_matcher": self = .all(try list("and_matcher"))
        case "not_matcher":
            guard let inner = try node.message("not_matcher", MatchTree.Predicate.init(_:)) else {
                throw node.error("not_matcher", "is missing")
            }
            self = .not(inner)
        default:
            guard let single = node.message("single_predicate") else {
                throw node.error("single_predicate", "is missing")
            }
            try self.init(single: single)
        }
    }

    private init(single node: ConfigNode) throws(ConfigError) {
        guard let input = try node.message("input", MatchInput.init) else { throw node.error("input", "is missing") }
        if let matcher = try node.message("value_match", StringMatcher.init) {
            self = .text(input, matcher)
            return
        }
        guard let custom = node.message("custom_match") else { throw node.error("custom_match", "is missing") }
        _ = custom.string("name")
        guard let matcher = try custom.typed("typed_config") else { throw custom.error("typed_config", "is missing") }
        switch matcher.typeName {
        case "envoy.extensions.matching.input_matchers.ip.v3.Ip":
            _ = matcher.string("stat_prefix")
            self = .address(input, AddressRanges(try matcher.messages("cidr_ranges", CIDR.init)))
        case "envoy.extensions.matching.input_matchers.metadata.v3.Metadata":
            guard case .metadata = input else {
                throw matcher.error("is for metadata only")
            }
            guard let value = try matcher.message("value", ValueMatcher.init) else {
                throw matcher.error("value", "is missing")
            }
            self = .metadata(input, value, inverts: matcher.bool("invert"))
        case "envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction":
            guard let fraction = try matcher.message("runtime_fraction", RuntimeFraction.init(_:)) else {
                throw matcher.error("runtime_fraction", "is missing")
            }
            self = .fraction(fraction)
        case "envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing":
            self = .hash(
                input, threshold: UInt64(matcher.uint32("threshold")), modulo: UInt64(matcher.uint32("modulo")),
                seed: matcher.uint64("seed"))
        default: throw custom.error("typed_config", "matcher \(matcher.typeName) is not supported")
        }
    }
}
