import Bytes
import Netlink
import NodeTables

/// The table's fixed shape: chains, rules and sets, made once and never changed by a policy. Pure.
///
/// Every forwarded packet asks for its source whether that is isolated in what it sends, and for its destination whether that is
/// in what it receives: one hash lookup each. Where it is, the profile found goes with the packet in `meta priority`, and a rule
/// of the direction's chain has to let it pass. Answers are judged as what they answer, with the ends exchanged, and not by the
/// connection's age: what is not allowed any more ends with the next packet.
///
/// A connection that passed is marked, and not judged again while the mark is in force (`JudgementMark`); nor is a new one of the
/// same ends and port.
struct PolicyTable: Sendable {
    typealias E = NFExpression
    typealias Direction = NetworkPolicySpec.Direction

    /// What becomes of packets that no rule lets pass.
    enum Refusal: String, Sendable, CaseIterable { case drop, reject }

    static let standardName = "weft-policy"
    /// Behind the translation of destinations, before filters of others.
    static let priority = NFChain.Base.filter - 5
    /// Refused packets that are remembered, and for how long (milliseconds).
    static let deniedLimit: UInt32 = 4096
    static let deniedTimeout: UInt64 = 600_000

    let name: NFTableName
    var refusal = Refusal.drop

    init(_ name: String = PolicyTable.standardName, refusal: Refusal = .drop) {
        self.name = NFTableName(.inet, name)
        self.refusal = refusal
    }

    var shape: TableShape {
        let halves = Half.all
        var chains = [
            NFChain(
                chain("forward"), base: .init(.filter, .forward, priority: Self.priority))
        ]
        var rules = [
            rule(
                "forward",
                [
                    .ct(.state, into: 0),
                    .bitwise(
                        from: 0, into: 0, mask: E.ConntrackState.related.rawValue.registerBytes,
                        xor: UInt32(0).registerBytes),
                    .compare(0, .notEqual, UInt32(0).registerBytes), .verdict(.accept),
                ]),
            rule(
                "forward",
                [
                    .ct(.mark, into: 0), .compare(0, .notEqual, UInt32(0).registerBytes),
                    .lookup(PolicySet.judged.rawValue, key: 0), .counter(), .verdict(.accept),
                ]),
        ]
        for half in halves where half.direction == .egress {
            let isFamily: [E] = [.meta(.family, into: 0), .compare(0, .equal, [half.family == .v4 ? 2 : 10])]
            if half.isReply {
                // Answers first: what is not tracked has no direction, and is judged as it stands.
                rules.append(
                    rule(
                        "forward",
                        isFamily + [
                            .ct(.direction, into: 0), .compare(0, .equal, [1]),
                            .verdict(.goto(half.gate)),
                        ]))
            } else {
                rules.append(rule("forward", isFamily + [.verdict(.goto(half.gate))]))
            }
        }
        rules += passing
        chains.append(NFChain(chain(Self.passedChain)))
        for half in halves {
            if half.direction == .egress { chains.append(NFChain(chain(half.gate))) }
            chains.append(NFChain(chain(half.chain)))
        }
        rules += [IPAddress.Family.v4, .v6].map(passesAsBefore)
        for half in halves {
            rules.append(
                rule(
                    half.gate,
                    [
                        .payload(half.subject, into: 0),
                        .lookup(half.profiles.rawValue, key: 0, into: .register(0)), .setMeta(.priority, from: 0),
                        .counter(), .verdict(.jump(half.chain)),
                    ]))
        }
        for half in halves where half.direction == .egress {
            rules.append(rule(half.gate, [.verdict(.goto(Self.passedChain))]))
        }
        for half in halves { rules += judgement(half) }
        return TableShape(
            table: NFTable(name, comment: "Kubernetes NetworkPolicies, by weft-node"),
            sets: PolicySet.allCases.map { $0.definition(in: name) }
                + [denied(.v4), denied(.v6), passed(.v4), passed(.v6)], chains: chains,
            rules: rules)
    }

    func chain(_ text: String) -> NFChainName { NFChainName(name, text) }
    func rule(_ chainName: String, _ expressions: [E]) -> NFRule { NFRule(chain(chainName), expressions) }

    /// What was refused lately: profile · client · server · protocol · port. The kernel writes it.
    func denied(_ family: IPAddress.Family) -> NFSet {
        let address: NFDataType = family == .v4 ? .ipv4Address : .ipv6Address
        return NFSet(
            NFSetName(name, Self.deniedName(family)), key: [.classID, address, address, .transport, .port],
            flags: .dynamic, timeout: Self.deniedTimeout, size: Self.deniedLimit)
    }

    static func deniedName(_ family: IPAddress.Family) -> String { family == .v4 ? "denied-v4" : "denied-v6" }

    /// One family, one direction, and packets or their answers.
    struct Half: Sendable {
        var family: IPAddress.Family
        var direction: Direction
        var isReply: Bool

        /// Answers before others, what is sent before what is received.
        static let all = [IPAddress.Family.v4, .v6].flatMap { family in
            [true, false].flatMap { isReply in
                [Direction.egress, .ingress].map { Half(family: family, direction: $0, isReply: isReply) }
            }
        }

