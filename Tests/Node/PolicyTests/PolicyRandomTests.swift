import Bytes
import ClusterAPI
import Delta
import TestSupport
import Testing

@testable import Policy

@Suite("Random clusters: elements against the specification")
struct PolicyRandomTests {
    typealias Party = PolicyEvaluator.Party
    typealias Traffic = PolicyEvaluator.Traffic

    /// Objects, and the same in a plan that follows them change by change.
    private struct Cluster {
        var random: RandomPolicies
        var desired = DesiredPolicies(node: "node-1")
        var policies: [ObjectKey: NetworkPolicySpec] = [:]
        var namespaces: [String: [String: String]] = [:]
        var pods: [ObjectKey: PolicyPod] = [:]

        init(seed: Int) {
            random = RandomPolicies(
                seed: UInt64(seed), namespaces: ["x", "y", "z"],
                prefixes: [
                    "10.0.0.0/8", "10.0.0.0/30", "10.0.0.4/31", "192.0.2.0/24", "192.0.2.7/32", "0.0.0.0/0", "::/0",
                    "fd00::/16", "fd00::/126",
                ])
        }

        mutating func change() {
            switch random.number(0..<8) {
            case 0: setNamespace()
            case 1, 2, 3:
                let policy = random.policy(random.number(0..<12))
                policies[policy.key] = policy
                desired.set(policy)
            case 4:
                guard let key = policies.keys.sorted().first else { return }
                policies[key] = nil
                desired.removePolicy(key)
            case 5:
                guard pods.count > 3, let key = pods.keys.sorted().last else { return }
                pods[key] = nil
                desired.removePod(key)
            default: setPod()
            }
        }

        private mutating func setNamespace() {
            let name = random.one(random.namespaces)
            namespaces[name] = random.labels()
            desired.setNamespace(name, labels: namespaces[name])
        }

        private mutating func setPod() {
            let number = random.number(0..<10)
            let pod = PolicyPod(
                ObjectKey(namespace: random.namespaces[number % 3], name: "pod-\(number)"), labels: random.labels(),
                ports: random.ports(), node: number % 4 == 3 ? "node-2" : "node-1",
                addresses: [IPAddress(v4: 0x0A00_0000 + UInt32(number)), IPAddress(v6: 0xFD00 << 48, UInt64(number))])
            pods[pod.key] = pod
            desired.set(pod)
        }

        /// Planned from nothing.
        var fresh: DesiredPolicies {
            var fresh = DesiredPolicies(node: "node-1")
            for pod in pods.values { fresh.set(pod) }
            for policy in policies.values { fresh.set(policy) }
            for (name, labels) in namespaces { fresh.setNamespace(name, labels: labels) }
            fresh.plan()
            return fresh
        }
    }

    private static func elements(_ desired: DesiredPolicies) -> [PolicyElementKey: PolicyElementValue] {
        Dictionary(uniqueKeysWithValues: desired.tracker.allDesired.map { ($0.key, $0.value) })
    }

    @Test(
        "after each change the elements say what the specification says, and what a fresh plan says", arguments: 0..<40)
    func agrees(seed: Int) throws {
        var cluster = Cluster(seed: seed)
        let traffics =
            RandomPolicies.ports.flatMap { [Traffic(.tcp, Port($0)), Traffic(.udp, Port($0))] } + [
                Traffic(.tcp, 4000), Traffic(nil),
            ]
        for step in 0..<30 {
            for _ in 0..<3 { cluster.change() }
            cluster.desired.plan()
            let elements = Self.elements(cluster.desired)
            let fresh = Self.elements(cluster.fresh)
            #expect(elements == fresh, "seed \(seed) step \(step): a history leaves what it should not")
            let judge = ElementJudge(elements)
            let evaluator = PolicyEvaluator(policies: Array(cluster.policies.values), namespaces: cluster.namespaces)
            for index in 0..<2 {
                let parties =
                    cluster.pods.values.map { Party.pod($0, $0.addresses[index]) }
                    + (index == 0
                        ? [.address(IPAddress(v4: 192, 0, 2, 7)), .address(IPAddress(v4: 192, 0, 2, 8))]
                        : [.address(IPAddress(v6: 0x2001_0DB8 << 32, 1))])
                for client in parties {
                    for server in parties {
                        for traffic in traffics {
                            let answer = evaluator.answer(from: client, to: server, traffic)
                            // The other node judges its own pods.
                            let isAllowed =
                                !(answer.egress.isDenied && Self.isHere(client))
                                && !(answer.ingress.isDenied && Self.isHere(server))
                            guard judge.passes(client.address, server.address, traffic) != isAllowed else { continue }
                            Issue.record(
                                "seed \(seed) step \(step): \(client.address) to \(server.address) \(traffic): \(answer)"
                            )
                            return
                        }
                    }
                }
            }
        }
    }

