import Bytes
import Netlink

/// The sets and maps that hold everything that changes.
enum ServiceSet: Int, CaseIterable, Sendable {
    case services, nodePorts, externalServices, externalNodePorts, endpoints, clusterIPs, hairpins, nodeAddresses
    case stickySlots, stickyMembers, allowedSources, serviceRanges

    private var text: String {
        switch self {
        case .services: "services"
        case .nodePorts: "node-ports"
        case .externalServices: "external-services"
        case .externalNodePorts: "external-node-ports"
        case .endpoints: "endpoints"
        case .clusterIPs: "cluster-ips"
        case .hairpins: "hairpins"
        case .nodeAddresses: "node-addresses"
        case .stickySlots: "sticky-slots"
        case .stickyMembers: "sticky-members"
        case .allowedSources: "allowed-sources"
        case .serviceRanges: "service-cidrs"
        }
    }

    var name: String { text }

    private var isOfRanges: Bool { self == .allowedSources || self == .serviceRanges }

    func name(in table: NFTableName) -> NFSetName { NFSetName(table, text) }

    func definition(in table: NFTableName) -> NFSet {
        let address: NFDataType = table.family == .ip ? .ipv4Address : .ipv6Address
        let dispatch = NFSet.Mapped.data([.classID])
        let (key, mapped): ([NFDataType], NFSet.Mapped?) =
            switch self {
            case .services, .externalServices: ([address, .transport, .port], dispatch)
            case .nodePorts, .externalNodePorts: ([.transport, .port], dispatch)
            case .endpoints: ([.classID, .mark], .data([address, .port]))
            case .stickySlots: ([.classID, .mark], dispatch)
            case .stickyMembers: ([.classID], .data([address, .port]))
            case .clusterIPs, .nodeAddresses, .serviceRanges: ([address], nil)
            case .allowedSources: ([address, .transport, .port, address], nil)
            case .hairpins: ([address, address], nil)
            }
        return NFSet(name(in: table), key: key, mapped: mapped, flags: isOfRanges ? .interval : [])
    }
}
