import Bytes
import ClusterAPI

/// What Kubernetes promises a packet, decided from the objects alone: the specification of the service proxy, one packet
/// at a time. Knows nothing of tables, and shares no decision with `EndpointChoice` and `ServicePlanner`, so that a
/// mistake in either shows.
///
/// It looks at every Service; it is for questions, not for packets by the million.
struct TrafficPolicy: Sendable {
    let family: IPAddress.Family
    let configuration: ServiceProxyConfiguration
    let node: TracedNode
    /// In the order in which they claim what two of them want.
    let services: [ServiceSpec]
    let slices: [ObjectKey: [EndpointSliceSpec]]
    /// Where the cluster's Services get their addresses.
    let serviceCIDRs: [CIDR]
    private let detector: ServiceTable.PodDetector

    struct Decision: Sendable {
        var fate: PacketFate
        /// Why, in sentences, in the order of the decisions.
        var reasons: [String]
        /// The Service that the packet meets.
        var service: ObjectKey?
        /// For how long the client keeps the endpoint that chance gave it.
        var affinity: SessionAffinity?
        /// Hashed clients fall to endpoints in nearly these shares, not exactly.
        var isHashed = false

        /// Whether a table keeps the promise.
        func isKept(by other: PacketFate) -> Bool {
            isHashed ? Set(other.outcomes.keys) == Set(fate.outcomes.keys) : other.agrees(with: fate)
        }
    }

    init(
        _ family: IPAddress.Family, _ configuration: ServiceProxyConfiguration, _ node: TracedNode,
        services: [ServiceSpec], slices: [ObjectKey: [EndpointSliceSpec]], serviceCIDRs: [CIDR] = []
    ) {
        self.family = family
        self.configuration = configuration
        self.node = node
        self.services = services
        self.slices = slices
        self.serviceCIDRs = serviceCIDRs
        detector = configuration.detector(family)
    }

    func decide(_ packet: TracedPacket) -> Decision {
        guard let meeting = meeting(packet) else { return decideWithoutPort(packet) }
        if let reason = refusal(of: packet, meeting) {
            return Decision(
                fate: PacketFate(.dropped), reasons: [meeting.description, reason], service: meeting.service.key)
        }
        let (origin, why) = origin(of: packet)
        var reasons = [meeting.description, why]
        let candidates = candidates(meeting)
        let endpoints = Endpoints(candidates.mapValues(\.flags))
        let row = row(meeting, origin)
        reasons.append(row.why)
        func decision(_ fate: PacketFate) -> Decision {
            Decision(
                fate: fate, reasons: reasons, service: meeting.service.key,
                affinity: fate.arrives ? meeting.service.affinity : nil)
        }
        guard endpoints.any else {
            reasons.append("none of its endpoints is ready or still serves: refused with port unreachable")
            return decision(PacketFate(.rejected))
        }
        let (chosen, which) = row.wantsLocal ? endpoints.local : endpoints.cluster
        guard !chosen.isEmpty else {
            reasons.append("it has endpoints, but none on this node: dropped, so that a load balancer goes elsewhere")
            return decision(PacketFate(.dropped))
        }
        reasons.append(which)
        reasons.append(row.masquerades ? "the source becomes the node's, for answers must come back through it" : "")
        if row.masquerades, !chosen.contains(where: { node.passesPostrouting(packet.entry, to: $0.address) }) {
            reasons[reasons.count - 1] = "the endpoint is on the node itself, so that answers pass it anyway"
        }
        let weights = Self.weights(chosen.map { Int(candidates[$0]?.weight ?? 1) })
        if Set(weights).count > 1 { reasons.append("their weights are not equal") }
        if let affinity = meeting.service.affinity {
            reasons.append("a client keeps its endpoint until it made no connection for \(affinity.timeout) s")
        }
        let isHashed = meeting.service.affinity == nil && meeting.service.balancing != .random
        if isHashed {
            reasons.append("which one is decided by a hash of the client, the same on all nodes")
        }
        let total = weights.reduce(0, +)
        let parts = zip(chosen, weights).filter { $0.1 > 0 }.map { endpoint, weight in
            let isHairpin = endpoint.address == packet.source && localEndpoints.contains(endpoint.address)
            if isHairpin { reasons.append("\(endpoint.address) reaches itself and needs another source") }
            let masquerades =
                (row.masquerades || isHairpin) && node.passesPostrouting(packet.entry, to: endpoint.address)
            return (PacketFate.Outcome.endpoint(endpoint, masqueraded: masquerades), Share(weight, of: total))
        }
        reasons.removeAll(where: \.isEmpty)
        var made = decision(PacketFate(parts))
        made.isHashed = isHashed
        return made
    }

    /// Where all have weight 0, none is set back.
    private static func weights(_ given: [Int]) -> [Int] { given.contains { $0 > 0 } ? given : given.map { _ in 1 } }

    // MARK: Who may come in