    private static func isHere(_ party: Party) -> Bool {
        if case .pod(let pod, _) = party { pod.node == "node-1" } else { false }
    }

    @Test("nothing wanted leaves nothing")
    func empty() {
        var cluster = Cluster(seed: 99)
        for _ in 0..<60 { cluster.change() }
        cluster.desired.plan()
        for key in cluster.policies.keys { cluster.desired.removePolicy(key) }
        cluster.desired.plan()
        #expect(Self.elements(cluster.desired).isEmpty)
        for key in cluster.pods.keys { cluster.desired.removePod(key) }
        cluster.desired.plan()
        #expect(cluster.desired.identityCount == 0 && cluster.desired.profileCount == 0)
    }
}

@Suite("Random clusters: packets against the specification", .serialized, .ownThreads)
struct PolicyRandomPacketTests {
    @Test("every pair of places, every port, both families: the kernel does what the specification says")
    func packets() throws {
        let lab = try PolicyLab()
        for seed in 0..<4 {
            var random = RandomPolicies(
                seed: UInt64(seed) + 500, namespaces: ["x", "y"],
                prefixes: [
                    "10.244.0.0/16", "10.244.1.0/29", "203.0.113.0/24", "0.0.0.0/0", "::/0", "fd00:1::/32",
                    "fd00:9::/32",
                ])
            var namespaces: [String: [String: String]] = [:]
            for name in ["x", "y"] {
                namespaces[name] = random.labels()
                lab.policy.setNamespace(name, labels: namespaces[name])
            }
            var pods: [String: PolicyPod] = [:]
            for place in PolicyLab.places where place.isPod {
                var pod = PolicyLab.pod(place, labels: random.labels())
                pod.ports = random.ports()
                pods[place.name] = pod
                lab.policy.set(pod)
            }
            let policies = (0..<5).map { random.policy($0) }
            for policy in policies { lab.policy.set(policy) }
            try lab.policy.sync()
            try lab.policy.markJudged()
            defer { for policy in policies { lab.policy.removePolicy(policy.key) } }
            let evaluator = PolicyEvaluator(policies: policies, namespaces: namespaces)
            for client in PolicyLab.places {
                var questions: [String] = []
                var wanted: [Bool] = []
                for server in PolicyLab.places where server.name != client.name {
                    for (from, to) in [(client.v4, server.v4), (client.v6, server.v6)] {
                        for port in PolicyLab.ports {
                            for transport in [Transport.tcp, .udp] {
                                let answer = evaluator.answer(
                                    from: Self.party(client, from, pods), to: Self.party(server, to, pods),
                                    .init(transport, Port(port)))
                                questions.append("\(transport == .tcp ? "tcp" : "udp") \(to) \(port)")
                                wanted.append(
                                    !(answer.egress.isDenied && client.isLocal)
                                        && !(answer.ingress.isDenied && server.isLocal))
                            }
                        }
                    }
                }
                let answers = try lab.ask(client.name, questions, patience: 1)
                try #require(answers.count == questions.count)
                for index in questions.indices where (answers[index] == "yes") != wanted[index] {
                    Issue.record(
                        "seed \(seed): \(client.name) \(questions[index]): \(answers[index]), policies \(policies)")
                    return
                }
            }
        }
    }

    private static func party(_ place: PolicyLab.Place, _ address: String, _ pods: [String: PolicyPod])
        -> PolicyEvaluator.Party
    {
        guard let address = IPAddress(address) else { preconditionFailure("\(address) is no address") }
        return pods[place.name].map { .pod($0, address) } ?? .address(address)
    }
}
