public import JSON

import Bytes
import ClusterAPI

/// What became of a traced packet, and why.
public struct ServiceTrace: Sendable {
    let packet: TracedPacket
    let decision: TrafficPolicy.Decision
    let table: TableWalk
    var kernel: Kernel?

    enum Kernel: Sendable {
        case noTable(String)
        case walked(TableWalk)
    }

    /// Whether every such flow reaches an endpoint.
    public var arrives: Bool {
        let fate = currentFate
        return fate.arrives
            && fate.outcomes.count == fate.sorted.count { if case .endpoint = $0.0 { true } else { false } }
    }

    /// Whether policy, planned table, and the kernel where it was asked, say the same.
    public var isConsistent: Bool { disagreements.isEmpty }

    /// What happens: in the kernel where it was asked, else as it should be.
    private var currentFate: PacketFate {
        switch kernel {
        case nil: decision.fate
        case .noTable: PacketFate(.untouched)
        case .walked(let walk): walk.fate ?? PacketFate(.untouched)
        }
    }

    /// In sentences.
    var disagreements: [String] {
        var found: [String] = []
        if let fault = table.fault {
            found.append("the rules cannot be followed: \(fault)")
        } else if let fate = table.fate, !decision.isKept(by: fate) {
            found.append("the rules that the proxy writes do something else: \(fate)")
        }
        switch kernel {
        case nil: break
        case .noTable(let name): found.append("the kernel has no table \(name): no service proxy of ours runs here")
        case .walked(let walk):
            if let fault = walk.fault {
                found.append("the kernel's rules cannot be followed: \(fault)")
            } else if let fate = walk.fate, !decision.isKept(by: fate) {
                found.append("the kernel does something else: \(fate)")
            }
        }
        return found
    }
}

// MARK: For people

extension ServiceTrace {
    /// Elements of one rule that are printed.
    private static let mostElements = 8

    /// A short list. `names` tells who is behind an address.
    public func lines(names: (IPAddress) -> String?) -> [String] {
        var lines: [String] = []
        for (outcome, share) in decision.fate.sorted { lines.append(verdict(outcome, share, names)) }
        lines.append("why:")
        lines += decision.reasons.map { "  \($0)" }
        lines.append("how, in table \(table.table.name):")
        lines += Self.lines(table)
        if kernel != nil, isConsistent { lines.append("the kernel's table does the same") }
        lines += disagreements.map { "WRONG: \($0)" }
        if case .walked(let walk) = kernel, let fate = walk.fate, !decision.isKept(by: fate) {
            lines.append("how, in the kernel:")
            lines += Self.lines(walk)
        }
        return lines
    }

    /// The elements of sets that the packet meets in the table as it should be, in its order: `SET: ELEMENT`.
    public var elements: [String] { table.lines.flatMap { $0.elements.map { "\($0.set): \($0.element)" } } }

    private static func lines(_ walk: TableWalk) -> [String] {
        walk.lines.flatMap { line in
            let more = line.elements.count - mostElements
            return ["  \(line.chain) \(line.number): \(line.rule)"]
                + line.elements.prefix(mostElements).map { "      \($0.set): \($0.element)" }
                + (more > 0 ? ["      and \(more) more"] : [])
        }
    }

    private func verdict(_ outcome: PacketFate.Outcome, _ share: Share, _ names: (IPAddress) -> String?) -> String {
        switch outcome {
        case .endpoint(let endpoint, let masqueraded):
            let name = names(endpoint.address).map { " (\($0))" } ?? ""
            let source = masqueraded ? "sees the node as the source" : "sees the source \(packet.source)"
            let amount = share == .whole ? "all flows" : "\(share) of flows"
            return "\(amount) to \(IPEndpoint(endpoint.address, endpoint.port))\(name), which \(source)"
        case .rejected: return "rejected: the sender is told at once"
        case .dropped: return "dropped: the sender hears nothing"
        case .untouched: return "not translated: no Service has it"
        }
    }
}

// MARK: For programs

extension ServiceTrace {
    public func json(names: (IPAddress) -> String?) -> JSONValue {
        var object: JSONObject = [
            "packet": [
                "source": .string("\(packet.source)"), "destination": .string("\(packet.destination)"),
                "protocol": .string("\(packet.transport)"), "port": .int(Int64(packet.port.rawValue)),
                "interface": packet.entry == .node ? .null : .string(packet.interface),
            ],
            "arrives": .bool(arrives), "consistent": .bool(isConsistent),
            "outcomes": Self.json(decision.fate, names), "reasons": .array(decision.reasons.map { .string($0) }),
            "table": .string("\(table.table.name)"), "rules": Self.json(table),
            "disagreements": .array(disagreements.map { .string($0) }),
        ]
        if let service = decision.service {
            object["service"] = ["namespace": .string(service.namespace), "name": .string(service.name)]
        }
        if let affinity = decision.affinity { object["affinitySeconds"] = .int(Int64(affinity.timeout)) }
        switch kernel {
        case nil: break
        case .noTable: object["kernel"] = ["table": false]
        case .walked(let walk):
            object["kernel"] = [
                "table": true, "outcomes": walk.fate.map { Self.json($0, names) } ?? .null, "rules": Self.json(walk),
            ]
        }
        return .object(object)
    }

    private static func json(_ fate: PacketFate, _ names: (IPAddress) -> String?) -> JSONValue {
        .array(
            fate.sorted.map { outcome, share in
                var object: JSONObject = ["share": .double(share.value)]
                switch outcome {
                case .endpoint(let endpoint, let masqueraded):
                    object["address"] = .string("\(endpoint.address)")
                    object["port"] = .int(Int64(endpoint.port.rawValue))
                    object["masqueraded"] = .bool(masqueraded)
                    if let name = names(endpoint.address) { object["name"] = .string(name) }
                    object["outcome"] = "endpoint"
                default: object["outcome"] = .string("\(outcome)")
                }
                return .object(object)
            })
    }

    private static func json(_ walk: TableWalk) -> JSONValue {
        .array(
            walk.lines.map { line in
                [
                    "chain": .string(line.chain), "number": .int(Int64(line.number)), "rule": .string(line.rule),
                    "elements": .array(
                        line.elements.map { ["set": .string($0.set), "element": .string($0.element)] }),
                ]
            })
    }
}
