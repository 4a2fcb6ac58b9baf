import Netlink

/// The sets and maps that hold everything that changes.
enum PolicySet: String, CaseIterable, Sendable {
    // Addresses
    case ingressV4 = "ingress-v4", ingressV6 = "ingress-v6", egressV4 = "egress-v4", egressV6 = "egress-v6"
    case identitiesV4 = "identities-v4", identitiesV6 = "identities-v6"
    case blocksV4 = "blocks-v4", blocksV6 = "blocks-v6"
    case loopbacksV4 = "loopbacks-v4", loopbacksV6 = "loopbacks-v6"
    // What profiles allow
    case peers, transports, ports, groups
    case openTransports = "open-transports", openPorts = "open-ports", openGroups = "open-groups"
    case portGroups = "port-groups"
    // What connections are marked with
    case judged, stamp

    var isOfRanges: Bool { [.blocksV4, .blocksV6, .portGroups].contains(self) }
    var isMap: Bool { mapped != nil }

    func name(in table: NFTableName) -> NFSetName { NFSetName(table, rawValue) }

    private var mapped: NFSet.Mapped? {
        switch self {
        case .ingressV4, .ingressV6, .egressV4, .egressV6, .identitiesV4, .identitiesV6, .blocksV4, .blocksV6,
            .portGroups:
            .data([.classID])
        case .stamp: .data([.mark])
        default: nil
        }
    }

    /// Numbers are of the type that `meta priority` has, which carries them.
    private var key: [NFDataType] {
        switch self {
        case .ingressV4, .egressV4, .identitiesV4: [.ipv4Address]
        case .ingressV6, .egressV6, .identitiesV6: [.ipv6Address]
        case .blocksV4: [.classID, .ipv4Address]
        case .blocksV6: [.classID, .ipv6Address]
        case .loopbacksV4: [.ipv4Address, .ipv4Address]
        case .loopbacksV6: [.ipv6Address, .ipv6Address]
        case .peers: [.classID, .classID]
        case .transports: [.classID, .classID, .transport]
        case .ports: [.classID, .classID, .transport, .port]
        case .groups: [.classID, .classID, .classID]
        case .openTransports: [.classID, .transport]
        case .openPorts: [.classID, .transport, .port]
        case .openGroups: [.classID, .classID]
        case .portGroups: [.classID, .transport, .port]
        case .judged, .stamp: [.mark]
        }
    }

    func definition(in table: NFTableName) -> NFSet {
        NFSet(
            name(in: table), key: key, mapped: mapped, flags: isOfRanges ? .interval : [],
            // The kernel looks faster where it knows how much there can be.
            size: self == .judged || self == .stamp ? 8 : nil)
    }
}