    /// Why a load balancer's address does not admit the source; nil when it does. Node ports admit everybody.
    private func refusal(of packet: TracedPacket, _ meeting: Meeting) -> String? {
        guard meeting.service.ingressIPs.contains(packet.destination) else { return nil }
        let ranges = meeting.service.sourceRanges.filter { $0.address.family == family }
        guard !ranges.isEmpty, !ranges.contains(where: { $0.prefixLength == 0 || $0.contains(packet.source) }) else {
            return nil
        }
        // What the node sends to an address that is its own has that address for its source.
        let admitsNode = node.addresses.contains { address in ranges.contains { $0.contains(address) } }
        if admitsNode, meeting.service.ingressIPs.contains(packet.source) { return nil }
        return "\(packet.source) is in none of loadBalancerSourceRanges: dropped"
    }

    // MARK: What the packet meets

    private enum Kind: Sendable { case clusterIP, externalIP, loadBalancerIP, nodePort }

    private struct Meeting: CustomStringConvertible {
        var kind: Kind
        var service: ServiceSpec
        var port: ServiceSpec.Port

        var description: String {
            let name = port.name.isEmpty ? "\(port.port)" : port.name
            let what =
                switch kind {
                case .clusterIP: "a cluster IP"
                case .externalIP: "an external IP"
                case .loadBalancerIP: "the load balancer's IP"
                case .nodePort: "the node port \(port.nodePort)"
                }
            return "it is \(what) of \(service.key), port \(name)"
        }
    }

    /// Addresses come before node ports.
    private func meeting(_ packet: TracedPacket) -> Meeting? {
        for service in ours {
            let kind: Kind
            if service.externalIPs.contains(packet.destination) {
                kind = .externalIP
            } else if service.ingressIPs.contains(packet.destination) {
                kind = .loadBalancerIP
            } else if service.clusterIPs.contains(packet.destination) {
                kind = .clusterIP
            } else {
                continue
            }
            for port in service.ports where port.transport == packet.transport && port.port == packet.port {
                return Meeting(kind: kind, service: service, port: port)
            }
        }
        guard packet.port != 0, hasNodePorts(packet.destination) else { return nil }
        for service in ours {
            for port in service.ports where port.transport == packet.transport && port.nodePort == packet.port {
                return Meeting(kind: .nodePort, service: service, port: port)
            }
        }
        return nil
    }

    private func decideWithoutPort(_ packet: TracedPacket) -> Decision {
        for service in ours where service.clusterIPs.contains(packet.destination) {
            let reason =
                "\(packet.destination) is a cluster IP of \(service.key), which has no port "
                + "\(packet.port)/\(packet.transport): refused with port unreachable"
            return Decision(fate: PacketFate(.rejected), reasons: [reason], service: service.key)
        }
        if let range = serviceCIDRs.first(where: { $0.contains(packet.destination) }) {
            let reason = "no Service has this address of the Services' own range \(range): dropped"
            return Decision(fate: PacketFate(.dropped), reasons: [reason])
        }
        return Decision(
            fate: PacketFate(.untouched), reasons: ["no Service has this address and port: the packet goes on as it is"]
        )
    }

    /// A Service is of a family when it has a cluster IP of it.
    private var ours: some Sequence<ServiceSpec> {
        services.lazy.filter { $0.clusterIPs.contains { $0.family == family } }
    }

    private func hasNodePorts(_ address: IPAddress) -> Bool {
        if address.isLoopback { return false }
        switch configuration.nodePortScope(family) {
        case .allLocal: return node.isLocal(address)
        case .listed: return configuration.listedNodePortAddresses(among: node.addresses).contains(address)
        }
    }

    // MARK: Where it comes from

    private enum Origin { case pod, node, outside }

    private func origin(of packet: TracedPacket) -> (Origin, String) {
        switch detector {
        case .cidr(let prefix) where prefix.contains(packet.source):
            return (.pod, "\(packet.source) is in \(prefix), so that it counts as a pod's")
        case .interface(let name) where name == packet.interface:
            return (.pod, "it comes in through \(name), so that it counts as a pod's")
        case .interfacePrefix(let prefix) where packet.interface.hasPrefix(prefix):
            return (.pod, "it comes in through \(packet.interface), so that it counts as a pod's")
        default: break
        }
        if packet.entry == .node { return (.node, "the node itself sends it") }
        let unless = detector == .none ? " (no way to tell pods is configured)" : ""
        return (.outside, "it comes from outside of the node and its pods\(unless)")
    }

    // MARK: The matrix

    private struct Row {
        var wantsLocal: Bool
        var masquerades: Bool
        var why: String
    }

