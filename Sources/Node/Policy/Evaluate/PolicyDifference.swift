public import Bytes
public import ClusterAPI

/// What changes when some policies are others: between which pods, and on which ports.
public struct PolicyDifference: Sendable {
    public typealias Party = PolicyEvaluator.Party
    public typealias Traffic = PolicyEvaluator.Traffic

    /// One way that is opened or closed.
    public struct Change: Sendable {
        public var client: Party
        public var server: Party
        public var traffic: Traffic
        public var before: PolicyEvaluator.Answer
        public var after: PolicyEvaluator.Answer
    }

    private let cluster: PolicyCluster
    private let before: PolicyEvaluator
    private let after: PolicyEvaluator
    private let changed: [NetworkPolicySpec]

    /// Stands for the world, in documentation's own prefix, which nobody has.
    public static let outside: [IPAddress] = [IPAddress("192.0.2.1"), IPAddress("2001:db8::1")].compactMap { $0 }

    /// - Parameters:
    ///   - set: policies as they shall be; those of the same names are replaced.
    ///   - removed: names of policies that shall go.
    public init(_ cluster: PolicyCluster, set: [NetworkPolicySpec], removed: Set<ObjectKey> = []) {
        self.cluster = cluster
        let names = Set(set.map(\.key)).union(removed)
        let former = cluster.policies.filter { names.contains($0.key) }
        before = cluster.evaluator()
        after = cluster.evaluator(cluster.policies.filter { !names.contains($0.key) } + set)
        let standing = Dictionary(former.map { ($0.key, $0) }) { first, _ in first }
        changed = former.filter { !set.contains($0) } + set.filter { standing[$0.key] != $0 }
    }

    /// Whether anything is asked for that is not so already.
    public var isEmpty: Bool { changed.isEmpty }

    /// Asked of every pod that a changed policy selects, with every other pod and the world, on the ports that the server's containers
    /// tell of and those that the policies name. One of a pod's addresses of each family stands for it.
    public func changes() -> [Change] {
        var found: [Change] = []
        var seen: Set<Question> = []
        for policy in changed {
            let subjects = cluster.pods.filter {
                $0.key.namespace == policy.key.namespace && policy.pods.matches($0.labels)
            }
            for subject in subjects {
                for (peer, address) in others {
                    guard let own = subject.addresses.first(where: { $0.family == address.family }) else { continue }
                    let me = Party.pod(subject, own)
                    if policy.ingress != nil { ask(from: peer, to: me, policy, &seen, &found) }
                    if policy.egress != nil { ask(from: me, to: peer, policy, &seen, &found) }
                }
            }
        }
        return found
    }

    /// What a connection was allowed, and will be.
    public func change(from client: Party, to server: Party, _ traffic: Traffic) -> Change? {
        let change = Change(
            client: client, server: server, traffic: traffic, before: before.answer(from: client, to: server, traffic),
            after: after.answer(from: client, to: server, traffic))
        return change.before.isAllowed == change.after.isAllowed ? nil : change
    }

    private struct Question: Hashable {
        var client: IPAddress
        var server: IPAddress
        var traffic: Traffic
    }

    private var others: [(Party, IPAddress)] {
        var all = cluster.pods.flatMap { pod in
            [IPAddress.Family.v4, .v6].compactMap { family in
                pod.addresses.first { $0.family == family }.map { (Party.pod(pod, $0), $0) }
            }
        }
        var outside = Set(Self.outside)
        for policy in changed {
            for rule in (policy.ingress ?? []) + (policy.egress ?? []) {
                for case .block(let block) in rule.peers ?? [] {
                    outside.formUnion(([block.prefix] + block.except).map(\.last))
                }
            }
        }
        for address in outside.sorted() {
            if case .address = cluster.party(at: address) { all.append((.address(address), address)) }
        }
        return all
    }

    private func ask(
        from client: Party, to server: Party, _ policy: NetworkPolicySpec, _ seen: inout Set<Question>,
        _ found: inout [Change]
    ) {
        var traffics: [Traffic] = []
        if case .pod(let pod, _) = server {
            traffics = cluster.ports(of: pod.key).map { Traffic($0.transport, $0.port) }
        }
        for rule in (policy.ingress ?? []) + (policy.egress ?? []) {
            for port in rule.ports ?? [] {
                guard case .range(let first, let last) = port.target else { continue }
                traffics.append(Traffic(port.transport, first))
                if last != first { traffics.append(Traffic(port.transport, last)) }
            }
        }
        if traffics.isEmpty { traffics = [Traffic(.tcp, 80), Traffic(.tcp, 443)] }
        for traffic in traffics {
            let question = Question(client: client.address, server: server.address, traffic: traffic)
            guard seen.insert(question).inserted else { continue }
            if let change = change(from: client, to: server, traffic) { found.append(change) }
        }
    }
}
