public import Bytes

import ClusterAPI
import Netlink
import NodeTables

/// Answers "this packet, from here to there" for a cluster seen from one node: by policy, by the table that the proxy
/// would write for it, and on request by the table that a kernel has.
public struct ServiceTracer: Sendable {
    private let configuration: ServiceProxyConfiguration
    private let node: TracedNode
    private let services: [ServiceSpec]
    private let slices: [ObjectKey: [EndpointSliceSpec]]
    private let serviceCIDRs: [CIDR]

    /// - Parameters:
    ///   - addresses: the node's own; loopback needs no mention.
    ///   - services: in the order in which they claim what two of them want.
    ///   - slices: as that node sees them.
    ///   - serviceCIDRs: where Services get their addresses; without, packets to addresses of no Service are left alone.
    public init(
        _ configuration: ServiceProxyConfiguration, addresses: Set<IPAddress>, services: [ServiceSpec],
        slices: [EndpointSliceSpec], serviceCIDRs: [CIDR] = []
    ) {
        self.configuration = configuration
        node = TracedNode(addresses: addresses)
        self.services = services
        self.slices = Dictionary(grouping: slices, by: \.service)
        self.serviceCIDRs = serviceCIDRs
    }

    public func trace(_ packet: TracedPacket) -> ServiceTrace {
        let family = packet.destination.family
        return ServiceTrace(
            packet: packet, decision: policy(family).decide(packet), table: walk(packet, through: plannedTable(family)))
    }

    /// The same beside the table that the kernel has.
    ///
    /// - Parameter namespace: a descriptor of the node's network namespace, borrowed; nil is the calling thread's.
    public func trace(_ packet: TracedPacket, besideKernelIn namespace: CInt?) throws -> ServiceTrace {
        var trace = trace(packet)
        let connection = try NFTablesConnection(namespace: namespace)
        let name = NFTableName(packet.destination.family == .v4 ? .ip : .ip6, configuration.tableName)
        trace.kernel =
            if let table = try TableSnapshot(reading: name, through: connection) {
                .walked(walk(packet, through: table))
            } else {
                .noTable("\(name)")
            }
        return trace
    }

    private func walk(_ packet: TracedPacket, through table: TableSnapshot) -> TableWalk {
        TableWalk(packet, through: RuleInterpreter(table: table, node: node))
    }

    func policy(_ family: IPAddress.Family) -> TrafficPolicy {
        TrafficPolicy(
            family, configuration, node, services: services, slices: slices,
            serviceCIDRs: serviceCIDRs.filter { $0.address.family == family })
    }

    /// What the proxy would write into an empty kernel.
    func plannedTable(_ family: IPAddress.Family) -> TableSnapshot {
        var planner = ServicePlanner(family, configuration)
        planner.nodeIPs = node.addresses.filter { $0.family == family }
        var desired = DesiredServices()
        desired.setServiceRanges(serviceCIDRs.filter { $0.address.family == family }.map { AddressRange($0) })
        for service in services {
            _ = desired.apply(planner.plan(service, slices[service.key] ?? []), for: service.key)
        }
        let listed = configuration.listedNodePortAddresses(among: node.addresses)
        desired.setNodeAddresses(listed.filter { $0.family == family && !$0.isLoopback })
        return TableSnapshot(ServiceTable(family, configuration), desired.tracker.allDesired)
    }
}
