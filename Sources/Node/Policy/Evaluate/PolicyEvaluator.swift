public import Bytes
public import ClusterAPI

/// The specification of NetworkPolicy v1: from objects, one question at a time, without tables.
///
/// What the kernel's table does is held against it in tests, over random clusters; `weft policy` answers by it.
public struct PolicyEvaluator: Sendable {
    public typealias Direction = NetworkPolicySpec.Direction

    private let policies: [String: [NetworkPolicySpec]]
    private let namespaces: [String: [String: String]]

    /// - Parameter namespaces: labels by name.
    public init(policies: [NetworkPolicySpec], namespaces: [String: [String: String]]) {
        self.policies = Dictionary(grouping: policies) { $0.key.namespace }.mapValues {
            $0.sorted { $0.key < $1.key }
        }
        self.namespaces = namespaces
    }

    /// Who speaks, or is spoken to.
    public enum Party: Hashable, Sendable {
        /// By one of its addresses.
        case pod(PolicyPod, IPAddress)
        /// A process of a node, or a pod on its network.
        case node(String, IPAddress)
        /// Somebody outside.
        case address(IPAddress)

        public var address: IPAddress {
            switch self {
            case .pod(_, let address), .node(_, let address), .address(let address): address
            }
        }
    }

    /// What is spoken about.
    public struct Traffic: Hashable, Sendable {
        /// nil: a protocol without ports, as ICMP.
        public var transport: Transport?
        public var port: Port

        public init(_ transport: Transport?, _ port: Port = 0) {
            self.transport = transport
            self.port = port
        }
    }

    /// What one end's policies say.
    public enum Verdict: Hashable, Sendable {
        /// No policy selects it for this direction, or it is no pod.
        case notIsolated
        /// Never judged: within a pod, or between a pod and its own node.
        case exempt
        /// By these, in the order of their names.
        case allowed(by: [ObjectKey])
        /// These select it, and none of them allows this.
        case denied(by: [ObjectKey])

        public var isDenied: Bool { if case .denied = self { true } else { false } }
    }

    public struct Answer: Hashable, Sendable {
        public var egress: Verdict
        public var ingress: Verdict

        public var isAllowed: Bool { !egress.isDenied && !ingress.isDenied }
    }

    public func answer(from client: Party, to server: Party, _ traffic: Traffic) -> Answer {
        if isExempt(client, server) { return Answer(egress: .exempt, ingress: .exempt) }
        return Answer(
            egress: verdict(.egress, subject: client, peer: server, traffic),
            ingress: verdict(.ingress, subject: server, peer: client, traffic))
    }

    /// The policies that isolate a pod in a direction.
    public func isolating(_ pod: PolicyPod, _ direction: Direction) -> [NetworkPolicySpec] {
        (policies[pod.key.namespace] ?? []).filter { $0.rules(direction) != nil && $0.pods.matches(pod.labels) }
    }

    private func isExempt(_ client: Party, _ server: Party) -> Bool {
        switch (client, server) {
        case (.pod(let one, _), .pod(let other, _)): one.key == other.key
        case (.pod(let pod, _), .node(let node, _)), (.node(let node, _), .pod(let pod, _)): pod.node == node
        default: false
        }
    }

    private func verdict(_ direction: Direction, subject: Party, peer: Party, _ traffic: Traffic) -> Verdict {
        guard case .pod(let pod, _) = subject else { return .notIsolated }
        let isolating = isolating(pod, direction)
        guard !isolating.isEmpty else { return .notIsolated }
        // Ports are the server's, and so are their names.
        var named = pod.ports
        if direction == .egress {
            if case .pod(let server, _) = peer { named = server.ports } else { named = [] }
        }
        let allowing = isolating.filter { policy in
            (policy.rules(direction) ?? []).contains { rule in
                guard let peers = rule.peers else { return matches(rule.ports, traffic, named) }
                return peers.contains { one in
                    // What goes out to addresses goes to ports by number: addresses have no names for them.
                    let isUnnamed = direction == .egress && one.isBlock
                    return matches(one, peer, of: policy) && matches(rule.ports, traffic, isUnnamed ? [] : named)
                }
            }
        }
        return allowing.isEmpty ? .denied(by: isolating.map(\.key)) : .allowed(by: allowing.map(\.key))
    }

    private func matches(_ ports: [NetworkPolicySpec.Port]?, _ traffic: Traffic, _ named: [PolicyPod.NamedPort]) -> Bool
    {
        guard let ports else { return true }
        return ports.contains { port in
            guard port.transport == traffic.transport else { return false }
            return switch port.target {
            case .all: true
            case .range(let first, let last): first <= traffic.port && traffic.port <= last
            case .named(let name):
                named.contains { $0.name == name && $0.transport == port.transport && $0.port == traffic.port }
            }
        }
    }

    private func matches(_ peer: NetworkPolicySpec.Peer, _ party: Party, of policy: NetworkPolicySpec) -> Bool {
        switch peer {
        case .block(let block): return block.contains(party.address)
        case .pods(let peer):
            guard case .pod(let pod, _) = party else { return false }
            let namespace = pod.key.namespace
            if let selector = peer.namespaces {
                let labels = namespaces[namespace] ?? ["kubernetes.io/metadata.name": namespace]
                guard selector.matches(labels) else { return false }
            } else if namespace != policy.key.namespace {
                return false
            }
            return peer.pods.matches(pod.labels)
        }
    }
}

extension NetworkPolicySpec.Peer {
    fileprivate var isBlock: Bool { if case .block = self { true } else { false } }
}
