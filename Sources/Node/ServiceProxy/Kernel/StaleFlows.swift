import Bytes
import Netlink

/// Makes the kernel forget UDP flows whose endpoint is gone: a UDP "connection" lives as long as its client keeps sending,
/// and conntrack would send it into the void for ever. TCP finds out by itself.
///
/// Also when the last endpoint goes, and for flows that began before the Service had any.
struct StaleFlows {
    /// A frontend of a UDP port, and whom its flows may go to.
    struct Target: Hashable, Sendable {
        var frontend: Frontend
        var serving: Set<Endpoint>
    }

    /// With more targets than this all UDP flows are read once instead of asking the kernel for each.
    static let separateQueries = 16

    let family: IPAddress.Family

    func forget(_ targets: [Target], through conntrack: ConntrackConnection) throws(NetlinkError) -> Int {
        guard !targets.isEmpty else { return 0 }
        var stale: [ConntrackFlow] = []
        if targets.count <= Self.separateQueries {
            for target in targets {
                let filter = ConntrackFilter(
                    family, transport: .udp, destination: target.frontend.address,
                    destinationPort: target.frontend.port)
                stale += try conntrack.flows(filter).filter { isStale($0, target) }
            }
        } else {
            let byFrontend = Dictionary(targets.map { ($0.frontend, $0) }) { first, _ in first }
            for flow in try conntrack.flows(ConntrackFilter(family, transport: .udp)) {
                let (address, port) = (flow.original.destination, flow.original.destinationPort)
                let target =
                    byFrontend[Frontend(address: address, transport: .udp, port: port)]
                    ?? byFrontend[Frontend(address: nil, transport: .udp, port: port)]
                if let target, isStale(flow, target) { stale.append(flow) }
            }
        }
        return try conntrack.delete(stale)
    }

    private func isStale(_ flow: ConntrackFlow, _ target: Target) -> Bool {
        // A node port is a port of many addresses; a flow to such a port elsewhere, not translated, is not ours.
        if target.frontend.address == nil, !flow.isDestinationNAT { return false }
        return !target.serving.contains(Endpoint(address: flow.reply.source, port: flow.reply.sourcePort))
    }
}
