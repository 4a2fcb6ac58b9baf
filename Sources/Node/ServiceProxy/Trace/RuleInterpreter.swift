import Bytes
import Netlink

/// Follows a packet through a table's actual rules and elements, as nf_tables does: every way that chance can take.
///
/// Knows the expressions that our rules use, and says so when it meets another.
struct RuleInterpreter: Sendable {
    let table: TableSnapshot
    let node: TracedNode

    /// One way through the table.
    struct Path: Sendable {
        var outcome: PacketFate.Outcome
        var share: Share
        /// The rules that held, in order.
        var steps: [Step]
    }

    /// A rule that held, and the elements that it found.
    struct Step: Sendable {
        /// From 1, within the chain.
        var number: Int
        var rule: NFRule
        var elements: [(set: String, element: NFElement)]
    }

    /// What no table of ours may hold: a jump to nowhere, a register that was not loaded, an unknown expression.
    struct Fault: Error, CustomStringConvertible {
        var chain: String
        var number: Int
        var why: String
        var description: String { "chain \(chain), rule \(number): \(why)" }
    }

    /// Chains that can stand on each other; the kernel allows sixteen.
    private static let deepest = 16

    func fate(of packet: TracedPacket) throws(Fault) -> PacketFate {
        PacketFate(try paths(of: packet).map { ($0.outcome, $0.share) })
    }

    func paths(of packet: TracedPacket) throws(Fault) -> [Path] {
        var walk = Walk(packet)
        enter(packet.entry == .node ? .output : .prerouting, &walk)
        var open = [walk]
        var paths: [Path] = []
        while var walk = open.popLast() {
            while walk.outcome == nil { try step(&walk, &open) }
            paths.append(Path(outcome: walk.outcome ?? .untouched, share: walk.share, steps: walk.steps))
        }
        return paths
    }

    // MARK: Chains

    /// Where a packet is, and what it has become.
    private struct Walk {
        struct Frame {
            var chain: String
            /// The next rule.
            var rule = 0
            /// Called by the stack, or gone to from such a one: where `accept` ends.
            var isBase: Bool
        }

        var packet: TracedPacket
        var hook = NFChain.Hook.prerouting
        var priority: UInt32 = 0
        var mark: UInt32 = 0
        /// Where `dnat` sent it.
        var endpoint: Endpoint?
        var isMasqueraded = false
        var share = Share.whole
        /// The chains to come, the present one last.
        var frames: [Frame] = []
        /// The next expression of the present rule, and what its expressions loaded.
        var expression = 0
        var registers = RegisterFile()
        var found: [(set: String, element: NFElement)] = []
        var steps: [Step] = []
        var outcome: PacketFate.Outcome?

        init(_ packet: TracedPacket) { self.packet = packet }

        mutating func nextRule() {
            frames[frames.count - 1].rule += 1
            (expression, registers, found) = (0, RegisterFile(), [])
        }
    }

    private func enter(_ hook: NFChain.Hook, _ walk: inout Walk) {
        walk.hook = hook
        walk.frames = table.baseChains(at: hook).reversed().map { Walk.Frame(chain: $0.id.name, isBase: true) }
    }

    /// All base chains of a hook are through.
    private func leave(_ walk: inout Walk) {
        let destination = walk.endpoint?.address ?? walk.packet.destination
        if walk.hook != .postrouting, node.passesPostrouting(walk.packet.entry, to: destination) {
            enter(.postrouting, &walk)
            // A hook without chains of ours.
            if walk.frames.isEmpty { walk.outcome = end(walk) }
        } else {
            walk.outcome = end(walk)
        }
    }

    private func end(_ walk: Walk) -> PacketFate.Outcome {
        walk.endpoint.map { .endpoint($0, masqueraded: walk.isMasqueraded) } ?? .untouched
    }

