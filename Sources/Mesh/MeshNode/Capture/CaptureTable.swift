import Bytes
public import MeshAPI
public import Netlink

/// A capture plan as an nftables table of the pod's namespace. Pure.
///
///     output ─ first packet of a connection → outbound ─ not to be captured? return
///                                                       └ redirect to 15001
///     prerouting ─ first packet → arrivals ─ from within, or the node's probes? return
///                                          └ inbound ─ the sidecar's own pages, excluded? return
///                                                    └ redirect to 15006
///
/// NAT chains see the first packet of each connection only, so that what is established goes on as it is, and packets cost nothing.
///
/// Where the app is to see its clients (TPROXY), what comes in is not redirected but given to the sidecar's transparent socket as it is, and
/// the sidecar calls the app in the client's name. The answers to that name must not leave the pod: those packets, and their connections,
/// bear a mark that `CaptureRouting` has a route for.
///
///     marks ─ of the sidecar in a client's name? remember it by the connection
///           └ first packet → arrivals → inbound → tproxy to 15006
///     answers ─ of a connection with the mark? mark the packet, and route it anew
///             └ first packet of the sidecar to its own pod? mark it as a self-call, which arrivals take for one from outside
public struct CaptureTable: Sendable {
    public static let name = NFTableName(.inet, "weft_mesh")

    public let plan: CapturePlan

    public init(_ plan: CapturePlan) { self.plan = plan }

    /// The addresses that the sidecar's connections to its own app come from, by which they are known not to be new ones.
    static let selfV4 = IPAddress(v4: 127, 0, 0, 6)
    public static let selfV6 = IPAddress(v6: 0, 6)
    private static let loopbackV4 = CIDR("127.0.0.0/8")
    private static let loopbackV6 = CIDR(host: .loopbackV6)
    /// The loopback interface's index, in every namespace.
    private static let loopback: UInt32 = 1
    private static let dns: UInt16 = 53

    // MARK: The transaction

    /// Puts the table in force, in place of what stands there under its name; a plan that is off takes it away. All in one step: no
    /// packet sees a part of it, and connections that are open stay as they are.
    public var batch: NFBatch {
        var batch = NFBatch()
        // Made first, so that there is always one to delete, also for kernels without `destroy`.
        batch.add(NFTable(Self.name))
        batch.delete(Self.name)
        guard plan.isOn else { return batch }
        batch.add(NFTable(Self.name, comment: "connections through the sidecar"))
        for (set, _) in sets { batch.add(set) }
        for chain in chains { batch.add(chain) }
        for (set, elements) in sets { for element in elements { batch.element(.add, element, in: set.id) } }
        for rule in rules { batch.append(rule) }
        return batch
    }

    // MARK: Chains and rules

    private static func chain(_ name: String) -> NFChainName { NFChainName(Self.name, name) }

    var chains: [NFChain] {
        typealias Base = NFChain.Base
        var chains = ["inbound", "outbound", "arrivals"].map { NFChain(Self.chain($0)) }
        func add(_ name: String, _ base: Base) { chains.append(NFChain(Self.chain(name), base: base)) }
        add("output", Base(.nat, .output, priority: Base.destinationNAT))
        if plan.keepsClients {
            add("marks", Base(.filter, .prerouting, priority: Base.mangle))
            add("answers", Base(.route, .output, priority: Base.mangle))
        } else {
            add("prerouting", Base(.nat, .prerouting, priority: Base.destinationNAT))
        }
        return chains
    }

