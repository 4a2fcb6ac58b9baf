/// Which packets a table sees.
public enum NFFamily: UInt8, Hashable, Sendable, CaseIterable {
    case unspecified = 0
    case inet = 1
    case ip = 2
    case arp = 3
    case netdev = 5
    case bridge = 7
    case ip6 = 10
}

extension NFFamily: CustomStringConvertible {
    /// As `nft` writes it.
    public var description: String {
        switch self {
        case .unspecified: "any"
        case .inet: "inet"
        case .ip: "ip"
        case .arp: "arp"
        case .netdev: "netdev"
        case .bridge: "bridge"
        case .ip6: "ip6"
        }
    }
}