    /// Evaluates one expression, or goes on to the next rule, chain or hook.
    private func step(_ walk: inout Walk, _ open: inout [Walk]) throws(Fault) {
        guard let frame = walk.frames.last else { return leave(&walk) }
        let rules = table.rules[frame.chain] ?? []
        guard frame.rule < rules.count else {
            if frame.isBase, table.chains[frame.chain]?.base?.policy == .drop { return walk.outcome = .dropped }
            walk.frames.removeLast()
            return
        }
        let rule = rules[frame.rule]
        guard walk.expression < rule.expressions.count else {
            record(rule, frame, &walk)
            walk.nextRule()
            return
        }
        let expression = rule.expressions[walk.expression]
        walk.expression += 1
        do {
            switch try evaluate(expression, &walk, &open) {
            case .goesOn: break
            case .breaksOff: walk.nextRule()
            case .decides(let verdict):
                record(rule, frame, &walk)
                try follow(verdict, &walk)
            case .rejects:
                record(rule, frame, &walk)
                walk.outcome = .rejected
            }
        } catch {
            throw Fault(chain: frame.chain, number: frame.rule + 1, why: "\(error)")
        }
    }

    private func record(_ rule: NFRule, _ frame: Walk.Frame, _ walk: inout Walk) {
        walk.steps.append(Step(number: frame.rule + 1, rule: rule, elements: walk.found))
    }

    private func follow(_ verdict: NFVerdict, _ walk: inout Walk) throws(RegisterFile.Violation) {
        switch verdict {
        case .drop: walk.outcome = .dropped
        case .accept:
            while let frame = walk.frames.popLast(), !frame.isBase {}
            (walk.expression, walk.registers, walk.found) = (0, RegisterFile(), [])
        case .continue: walk.nextRule()
        case .return:
            // At a base chain's end its policy decides; ours all accept.
            walk.frames.removeLast()
            (walk.expression, walk.registers, walk.found) = (0, RegisterFile(), [])
        case .jump(let chain), .goto(let chain):
            guard table.chains[chain] != nil else { throw .init(description: "there is no chain \(chain)") }
            guard walk.frames.count < Self.deepest else { throw .init(description: "too many chains on each other") }
            walk.nextRule()
            var frame = Walk.Frame(chain: chain, isBase: false)
            if case .goto = verdict { frame.isBase = walk.frames.removeLast().isBase }
            walk.frames.append(frame)
        }
    }

    // MARK: Expressions

    private enum Effect {
        case goesOn, breaksOff, rejects
        case decides(NFVerdict)
    }

    private func evaluate(_ expression: NFExpression, _ walk: inout Walk, _ open: inout [Walk])
        throws(RegisterFile.Violation) -> Effect
    {
        switch expression {
        case .payload(let field, let register):
            guard let bytes = field.bytes(of: walk.packet, sentTo: walk.endpoint) else { return .breaksOff }
            try walk.registers.store(bytes, at: register)
        case .meta(let key, let register): try walk.registers.store(try meta(key, walk), at: register)
        case .ct(let key, nil, let register):
            try walk.registers.store(try conntrack(key, walk).registerBytes, at: register)
        case .fib(.addressType, let flags, let register):
            let address = flags.contains(.source) ? walk.packet.source : walk.packet.destination
            let type: NFExpression.AddressType =
                node.isLocal(address) ? .local : address.isMulticast ? .multicast : .unicast
            try walk.registers.store(type.rawValue.registerBytes, at: register)
        case .immediate(let bytes, let register): try walk.registers.store(bytes, at: register)
        // Hashes spread clients as evenly as chance does: which client gets which number is not told here.
        case .numgen(true, let modulus, let offset, let register),
            .jhash(_, _, let modulus, _, let offset, let register):
            // Every number is a way of its own, from here on.
            walk.share = walk.share / Int(modulus)
            for number in stride(from: modulus, to: 1, by: -1) {
                var other = walk
                try other.registers.store((number - 1 + offset).registerBytes, at: register)
                open.append(other)
            }
            try walk.registers.store(offset.registerBytes, at: register)
        case .bitwise(let from, let into, let mask, let xor):
            let bytes = try walk.registers.load(mask.count, at: from)
            try walk.registers.store(zip(zip(bytes, mask), xor).map { $0.0 & $0.1 ^ $1 }, at: into)
        case .compare(let register, let comparison, let bytes):
            let value = try walk.registers.load(bytes.count, at: register)
            return comparison.holds(value, bytes) ? .goesOn : .breaksOff
        case .lookup(let set, let register, let destination, let isInverted):
            return try lookup(set, register, destination, isInverted, &walk)
        case .setMeta(.priority, let register): walk.priority = try walk.registers.word(register)
        case .setMeta(.mark, let register): walk.mark = try walk.registers.word(register)
        case .verdict(let verdict): return .decides(verdict)
        case .nat(let nat) where nat.kind == .destination:
            try translate(nat, &walk)
            return .decides(.accept)
        case .masquerade:
            walk.isMasqueraded = true
            return .decides(.accept)
        case .reject: return .rejects
        // What the kernel remembers of a client concerns the next packets.
        case .counter, .dynamicSet: break
        default: throw .init(description: "the tracer does not know \(expression)")
        }
        return .goesOn
    }