    var rules: [NFRule] {
        func rule(_ chain: String, _ parts: [NFExpression]..., comment: String? = nil) -> NFRule {
            NFRule(Self.chain(chain), parts.flatMap { $0 }, comment: comment)
        }
        let leave: [NFExpression] = [.verdict(.return)]
        // A sidecar with rights of its own runs as root, as Istio's does; its group tells it then.
        let own = Self.socket(plan.keepsClients ? .socketGroup : .socketUser, MeshName.user)
        var rules = [
            rule("output", Self.firstPacket, [.verdict(.jump("outbound"))]),
            rule(plan.keepsClients ? "marks" : "prerouting", Self.firstPacket, [.verdict(.jump("arrivals"))]),
        ]
        if plan.keepsClients {
            rules.insert(
                rule(
                    "marks", Self.comesByLoopback, Self.marked(MeshMark.transparent),
                    [.setConntrack(.mark, from: 0), .verdict(.return)], comment: "the sidecar in a client's name"),
                at: 0)
            rules.append(
                rule(
                    "answers", Self.tcp,
                    [
                        .ct(.mark, into: 0), .compare(0, .equal, MeshMark.transparent.registerBytes),
                        .setMeta(.mark, from: 0), .verdict(.return),
                    ], comment: "what the app answers to that name"))
        }
        func add(_ chain: String, _ condition: [NFExpression], _ actions: [[NFExpression]]) {
            for action in actions { rules.append(rule(chain, condition, action)) }
        }
        rules += [
            rule("outbound", Self.leavesByLoopback, Self.address(.source, CIDR(host: Self.selfV4)), leave),
            rule(
                "outbound", Self.leavesByLoopback, Self.address(.source, CIDR(host: Self.selfV6)), leave,
                comment: "the sidecar to its app"),
        ]
        for loopback in [Self.loopbackV4, Self.loopbackV6].compactMap({ $0 }) {
            let call = Self.leavesByLoopback + own + Self.address(.destination, loopback, isIn: false)
            let note = "the pod calls itself by a Service"
            rules.append(
                plan.keepsClients
                    ? rule(
                        "answers", Self.firstPacket, call, Self.setMark(MeshMark.selfCall), comment: note)
                    : rule("outbound", call, [.verdict(.jump("inbound"))], comment: note))
        }
        rules += [
            rule("outbound", Self.leavesByLoopback, leave),
            rule("outbound", own, leave, comment: "the sidecar"),
            rule("outbound", Self.port([Self.dns]), leave),
        ]
        for set in [Sets.outboundPortsExcluded, Sets.outboundExcludedV4, Sets.outboundExcludedV6] where has(set) {
            rules.append(rule("outbound", Self.match(set), leave))
        }
        let toOutbound = [Self.redirect(MeshPort.outbound)]
        if plan.outboundPorts == .all || plan.outboundRanges == .all {
            add("outbound", Self.tcp, toOutbound)
        } else {
            for set in [Sets.outboundPorts, Sets.outboundV4, Sets.outboundV6] where has(set) {
                add("outbound", Self.match(set), toOutbound)
            }
        }

        if plan.keepsClients {
            rules.append(
                rule(
                    "arrivals", Self.comesByLoopback, Self.marked(MeshMark.selfCall), [.verdict(.goto("inbound"))],
                    comment: "the pod calls itself by a Service"))
        }
        rules.append(rule("arrivals", Self.comesByLoopback, leave))
        for source in [ProbeSource.v4, ProbeSource.v6].compactMap({ IPAddress($0) }) {
            rules.append(
                rule("arrivals", Self.address(.source, CIDR(host: source)), leave, comment: "the node's probes"))
        }
        rules.append(rule("arrivals", [.verdict(.goto("inbound"))]))

        rules += [
            rule("inbound", Self.port([MeshPort.health]), leave),
            rule("inbound", Self.port([MeshPort.metrics]), leave),
            // Called from outside, these would call themselves for ever.
            rule("inbound", Self.port([MeshPort.outbound]), [.verdict(.drop)]),
            rule("inbound", Self.port([MeshPort.inbound]), [.verdict(.drop)]),
        ]
        if has(.inboundExcluded) { rules.append(rule("inbound", Self.match(.inboundExcluded), leave)) }
        // Without a sidecar that listens nobody comes in either way: the kernel refuses what is redirected to a closed port.
        let toInbound =
            plan.keepsClients
            ? [Self.transparent(MeshPort.inbound), [.reject(.tcpReset)]] : [Self.redirect(MeshPort.inbound)]
        if plan.inboundPorts == .all {
            add("inbound", Self.tcp, toInbound)
        } else if has(.inboundPorts) {
            add("inbound", Self.match(.inboundPorts), toInbound)
        }
        return rules
    }

    // MARK: Sets

    enum Sets: String, CaseIterable {
        case inboundPorts = "inbound-ports"
        case inboundExcluded = "inbound-excluded"
        case outboundPorts = "outbound-ports"
        case outboundPortsExcluded = "outbound-ports-excluded"
        case outboundV4 = "outbound-v4"
        case outboundV6 = "outbound-v6"
        case outboundExcludedV4 = "outbound-excluded-v4"
        case outboundExcludedV6 = "outbound-excluded-v6"

        var type: NFDataType {
            switch self {
            case .outboundV4, .outboundExcludedV4: .ipv4Address
            case .outboundV6, .outboundExcludedV6: .ipv6Address
            default: .port
            }
        }
    }

    /// Those that have elements, with them.
    var sets: [(set: NFSet, elements: [NFElement])] {
        Sets.allCases.compactMap { set in
            let elements = elements(set)
            guard !elements.isEmpty else { return nil }
            return (NFSet(NFSetName(Self.name, set.rawValue), key: [set.type], flags: .interval), elements)
        }
    }

    private func has(_ set: Sets) -> Bool { !elements(set).isEmpty }