    /// kube-proxy's packet matrix: traffic policy × source.
    private func row(_ meeting: Meeting, _ origin: Origin) -> Row {
        if meeting.kind == .clusterIP {
            // Where pods cannot be told from others, nothing is; masqueradeAll takes all.
            let masquerades = configuration.masqueradesAll || (detector != .none && origin != .pod)
            return meeting.service.isInternalLocal
                ? Row(wantsLocal: true, masquerades: masquerades, why: "internalTrafficPolicy is Local")
                : Row(wantsLocal: false, masquerades: masquerades, why: "internalTrafficPolicy is Cluster")
        }
        switch (meeting.service.isExternalLocal, origin) {
        case (false, _): return Row(wantsLocal: false, masquerades: true, why: "externalTrafficPolicy is Cluster")
        case (true, .pod):
            return Row(
                wantsLocal: false, masquerades: false,
                why: "externalTrafficPolicy is Local, but a pod is within the cluster and reaches all")
        case (true, .node):
            // The address may be the node's own and be chosen as the source.
            return Row(
                wantsLocal: false, masquerades: true,
                why: "externalTrafficPolicy is Local, but the node is within the cluster and reaches all")
        case (true, .outside):
            return Row(
                wantsLocal: true, masquerades: false, why: "externalTrafficPolicy is Local, and keeps the source")
        }
    }

    // MARK: The endpoints

    private struct Candidate {
        var flags: EndpointSliceSpec.Flags
        var weight: UInt8
    }

    private func candidates(_ meeting: Meeting) -> [Endpoint: Candidate] {
        var found: [Endpoint: Candidate] = [:]
        /// Of two that claim one address and port, the one that stays, then the abler, then the one that tells more.
        func order(_ flags: EndpointSliceSpec.Flags) -> [Int] {
            [
                flags.contains(.terminating) ? 0 : 1, flags.contains(.ready) ? 1 : 0, flags.contains(.serving) ? 1 : 0,
                Int(flags.rawValue),
            ]
        }
        for slice in slices[meeting.service.key] ?? [] where slice.family == family {
            for port in slice.ports
            where port.name == meeting.port.name && port.transport == meeting.port.transport {
                for candidate in slice.endpoints {
                    let endpoint = Endpoint(address: candidate.address, port: port.port)
                    guard var other = found[endpoint] else {
                        found[endpoint] = Candidate(flags: candidate.flags, weight: candidate.weight)
                        continue
                    }
                    if order(other.flags).lexicographicallyPrecedes(order(candidate.flags)) {
                        other.flags = candidate.flags
                    }
                    // A weight that is said counts more than one that is not, and the larger of two.
                    let said = [other.weight, candidate.weight].filter { $0 != 1 }
                    other.weight = said.max() ?? 1
                    found[endpoint] = other
                }
            }
        }
        return found
    }

    /// Addresses that any Service has an endpoint at, on this node.
    private var localEndpoints: Set<IPAddress> {
        var found: Set<IPAddress> = []
        for service in ours {
            for slice in slices[service.key] ?? [] where slice.family == family {
                let isUsed = service.ports.contains { port in
                    slice.ports.contains { $0.name == port.name && $0.transport == port.transport }
                }
                guard isUsed else { continue }
                for endpoint in slice.endpoints where endpoint.flags.contains(.local) {
                    found.insert(endpoint.address)
                }
            }
        }
        return found
    }

    /// Which endpoints may be used: the table of the topology and termination rules.
    private struct Endpoints {
        private typealias Flags = EndpointSliceSpec.Flags
        private let ready: [Endpoint: EndpointSliceSpec.Flags]
        /// Terminating, and still serving: better than nothing.
        private let leaving: [Endpoint: EndpointSliceSpec.Flags]

        init(_ candidates: [Endpoint: EndpointSliceSpec.Flags]) {
            ready = candidates.filter { $0.value.contains(.ready) }
            leaving = candidates.filter {
                !$0.value.contains(.ready) && $0.value.contains(.serving) && $0.value.contains(.terminating)
            }
        }

        var any: Bool { !ready.isEmpty || !leaving.isEmpty }

        var cluster: ([Endpoint], String) {
            guard !ready.isEmpty else { return (leaving.keys.sorted(), "no endpoint is ready: those that still serve") }
            let isHinted = { (all: Flags, ours: Flags) in
                ready.values.allSatisfy { $0.contains(all) } && ready.values.contains { $0.contains(ours) }
            }
            if isHinted(.hasNodeHints, .hintsThisNode) {
                return (
                    ready.filter { $0.value.contains(.hintsThisNode) }.keys.sorted(),
                    "all ready endpoints have node hints: those for this node"
                )
            }
            if isHinted(.hasZoneHints, .hintsThisZone) {
                return (
                    ready.filter { $0.value.contains(.hintsThisZone) }.keys.sorted(),
                    "all ready endpoints have zone hints: those for this node's zone"
                )
            }
            return (ready.keys.sorted(), "all ready endpoints")
        }

        /// Hints do not count here.
        var local: ([Endpoint], String) {
            let here = ready.filter { $0.value.contains(.local) }
            if !here.isEmpty { return (here.keys.sorted(), "the ready endpoints on this node") }
            return (
                leaving.filter { $0.value.contains(.local) }.keys.sorted(),
                "no endpoint on this node is ready: those here that still serve"
            )
        }
    }
}
