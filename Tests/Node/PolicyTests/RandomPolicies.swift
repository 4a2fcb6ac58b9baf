import Bytes
import ClusterAPI

@testable import Policy

/// Draws policies and labels from few values, so that they meet each other.
struct RandomPolicies {
    private var random: SplitMix64
    let namespaces: [String]
    let prefixes: [String]

    init(seed: UInt64, namespaces: [String], prefixes: [String]) {
        random = SplitMix64(seed: seed)
        self.namespaces = namespaces
        self.prefixes = prefixes
    }

    private static let keys = ["pod", "team", "app"]
    private static let values = ["a", "b", "c"]
    static let ports: [UInt16] = [80, 81, 8080]

    mutating func number(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }
    private mutating func chance(_ percent: Int) -> Bool { number(0..<100) < percent }
    mutating func one<Value>(_ values: [Value]) -> Value { values[number(0..<values.count)] }

    mutating func labels() -> [String: String] {
        var labels: [String: String] = [:]
        for key in Self.keys where chance(70) { labels[key] = one(Self.values) }
        return labels
    }

    private mutating func selector() -> LabelSelector {
        guard !chance(25) else { return .everything }
        let key = one(Self.keys)
        switch number(0..<5) {
        case 0: return LabelSelector([.init(key, .within, [one(Self.values), one(Self.values)])])
        case 1: return LabelSelector([.init(key, .notWithin, [one(Self.values)])])
        case 2: return LabelSelector([.init(key, .exists)])
        default: return LabelSelector([.init(key, .equals, [one(Self.values)])])
        }
    }

    private mutating func peer() -> NetworkPolicySpec.Peer {
        if chance(30) {
            // Exceptions lie within, as the API demands.
            let prefix = CIDR(one(prefixes)) ?? CIDR(host: .anyV4)
            let except = prefixes.compactMap { CIDR($0) }.filter { $0 != prefix && prefix.contains($0) }
            return .block(.init(prefix, except: except.isEmpty || chance(40) ? [] : [one(except)]))
        }
        return .pods(.init(namespaces: chance(50) ? selector() : nil, pods: selector()))
    }

    private mutating func port() -> NetworkPolicySpec.Port {
        let transport: Transport = chance(60) ? .tcp : chance(80) ? .udp : .sctp
        switch number(0..<6) {
        case 0: return .init(transport, .all)
        case 1: return .init(transport, .named(chance(70) ? "web" : "nobody"))
        case 2:
            let ends = [one(Self.ports), one(Self.ports)].sorted()
            return .init(transport, .range(Port(ends[0]), Port(ends[1])))
        default: return .init(transport, Port(one(Self.ports)))
        }
    }

    private mutating func rules() -> [NetworkPolicySpec.Rule] {
        (0..<number(0..<3)).map { _ in
            NetworkPolicySpec.Rule(
                peers: chance(15) ? nil : (0..<number(1..<3)).map { _ in peer() },
                ports: chance(30) ? nil : (0..<number(1..<3)).map { _ in port() })
        }
    }

    mutating func policy(_ number: Int) -> NetworkPolicySpec {
        var policy = NetworkPolicySpec(
            ObjectKey(namespace: namespaces[number % namespaces.count], name: "policy-\(number)"), pods: selector())
        let kind = self.number(0..<3)
        if kind != 0 { policy.ingress = rules() }
        if kind != 1 { policy.egress = rules() }
        return policy
    }

    mutating func ports() -> [PolicyPod.NamedPort] {
        (chance(60) ? [.init("web", .tcp, Port(one(Self.ports)))] : [])
            + (chance(30) ? [.init("web", .udp, Port(one(Self.ports)))] : [])
    }
}