    private func elements(_ set: Sets) -> [NFElement] {
        switch set {
        case .inboundPorts: Self.ports(plan.inboundPorts.listed)
        case .inboundExcluded: Self.ports(plan.inboundExcluded)
        case .outboundPorts: Self.ports(plan.outboundPorts.listed)
        case .outboundPortsExcluded: Self.ports(plan.outboundPortsExcluded)
        case .outboundV4: Self.addresses(plan.outboundRanges.listed, .v4)
        case .outboundV6: Self.addresses(plan.outboundRanges.listed, .v6)
        case .outboundExcludedV4: Self.addresses(plan.outboundRangesExcluded, .v4)
        case .outboundExcludedV6: Self.addresses(plan.outboundRangesExcluded, .v6)
        }
    }

    private static func ports(_ ranges: [ClosedRange<UInt16>]) -> [NFElement] {
        NFElement.intervals(ranges.map { ($0.lowerBound.networkBytes, $0.upperBound.networkBytes) })
    }

    private static func addresses(_ ranges: [CIDR], _ family: IPAddress.Family) -> [NFElement] {
        NFElement.intervals(
            ranges.filter { $0.address.family == family }.map { ($0.first.bytes, $0.last.bytes) })
    }

    // MARK: Expressions

    private static let tcp: [NFExpression] = [
        .meta(.transport, into: 0), .compare(0, .equal, [UInt8(6)]),
    ]

    /// SYN of SYN, ACK, FIN and RST: what begins a connection. A later packet that conntrack sees first is none.
    private static let firstPacket: [NFExpression] =
        tcp + [
            .payload(NFExpression.Payload(.transport, offset: 13, length: 1), into: 0),
            .bitwise(from: 0, into: 0, mask: [0x17], xor: [0]), .compare(0, .equal, [0x02]),
        ]

    private static let leavesByLoopback: [NFExpression] = [
        .meta(.outputIndex, into: 0), .compare(0, .equal, loopback.registerBytes),
    ]

    private static let comesByLoopback: [NFExpression] = [
        .meta(.inputIndex, into: 0), .compare(0, .equal, loopback.registerBytes),
    ]

    private static func socket(_ owner: NFExpression.Meta, _ id: UInt32) -> [NFExpression] {
        [.meta(owner, into: 0), .compare(0, .equal, id.registerBytes)]
    }

    /// The mark is left in the register.
    private static func marked(_ mark: UInt32) -> [NFExpression] {
        [.meta(.mark, into: 0), .compare(0, .equal, mark.registerBytes)]
    }

    /// Of what has none yet: what the sidecar sends in a client's name is marked by its socket.
    private static func setMark(_ mark: UInt32) -> [NFExpression] {
        marked(0) + [.immediate(mark.registerBytes, into: 0), .setMeta(.mark, from: 0)]
    }

    private static func ofFamily(_ family: IPAddress.Family) -> [NFExpression] {
        // NFPROTO_IPV4 and NFPROTO_IPV6.
        [.meta(.family, into: 0), .compare(0, .equal, [family == .v4 ? 2 : 10])]
    }

    private enum End { case source, destination }

    private static func field(_ end: End, _ family: IPAddress.Family) -> NFExpression.Payload {
        switch (end, family) {
        case (.source, .v4): .ipv4Source
        case (.source, .v6): .ipv6Source
        case (.destination, .v4): .ipv4Destination
        case (.destination, .v6): .ipv6Destination
        }
    }

    private static func address(_ end: End, _ prefix: CIDR, isIn: Bool = true) -> [NFExpression] {
        let family = prefix.address.family
        let comparison: NFExpression.Comparison = isIn ? .equal : .notEqual
        if prefix.prefixLength == (family == .v4 ? 32 : 128) {
            return ofFamily(family) + [
                .payload(field(end, family), into: 0), .compare(0, comparison, prefix.address.bytes),
            ]
        }
        return ofFamily(family) + NFExpression.match(field(end, family), comparison, prefix)
    }

    private static func port(_ ports: [UInt16]) -> [NFExpression] {
        tcp + ports.flatMap { [.payload(.destinationPort, into: 0), .compare(0, .equal, $0.networkBytes)] }
    }

    private static func match(_ set: Sets) -> [NFExpression] {
        let load: [NFExpression] =
            switch set.type {
            case .ipv4Address: ofFamily(.v4) + [.payload(.ipv4Destination, into: 0)]
            case .ipv6Address: ofFamily(.v6) + [.payload(.ipv6Destination, into: 0)]
            default: tcp + [.payload(.destinationPort, into: 0)]
            }
        return load + [.lookup(set.rawValue, key: 0)]
    }

    /// To the socket that listens there for anybody's connections; where there is none, the rule does not hold.
    private static func transparent(_ port: UInt16) -> [NFExpression] {
        [
            .immediate(port.networkBytes, into: 0), .tproxy(.unspecified, address: nil, port: 0), .verdict(.accept),
        ]
    }

    private static func redirect(_ port: UInt16) -> [NFExpression] {
        [.immediate(port.networkBytes, into: 0), .redirect(ports: 0)]
    }
}

extension CapturePlan.Choice {
    fileprivate var listed: [Item] { if case .only(let items) = self { items } else { [] } }
}
