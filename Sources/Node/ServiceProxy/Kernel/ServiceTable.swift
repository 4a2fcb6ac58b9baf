import Bytes
import Netlink

/// The table's fixed shape: chains, rules and sets, made once and never changed by a Service. Pure.
///
/// A new flow's way: `prerouting` or `output` → `services`, or `external` from outside → `dispatch` → one of the `lb-N`,
/// `maglev-N` or `sticky-N-T` chains, which picks a slot. Each step is one hash lookup, however many Services there are.
struct ServiceTable: Sendable, Equatable {
    let name: NFTableName
    var masqueradeMark: UInt32
    var podDetector: PodDetector
    var nodePortScope: NodePortScope

    /// How packets of this node's pods are told from others.
    enum PodDetector: Hashable, Sendable {
        case none
        case cidr(CIDR)
        case interface(String)
        case interfacePrefix(String)
    }

    /// Where node ports answer.
    enum NodePortScope: Hashable, Sendable {
        /// On every address of the node but loopback.
        case allLocal
        /// On those in the set.
        case listed
    }

    private enum ChainName {
        static let prerouting = "prerouting", output = "output", postrouting = "postrouting"
        static let external = "external", services = "services", dispatch = "dispatch", refuse = "refuse"
        static let classes = "classes"
        static func slots(_ slotClass: SlotClass) -> String {
            switch slotClass.pick {
            case .random: "lb-\(slotClass.slots)"
            case .client: "maglev-\(slotClass.slots)"
            case .flow: "maglev-flow-\(slotClass.slots)"
            }
        }
    }

    typealias E = NFExpression

    func chain(_ text: String) -> NFChainName { NFChainName(name, text) }

    var family: NFFamily { name.family }
    var source: E.Payload { family == .ip ? .ipv4Source : .ipv6Source }
    private var destination: E.Payload { family == .ip ? .ipv4Destination : .ipv6Destination }
    var addressSlots: Int { family == .ip ? 1 : 4 }

    var table: NFTable { NFTable(name, comment: "Kubernetes Services, by weft-node") }

    var chains: [NFChain] {
        [
            NFChain(
                chain(ChainName.prerouting), base: .init(.nat, .prerouting, priority: NFChain.Base.destinationNAT)),
            NFChain(chain(ChainName.output), base: .init(.nat, .output, priority: NFChain.Base.destinationNAT)),
            NFChain(chain(ChainName.postrouting), base: .init(.nat, .postrouting, priority: NFChain.Base.sourceNAT)),
            NFChain(chain(ChainName.external)), NFChain(chain(ChainName.services)),
            NFChain(chain(ChainName.dispatch)), NFChain(chain(ChainName.refuse)),
        ] + SlotClass.all.map { NFChain(chain(ChainName.slots($0))) }
    }

    /// Which chain a class goes to: fixed but for sticky classes.
    var classes: NFSet { NFSet(NFSetName(name, ChainName.classes), key: [.classID], mapped: .verdict) }

    var sets: [NFSet] { ServiceSet.allCases.map { $0.definition(in: name) } + [classes, stickyClients] }

    var classElements: [NFElement] {
        func element(_ slotClass: SlotClass, _ verdict: NFVerdict) -> NFElement {
            NFElement(key: UInt32(slotClass.rawValue).registerBytes, data: .verdict(verdict))
        }
        return SlotClass.all.map { element($0, .goto(ChainName.slots($0))) } + [
            element(.reject, .goto(ChainName.refuse)), element(.drop, .drop),
        ]
    }

    // MARK: Rules

    var rules: [NFRule] {
        preroutingRules + [rule(ChainName.output, [.verdict(.goto(ChainName.services))])] + postroutingRules
            + [
                serviceRule(ChainName.services, .services), nodePortRule(ChainName.services, .nodePorts),
                // Addresses come before node ports, so that one map cannot simply be asked after the other.
                serviceRule(ChainName.external, .externalServices), serviceRule(ChainName.external, .services),
                nodePortRule(ChainName.external, .externalNodePorts), nodePortRule(ChainName.external, .nodePorts),
            ] + unclaimedRules(ChainName.services) + unclaimedRules(ChainName.external) + dispatchRules
            + [rule(ChainName.refuse, [.reject(.icmp(family == .ip ? 3 : 4))])]
            + SlotClass.all.flatMap(slotRules)
    }

    func rule(_ chainName: String, _ expressions: [NFExpression]) -> NFRule {
        NFRule(chain(chainName), expressions)
    }

    /// What pods send goes by the internal policy; the rest from outside by the external one, where they differ.
    private var preroutingRules: [NFRule] {
        let pods = fromPod(.equal).map { rule(ChainName.prerouting, $0 + [.verdict(.goto(ChainName.services))]) }
        return (pods.map { [$0] } ?? []) + [rule(ChainName.prerouting, [.verdict(.goto(ChainName.external))])]
    }

