import Bytes
import ClusterAPI

/// What isolates pods of this node in one direction: the policies that select them. Pods that the same ones select share it.
struct PolicyProfile: Sendable {
    typealias Direction = NetworkPolicySpec.Direction

    struct Key: Hashable, Sendable {
        var direction: Direction
        /// Sorted; of one namespace.
        var policies: [ObjectKey]
        /// The pods' own named ports that rules for what comes in name.
        var ports: [PolicyPod.NamedPort]

        /// The same on every node and after every start.
        var number: UInt32 {
            var hash = FNV1a()
            hash.combine(direction.rawValue.utf8)
            for policy in policies { hash.combine("\u{1}\(policy)".utf8) }
            for port in ports {
                hash.combine("\u{3}\(port.transport.rawValue)/\(port.port)/\(port.name)".utf8)
            }
            return StableNumber.of(hash)
        }
    }

    /// The profile of pods that are attached and not known: it allows nothing.
    static let closed: UInt32 = 1
    /// Identities of address blocks, by their place in the profile.
    static let firstBlock: UInt32 = 0x8000_0000

    /// Pods that a rule lets in or out.
    struct PodRule: Sendable {
        /// The policy's.
        var namespace: String
        var peer: NetworkPolicySpec.PodPeer
        var ports: [NetworkPolicySpec.Port]?
    }

    let key: Key
    var members: Set<ObjectKey> = []
    private(set) var podRules: [PodRule] = []
    /// For everybody.
    private(set) var open = PortSet()
    private(set) var blocks: [AddressPieces.Piece] = []
    private(set) var groups = PortGroups([])
    /// By class.
    var pairs: [UInt32: PortSet] = [:]
    /// What does not depend on other pods.
    var statics: [PolicyElementKey: PolicyElementValue] = [:]
    /// Whether a rule looks at namespaces' labels.
    private(set) var looksAtNamespaces = false

    init(_ key: Key) { self.key = key }

    /// Everything is allowed, so that its pods are as good as not isolated.
    var isOpen: Bool { open.isEverything }

    /// Takes over what the policies say.
    mutating func compile(_ policies: [NetworkPolicySpec]) {
        (podRules, open, groups, looksAtNamespaces) = ([], PortSet(), PortGroups([]), false)
        var prefixes: [(block: NetworkPolicySpec.AddressBlock, ports: PortSet)] = []
        var ranges: Set<PortSet.PortRange> = []
        // What comes in goes to ports of these pods; what goes out to ports of whoever is there.
        let named = key.direction == .ingress ? key.ports : []
        for policy in policies {
            for rule in policy.rules(key.direction) ?? [] {
                var ports = PortSet()
                ports.insert(rule.ports, named: named)
                ranges.formUnion(ports.ranges)
                guard let peers = rule.peers else {
                    open.formUnion(ports)
                    if let byName = rule.namedPorts, key.direction == .egress {
                        podRules.append(
                            PodRule(namespace: "", peer: .init(namespaces: .everything), ports: byName))
                    }
                    continue
                }
                for peer in peers {
                    switch peer {
                    case .block(let block): prefixes.append((block, ports))
                    case .pods(let peer):
                        podRules.append(PodRule(namespace: policy.key.namespace, peer: peer, ports: rule.ports))
                    }
                }
            }
        }
        looksAtNamespaces = podRules.contains { $0.peer.namespaces != nil }
        groups = PortGroups(ranges)
        blocks = AddressPieces(prefixes).pieces
        statics = [:]
    }

    /// What pods of a class may be spoken with about.
    func ports(for peer: PeerClass.Key, namespaceLabels: [String: String]) -> PortSet {
        var result = PortSet()
        for rule in podRules {
            if let namespaces = rule.peer.namespaces {
                guard namespaces.matches(namespaceLabels) else { continue }
            } else if rule.namespace != peer.namespace {
                continue
            }
            guard rule.peer.pods.matches(peer.labels) else { continue }
            result.insert(rule.ports, named: key.direction == .ingress ? key.ports : peer.ports)
            if result.isEverything { break }
        }
        return result
    }
}

extension NetworkPolicySpec.Rule {
    /// Those that are only known by name; nil where there are none.
    fileprivate var namedPorts: [NetworkPolicySpec.Port]? {
        let named = (ports ?? []).filter { if case .named = $0.target { true } else { false } }
        return named.isEmpty ? nil : named
    }
}
