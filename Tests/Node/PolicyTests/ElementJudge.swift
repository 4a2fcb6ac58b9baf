import Bytes

@testable import Policy

/// Judges a packet by elements alone, in the order in which the table's rules look at them.
struct ElementJudge {
    let elements: [PolicyElementKey: PolicyElementValue]
    private let blocks: [(profile: UInt32, range: (IPAddress, IPAddress), number: UInt32)]
    private let groups: [(profile: UInt32, range: PortSet.PortRange, number: UInt32)]

    init(_ elements: [PolicyElementKey: PolicyElementValue]) {
        self.elements = elements
        blocks = elements.compactMap { key, value in
            guard case .block(let profile, let range) = key, case .number(let number) = value else { return nil }
            return (profile, (range.first, range.last), number)
        }
        groups = elements.compactMap { key, value in
            guard case .portGroup(let profile, let range) = key, case .number(let number) = value else { return nil }
            return (profile, range, number)
        }
    }

    private func number(_ key: PolicyElementKey) -> UInt32? {
        if case .number(let number) = elements[key] { number } else { nil }
    }

    func passes(_ client: IPAddress, _ server: IPAddress, _ traffic: PolicyEvaluator.Traffic) -> Bool {
        passes(.egress, client, server, client == server, traffic)
            && passes(.ingress, server, client, client == server, traffic)
    }

    private func passes(
        _ direction: NetworkPolicySpec.Direction, _ subject: IPAddress, _ peer: IPAddress, _ isItself: Bool,
        _ traffic: PolicyEvaluator.Traffic
    ) -> Bool {
        guard let profile = number(.profile(direction, subject)) else { return true }
        if isItself, elements[.loopback(subject)] != nil { return true }
        let group = traffic.transport.flatMap { transport in
            groups.first {
                $0.profile == profile && $0.range.transport == transport && $0.range.first <= traffic.port
                    && traffic.port <= $0.range.last
            }?.number
        }
        let block = blocks.first {
            $0.profile == profile && $0.range.0.family == peer.family && $0.range.0 <= peer && peer <= $0.range.1
        }?.number
        func has(_ key: PolicyElementKey) -> Bool { elements[key] != nil }
        for identity in [number(.identity(peer)), block].compactMap({ $0 }) {
            if has(.peer(profile, identity)) { return true }
            if let transport = traffic.transport {
                if has(.transport(profile, identity, transport)) { return true }
                if has(.port(profile, identity, transport, traffic.port)) { return true }
            }
            if let group, has(.group(profile, identity, group)) { return true }
        }
        if let transport = traffic.transport {
            if has(.openTransport(profile, transport)) || has(.openPort(profile, transport, traffic.port)) {
                return true
            }
        }
        return group.map { has(.openGroup(profile, $0)) } ?? false
    }
}