        private var suffix: String { family == .v4 ? "v4" : "v6" }
        var gate: String { isReply ? "answers-\(suffix)" : "packets-\(suffix)" }
        var chain: String { isReply ? "\(direction)-answers-\(suffix)" : "\(direction)-\(suffix)" }
        private var source: E.Payload { family == .v4 ? .ipv4Source : .ipv6Source }
        private var destination: E.Payload { family == .v4 ? .ipv4Destination : .ipv6Destination }
        var client: E.Payload { isReply ? destination : source }
        var server: E.Payload { isReply ? source : destination }
        /// The isolated pod's address.
        var subject: E.Payload { direction == .egress ? client : server }
        var peer: E.Payload { direction == .egress ? server : client }
        /// The server's.
        var port: E.Payload { isReply ? .sourcePort : .destinationPort }
        var profiles: PolicySet {
            switch (direction, family) {
            case (.ingress, .v4): .ingressV4
            case (.ingress, .v6): .ingressV6
            case (.egress, .v4): .egressV4
            case (.egress, .v6): .egressV6
            }
        }
        var identities: PolicySet { family == .v4 ? .identitiesV4 : .identitiesV6 }
        var blocks: PolicySet { family == .v4 ? .blocksV4 : .blocksV6 }
        var loopbacks: PolicySet { family == .v4 ? .loopbacksV4 : .loopbacksV6 }
        var addressSlots: UInt8 { family == .v4 ? 1 : 4 }
    }

    /// The ways to pass, the most usual first; then the end.
    private func judgement(_ half: Half) -> [NFRule] {
        let profile: [E] = [.meta(.priority, into: 0)]
        // What a map gives cannot stand in a key for nft 1.0, which aborts when it lists such a rule. By way of the packet and back it
        // can; register 0 holds the profile meanwhile.
        func number(into register: UInt8) -> [E] {
            [
                .setMeta(.priority, from: 4), .meta(.priority, into: NFRegister(register)),
                .setMeta(.priority, from: 0),
            ]
        }
        let identity: [E] =
            [.payload(half.peer, into: 4), .lookup(half.identities.rawValue, key: 4, into: .register(4))]
            + number(into: 1)
        let block: [E] =
            [
                .meta(.priority, into: 4), .payload(half.peer, into: 5),
                .lookup(half.blocks.rawValue, key: 4, into: .register(4)),
            ] + number(into: 1)
        func group(_ register: UInt8) -> [E] {
            [
                .meta(.priority, into: 4), .meta(.transport, into: 5), .payload(half.port, into: 6),
                .lookup(PolicySet.portGroups.rawValue, key: 4, into: .register(4)),
            ] + number(into: register)
        }
        func transport(_ register: UInt8) -> [E] { [.meta(.transport, into: NFRegister(register))] }
        func port(_ register: UInt8) -> [E] { [.payload(half.port, into: NFRegister(register))] }
        func isIn(_ set: PolicySet) -> [E] { [.lookup(set.rawValue, key: 0)] }
        let pass: [E] = [
            .immediate(Self.passedPriority.registerBytes, into: 0), .setMeta(.priority, from: 0), .verdict(.return),
        ]
        let ways: [(String, [E])] = [
            ("a pod, on a port", profile + identity + transport(2) + port(3) + isIn(.ports)),
            ("a pod, on everything", profile + identity + isIn(.peers)),
            ("everybody, on a port", profile + transport(1) + port(2) + isIn(.openPorts)),
            ("a pod, on all ports of a protocol", profile + identity + transport(2) + isIn(.transports)),
            ("everybody, on all ports of a protocol", profile + transport(1) + isIn(.openTransports)),
            ("a prefix, on everything", profile + block + isIn(.peers)),
            ("a prefix, on a port", profile + block + transport(2) + port(3) + isIn(.ports)),
            ("a prefix, on all ports of a protocol", profile + block + transport(2) + isIn(.transports)),
            ("everybody, on a range of ports", profile + group(1) + isIn(.openGroups)),
            ("a pod, on a range of ports", profile + identity + group(2) + isIn(.groups)),
            ("a prefix, on a range of ports", profile + block + group(2) + isIn(.groups)),
            (
                "itself",
                [
                    .payload(half.client, into: 0), .payload(half.server, into: NFRegister(half.addressSlots)),
                    .lookup(half.loopbacks.rawValue, key: 0),
                ]
            ),
        ]
        let slots = half.addressSlots
        // What has no ports has something else there, which is remembered as 0.
        let remember: [E] = [
            .meta(.transport, into: 0), .compare(0, .notEqual, [half.family == .v4 ? 1 : 58]),
            .meta(.priority, into: 0), .payload(half.client, into: 1),
            .payload(half.server, into: NFRegister(1 + slots)), .meta(.transport, into: NFRegister(1 + 2 * slots)),
            .payload(half.port, into: NFRegister(2 + 2 * slots)),
            .dynamicSet(.init(.update, Self.deniedName(half.family), key: 0)),
        ]
        // Toward a TCP client the end is a reset, else an ICMP error; answers to what may not go on just end.
        let end: [E] =
            refusal == .drop || half.isReply ? [.verdict(.drop)] : [.reject(.icmpAny(3))]
        return ways.map { NFRule(chain(half.chain), $0.1 + pass, comment: $0.0) } + [
            rule(half.chain, remember), rule(half.chain, [.counter()] + end),
        ]
    }
}