    private static let found: [NFExpression] = [.setMeta(.priority, from: 0), .verdict(.goto(ChainName.dispatch))]

    private func serviceRule(_ chainName: String, _ services: ServiceSet) -> NFRule {
        let port = NFRegister(UInt8(addressSlots + 1))
        return rule(
            chainName,
            [
                .payload(destination, into: 0), .meta(.transport, into: NFRegister(UInt8(addressSlots))),
                .payload(.destinationPort, into: port), .lookup(services.name, key: 0, into: .register(0)),
            ] + Self.found)
    }

    private func nodePortRule(_ chainName: String, _ nodePorts: ServiceSet) -> NFRule {
        rule(
            chainName,
            onNodeAddress + [
                .meta(.transport, into: 0), .payload(.destinationPort, into: 1),
                .lookup(nodePorts.name, key: 0, into: .register(0)),
            ] + Self.found)
    }

    /// A cluster IP's ports that no Service has are refused; addresses that a Service may get and none has lead nowhere.
    private func unclaimedRules(_ chainName: String) -> [NFRule] {
        [
            rule(
                chainName,
                [
                    .payload(destination, into: 0), .lookup(ServiceSet.clusterIPs.name, key: 0),
                    .verdict(.goto(ChainName.refuse)),
                ]),
            rule(
                chainName,
                [.payload(destination, into: 0), .lookup(ServiceSet.serviceRanges.name, key: 0), .verdict(.drop)]),
        ]
    }

    private var onNodeAddress: [NFExpression] {
        switch nodePortScope {
        case .listed: return [.payload(destination, into: 0), .lookup(ServiceSet.nodeAddresses.name, key: 0)]
        case .allLocal:
            // A node port on loopback would need route_localnet, which opens the node's own services to its neighbours.
            let loopback: [NFExpression] =
                family == .ip
                ? [
                    .payload(destination, into: 0),
                    .bitwise(from: 0, into: 0, mask: [0xFF, 0, 0, 0], xor: [0, 0, 0, 0]),
                    .compare(0, .notEqual, [127, 0, 0, 0]),
                ] : [.payload(destination, into: 0), .compare(0, .notEqual, IPAddress.loopbackV6.bytes)]
            return [
                .fib(.addressType, .destination, into: 0),
                .compare(0, .equal, E.AddressType.local.rawValue.registerBytes),
            ] + loopback
        }
    }

    private var dispatchRules: [NFRule] {
        func isSet(_ flag: UInt32) -> [NFExpression] {
            [
                .meta(.priority, into: 0),
                .bitwise(from: 0, into: 0, mask: flag.registerBytes, xor: UInt32(0).registerBytes),
                .compare(0, .notEqual, UInt32(0).registerBytes),
            ]
        }
        let mark: [NFExpression] = [
            .meta(.mark, into: 0),
            .bitwise(
                from: 0, into: 0, mask: (~masqueradeMark).registerBytes, xor: masqueradeMark.registerBytes),
            .setMeta(.mark, from: 0),
        ]
        var rules = [
            rule(ChainName.dispatch, isSet(Dispatch.restricted) + sourceIsNotAllowed + [.verdict(.drop)]),
            rule(ChainName.dispatch, isSet(Dispatch.alwaysMasquerade) + mark),
        ]
        if let notPod = fromPod(.notEqual) {
            rules.append(rule(ChainName.dispatch, isSet(Dispatch.masqueradeUnlessPod) + notPod + mark))
        }
        rules.append(
            rule(
                ChainName.dispatch,
                [
                    .meta(.priority, into: 0),
                    .bitwise(
                        from: 0, into: 0, mask: Dispatch.classMask.registerBytes, xor: UInt32(0).registerBytes),
                    .lookup(ChainName.classes, key: 0, into: .verdict),
                ]))
        return rules
    }

    /// Before the translation, and for load balancer addresses alone: a node port of the same Service stays open to all.
    private var sourceIsNotAllowed: [NFExpression] {
        let transport = UInt8(addressSlots)
        return [
            .payload(destination, into: 0), .meta(.transport, into: NFRegister(transport)),
            .payload(.destinationPort, into: NFRegister(transport + 1)),
            .payload(source, into: NFRegister(transport + 2)),
            .lookup(ServiceSet.allowedSources.name, key: 0, inverted: true),
        ]
    }

    /// Leaves the list alone in the number.
    func stripToList(_ chainName: String) -> NFRule {
        rule(
            chainName,
            [
                .meta(.priority, into: 0),
                .bitwise(from: 0, into: 0, mask: Dispatch.listMask.registerBytes, xor: UInt32(0).registerBytes),
                .setMeta(.priority, from: 0),
            ])
    }

