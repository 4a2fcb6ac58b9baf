public import Bytes

/// How the service proxy works on this node; the counterpart of `KubeProxyConfiguration`.
public struct ServiceProxyConfiguration: Hashable, Sendable {
    /// How packets of this node's pods are told from others.
    public enum LocalDetector: Hashable, Sendable {
        case none
        /// One prefix for each family.
        case prefixes([CIDR])
        case bridgeInterface(String)
        case interfaceNamePrefix(String)
    }

    /// Where node ports answer.
    public enum NodePortAddresses: Hashable, Sendable {
        /// On all addresses of the node but loopback.
        case all
        /// On these, which are the node's primary ones.
        case addresses([IPAddress])
        /// On the node's addresses within these prefixes, as they come and go.
        case prefixes([CIDR])

        /// Those that the table must list, of the node's present addresses; none where it answers on all.
        func listed(among addresses: Set<IPAddress>) -> Set<IPAddress> {
            switch self {
            case .all: []
            case .addresses(let fixed): Set(fixed)
            case .prefixes(let prefixes): addresses.filter { address in prefixes.contains { $0.contains(address) } }
            }
        }
    }

    public var node: NodeIdentity
    public var families: [IPAddress.Family] = [.v4, .v6]
    public var localDetector = LocalDetector.none
    public var nodePortAddresses = NodePortAddresses.all
    public var masqueradesAll = false
    /// One bit.
    public var masqueradeMark: UInt32 = 0x4000
    public var tableName = "weft-services"
    /// Ask the kernel to keep everybody else from changing the tables while this process lives; they stay when it goes.
    public var ownsTable = true
    /// Changes that come within this time are written together; the first one of a quiet time is not kept waiting.
    public var minimumSyncPeriod: Duration = .milliseconds(10)
    /// After a failure.
    public var retryPeriod: Duration = .seconds(1)
    /// Between readings of the whole table, which find what nobody told us.
    public var auditPeriod: Duration = .seconds(3600)
    /// nil serves none.
    public var healthzAddress: SocketAddress? = .ip(.anyV4, 10256)
    /// nil serves none.
    public var metricsAddress: SocketAddress? = .ip(.loopbackV4, 10249)

    public init(node: NodeIdentity) { self.node = node }

    func detector(_ family: IPAddress.Family) -> ServiceTable.PodDetector {
        switch localDetector {
        case .none: .none
        case .prefixes(let prefixes):
            prefixes.first { $0.address.family == family }.map { .cidr($0.network) } ?? .none
        case .bridgeInterface(let name): .interface(name)
        case .interfaceNamePrefix(let prefix): .interfacePrefix(prefix)
        }
    }
}
