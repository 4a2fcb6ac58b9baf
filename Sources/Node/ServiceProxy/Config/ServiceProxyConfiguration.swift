public import Bytes
public import JSON

/// How the service proxy works on this node; the counterpart of `KubeProxyConfiguration`.
public struct ServiceProxyConfiguration: Hashable, Sendable {
    /// How packets of this node's pods are told from others.
    public enum LocalDetector: Hashable, Sendable {
        case none
        /// One prefix for each family.
        case prefixes([CIDR])
        /// The pod prefixes of our Node object, for which the start waits.
        case nodePrefixes
        case bridgeInterface(String)
        case interfaceNamePrefix(String)
    }

    /// Where node ports answer.
    public enum NodePortAddresses: Hashable, Sendable {
        /// On all addresses of the node but loopback.
        case all
        /// On the primary one of each family, as our Node object has them.
        case primary
        /// On these.
        case addresses([IPAddress])
        /// On the node's addresses within these prefixes, as they come and go. A family without a prefix: on all of them.
        case prefixes([CIDR])
    }

    public var node: NodeIdentity
    public var families: [IPAddress.Family] = [.v4, .v6]
    public var localDetector = LocalDetector.none
    public var nodePortAddresses = NodePortAddresses.all
    /// The node's own address for want of one in its Node object.
    public var nodeAddress: IPAddress?
    /// The node's primary address of its family, whatever the Node object says.
    public var nodeAddressOverride: IPAddress?
    public var masqueradesAll = false
    /// Whether `externalIPs` of Services count.
    public var allowsExternalIPs = true
    /// One bit.
    public var masqueradeMark: UInt32 = 0x4000
    public var tableName = "weft-services"
    /// Ask the kernel to keep everybody else from changing the tables while this process lives; they stay when it goes.
    public var ownsTable = true
    /// Changes that come within this time after a write are written together; the first one of a quiet time is not kept
    /// waiting. nil: the time follows from how long writing takes, and is 50 ms at most.
    public var minimumSyncPeriod: Duration?
    /// After a failure.
    public var retryPeriod: Duration = .seconds(1)
    /// Between readings of the whole table, which find what nobody told us.
    public var auditPeriod: Duration = .seconds(3600)
    /// A change that waits longer to be written makes us unhealthy.
    public var patience: Duration = .seconds(60)
    /// nil serves none.
    public var healthzAddress: SocketAddress? = .ip(.anyV4, 10256)
    /// nil serves none.
    public var metricsAddress: SocketAddress? = .ip(.loopbackV4, 10249)

    /// A port for health or metrics that cannot be had ends the proxy; else it is tried for again and again.
    public var bindFailureIsFatal = false
    /// Between tries for a port that somebody else has.
    public var bindRetryPeriod: Duration = .seconds(5)
    /// Removes kube-proxy's own nftables tables as soon as ours are in step.
    public var removesKubeProxyTables = false
    /// What `/configz` shows.
    public var configz: JSONValue = [:]

    public init(node: NodeIdentity) { self.node = node }

    func detector(_ family: IPAddress.Family) -> ServiceTable.PodDetector {
        switch localDetector {
        case .none, .nodePrefixes: .none
        case .prefixes(let prefixes):
            prefixes.first { $0.address.family == family }.map { .cidr($0.network) } ?? .none
        case .bridgeInterface(let name): .interface(name)
        case .interfaceNamePrefix(let prefix): .interfacePrefix(prefix)
        }
    }

    /// Where node ports of a family answer.
    func nodePortScope(_ family: IPAddress.Family) -> ServiceTable.NodePortScope {
        switch nodePortAddresses {
        case .all: .allLocal
        case .primary, .addresses: .listed
        case .prefixes(let prefixes):
            prefixes.contains { $0.address.family == family && $0.prefixLength > 0 } ? .listed : .allLocal
        }
    }

    /// Those that the table must list, of the node's present addresses; none of a family that answers on all.
    func listedNodePortAddresses(among addresses: Set<IPAddress>, primary: [IPAddress] = []) -> Set<IPAddress> {
        switch nodePortAddresses {
        case .all: []
        case .primary: Set(primary).filter { !$0.isLoopback }
        case .addresses(let fixed): Set(fixed)
        case .prefixes(let prefixes):
            addresses.filter { address in
                nodePortScope(address.family) == .listed && prefixes.contains { $0.contains(address) }
            }
        }
    }

    /// As it is on a node that is known: its zone, and its pod prefixes where local packets are told by them.
    func resolved(by node: OwnNode?) -> ServiceProxyConfiguration {
        var configuration = self
        if let zone = node?.zone { configuration.node.zone = zone }
        if case .nodePrefixes = localDetector { configuration.localDetector = .prefixes(node?.podPrefixes ?? []) }
        return configuration
    }
}