    /// A slot's number into register 1.
    func pick(_ slotClass: SlotClass) -> [NFExpression] {
        let modulus = UInt32(slotClass.slots)
        let client: UInt8 = 2, size = UInt32(addressSlots * 4)
        func hash(_ length: UInt32) -> NFExpression {
            .jhash(from: NFRegister(client), length: length, modulus: modulus, seed: Maglev.seed, into: 1)
        }
        switch slotClass.pick {
        case .random: return [.numgen(random: true, modulus: modulus, into: 1)]
        case .client: return [.payload(source, into: NFRegister(client)), hash(size)]
        case .flow:
            return [
                .payload(source, into: NFRegister(client)),
                .payload(.sourcePort, into: NFRegister(client + UInt8(addressSlots))), hash(size + 4),
            ]
        }
    }

    private func slotRules(_ slotClass: SlotClass) -> [NFRule] {
        let chainName = ChainName.slots(slotClass)
        return [
            stripToList(chainName),
            rule(
                chainName,
                [.meta(.priority, into: 0)] + pick(slotClass) + [
                    .lookup(ServiceSet.endpoints.name, key: 0, into: .register(0)), translate(0),
                ]),
        ]
    }

    /// To the address and port that begin at a register.
    func translate(_ register: UInt8) -> NFExpression {
        .nat(
            .init(
                .destination, family, address: NFRegister(register), port: NFRegister(register + UInt8(addressSlots))))
    }

    private var postroutingRules: [NFRule] {
        let translated: [NFExpression] = [
            .ct(.status, into: 0),
            .bitwise(
                from: 0, into: 0, mask: E.conntrackIsDestinationNAT.registerBytes, xor: UInt32(0).registerBytes),
            .compare(0, .notEqual, UInt32(0).registerBytes),
        ]
        return [
            // Give back what `dispatch` borrowed.
            rule(
                ChainName.postrouting,
                translated + [.immediate(UInt32(0).registerBytes, into: 0), .setMeta(.priority, from: 0)]),
            rule(
                ChainName.postrouting,
                [
                    .meta(.mark, into: 0),
                    .bitwise(
                        from: 0, into: 0, mask: masqueradeMark.registerBytes, xor: UInt32(0).registerBytes),
                    .compare(0, .notEqual, UInt32(0).registerBytes),
                    .meta(.mark, into: 0),
                    .bitwise(
                        from: 0, into: 0, mask: UInt32.max.registerBytes, xor: masqueradeMark.registerBytes),
                    .setMeta(.mark, from: 0),
                    .masquerade(.fullyRandom),
                ]),
            // An endpoint that reached itself would answer itself, past the translation.
            rule(
                ChainName.postrouting,
                translated + [
                    .payload(source, into: 0), .payload(destination, into: NFRegister(UInt8(addressSlots))),
                    .lookup(ServiceSet.hairpins.name, key: 0), .masquerade(.fullyRandom),
                ]),
        ]
    }

    /// Matches packets of pods (equal) or of all others; nil when they cannot be told.
    private func fromPod(_ comparison: NFExpression.Comparison) -> [NFExpression]? {
        switch podDetector {
        case .none: return nil
        case .cidr(let cidr):
            let mask = cidr.maskBytes
            return [
                .payload(source, into: 0),
                .bitwise(from: 0, into: 0, mask: mask, xor: [UInt8](repeating: 0, count: mask.count)),
                .compare(0, comparison, cidr.first.bytes),
            ]
        case .interface(let name):
            // Names are compared whole, in sixteen bytes.
            let bytes = Array(name.utf8.prefix(15))
            return [
                .meta(.inputName, into: 0),
                .compare(0, comparison, bytes + [UInt8](repeating: 0, count: 16 - bytes.count)),
            ]
        case .interfacePrefix(let prefix):
            return [.meta(.inputName, into: 0), .compare(0, comparison, Array(prefix.utf8.prefix(15)))]
        }
    }
}

extension ServiceTable {
    /// As the node is configured.
    init(_ family: IPAddress.Family, _ configuration: ServiceProxyConfiguration) {
        self.init(
            name: NFTableName(family == .v4 ? .ip : .ip6, configuration.tableName),
            masqueradeMark: configuration.masqueradeMark, podDetector: configuration.detector(family),
            nodePortScope: configuration.nodePortScope(family))
    }
}

extension CIDR {
    fileprivate var maskBytes: [UInt8] {
        let size = address.family == .v4 ? 4 : 16
        return (0..<size).map { index in
            let bits = max(0, min(8, Int(prefixLength) - index * 8))
            return UInt8(truncatingIfNeeded: 0xFF00 >> bits)
        }
    }
}
