import Bytes
import XDS

/// For which connections a listener filter is left out (`envoy.config.listener.v3.ListenerFilterChainMatchPredicate`).
indirect enum DestinationPredicate: Sendable {
    case any
    case ports(Range<Int>)
    case not(DestinationPredicate)
    case all([DestinationPredicate])
    case oneOf([DestinationPredicate])

    /// A Unix socket has no port, and is in no range.
    func holds(_ port: Port?) -> Bool {
        switch self {
        case .any: true
        case .ports(let range): port.map { range.contains(Int($0.rawValue)) } ?? false
        case .not(let predicate): !predicate.holds(port)
        case .all(let predicates): predicates.allSatisfy { $0.holds(port) }
        case .oneOf(let predicates): predicates.contains { $0.holds(port) }
        }
    }

    static func read(_ node: ConfigNode) throws(ConfigError) -> DestinationPredicate {
        switch node.choice("rule") {
        case "any_match":
            _ = node.bool("any_match")
            return .any
        case "destination_port_range":
            return .ports(try node.message("destination_port_range", Range.init(config:)) ?? 0..<0)
        case "not_match": return .not(try node.message("not_match", read) ?? .any)
        case "and_match": return .all(try set(node.message("and_match")))
        default: return .oneOf(try set(node.message("or_match")))
        }
    }

    private static func set(_ node: ConfigNode?) throws(ConfigError) -> [DestinationPredicate] {
        try node?.messages("rules", read) ?? []
    }
}

extension Range<Int> {
    /// An `envoy.type.v3.Int32Range`: the end is not in it.
    fileprivate init(config node: ConfigNode) throws(ConfigError) {
        let (start, end) = (Int(node.int32("start")), Int(node.int32("end")))
        guard start <= end else { throw node.error("the range ends before it starts") }
        self = start..<end
    }
}