    private func meta(_ key: NFExpression.Meta, _ walk: Walk) throws(RegisterFile.Violation) -> [UInt8] {
        switch key {
        case .transport: return [walk.packet.transport.rawValue]
        case .priority: return walk.priority.registerBytes
        case .mark: return walk.mark.registerBytes
        case .inputName:
            let name = Array(walk.packet.interface.utf8.prefix(15))
            return name + [UInt8](repeating: 0, count: 16 - name.count)
        default: throw .init(description: "the tracer does not know meta key \(key.rawValue)")
        }
    }

    private func conntrack(_ key: NFExpression.ConntrackKey, _ walk: Walk) throws(RegisterFile.Violation) -> UInt32 {
        switch key {
        case .status: return walk.endpoint == nil ? 0 : NFExpression.conntrackIsDestinationNAT
        case .state: return NFExpression.ConntrackState.new.rawValue
        default: throw .init(description: "the tracer does not know ct key \(key.rawValue)")
        }
    }

    private func lookup(
        _ name: String, _ register: NFRegister, _ destination: NFExpression.Destination, _ isInverted: Bool,
        _ walk: inout Walk
    ) throws(RegisterFile.Violation) -> Effect {
        guard let set = table.sets[name] else { throw .init(description: "there is no set \(name)") }
        let key = try walk.registers.load(set.keyLength, at: register)
        let element = table.element(name, key)
        guard (element != nil) != isInverted else { return .breaksOff }
        guard let element else { return .goesOn }
        walk.found.append((name, element))
        switch (destination, element.data) {
        case (.none, _): return .goesOn
        case (.register(let into), .value(let bytes)):
            try walk.registers.store(bytes, at: into)
            return .goesOn
        case (.verdict, .verdict(let verdict)): return .decides(verdict)
        default: throw .init(description: "set \(name) does not hold what the rule takes from it")
        }
    }

    private func translate(_ nat: NFExpression.NAT, _ walk: inout Walk) throws(RegisterFile.Violation) {
        guard let address = nat.address, let port = nat.port else {
            throw .init(description: "a translation without address and port")
        }
        let bytes = try walk.registers.load(table.name.family == .ip ? 4 : 16, at: address)
        let number = try walk.registers.load(2, at: port)
        guard let target = bytes.withUnsafeBytes({ IPAddress(bytes: $0) }) else {
            throw .init(description: "a translation to no address")
        }
        walk.endpoint = Endpoint(address: target, port: Port(UInt16(number[0]) << 8 | UInt16(number[1])))
    }
}

extension NFExpression.Payload {
    /// nil for what a packet of this family does not have there.
    fileprivate func bytes(of packet: TracedPacket, sentTo endpoint: Endpoint?) -> [UInt8]? {
        let isV4 = packet.destination.family == .v4
        switch self {
        case .ipv4Source where isV4, .ipv6Source where !isV4: return packet.source.bytes
        case .ipv4Destination where isV4, .ipv6Destination where !isV4:
            return (endpoint?.address ?? packet.destination).bytes
        // Not told of a packet that is asked about, and nothing but a hash looks at it.
        case .sourcePort: return [0, 0]
        case .destinationPort: return (endpoint?.port ?? packet.port).rawValue.networkBytes
        default: return nil
        }
    }
}

extension NFExpression.Comparison {
    /// Byte by byte, as the kernel compares registers.
    fileprivate func holds(_ value: [UInt8], _ other: [UInt8]) -> Bool {
        switch self {
        case .equal: value == other
        case .notEqual: value != other
        case .less: value.lexicographicallyPrecedes(other)
        case .lessOrEqual: !other.lexicographicallyPrecedes(value)
        case .greater: other.lexicographicallyPrecedes(value)
        case .greaterOrEqual: !value.lexicographicallyPrecedes(other)
        }
    }
}
