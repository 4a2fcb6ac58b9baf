public import ClusterAPI

import Bytes

/// Policies in words.
extension NetworkPolicySpec {
    /// The directions in which it isolates.
    public var directions: [Direction] { Direction.allCases.filter { rules($0) != nil } }

    /// One sentence for each direction and rule.
    public var sentences: [String] {
        directions.flatMap { direction -> [String] in
            let word = direction == .ingress ? "in" : "out"
            let rules = rules(direction) ?? []
            guard !rules.isEmpty else { return ["\(word): nothing"] }
            let preposition = direction == .ingress ? "from" : "to"
            return rules.map { "\(word): \($0.portWords) \(preposition) \($0.peerWords)" }
        }
    }

    /// Whom it selects.
    public var subjectWords: String { pods.isEmpty ? "all pods" : "pods \(pods)" }
}

extension NetworkPolicySpec.Rule {
    fileprivate var portWords: String {
        guard let ports else { return "everything" }
        return ports.isEmpty ? "nothing" : ports.map(\.words).joined(separator: ", ")
    }

    fileprivate var peerWords: String {
        guard let peers else { return "everybody" }
        return peers.isEmpty ? "nobody" : peers.map(\.words).joined(separator: ", or ")
    }
}

extension NetworkPolicySpec.Port {
    fileprivate var words: String {
        switch target {
        case .all: "all \(transport)"
        case .range(let first, let last): first == last ? "\(transport) \(first)" : "\(transport) \(first)-\(last)"
        case .named(let name): "\(transport) port \"\(name)\""
        }
    }
}

extension NetworkPolicySpec.Peer {
    fileprivate var words: String {
        switch self {
        case .block(let block):
            let except = block.except.isEmpty ? "" : " but \(block.except.map { "\($0)" }.joined(separator: ", "))"
            return "\(block.prefix)\(except)"
        case .pods(let peer):
            let pods = peer.pods.isEmpty ? "all pods" : "pods \(peer.pods)"
            guard let namespaces = peer.namespaces else { return "\(pods) of its namespace" }
            return namespaces.isEmpty ? "\(pods) of all namespaces" : "\(pods) of namespaces \(namespaces)"
        }
    }
}

extension PolicyEvaluator.Verdict {
    /// `allowed by shop/a, shop/b`.
    public var words: String {
        switch self {
        case .notIsolated: "not isolated by any policy"
        case .exempt: "never judged: a pod and itself, or a pod and its own node"
        case .allowed(let names): "allowed by \(Self.list(names))"
        case .denied(let names): "DENIED: isolated by \(Self.list(names)), none of which allows it"
        }
    }

    /// `allowed`, `denied`, `notIsolated` or `exempt`, for programs.
    public var kind: String {
        switch self {
        case .notIsolated: "notIsolated"
        case .exempt: "exempt"
        case .allowed: "allowed"
        case .denied: "denied"
        }
    }

    /// The policies that say so.
    public var policies: [ObjectKey] {
        switch self {
        case .notIsolated, .exempt: []
        case .allowed(let names), .denied(let names): names
        }
    }

    private static func list(_ names: [ObjectKey]) -> String { names.map { "\($0)" }.joined(separator: ", ") }
}

extension PolicyEvaluator.Traffic: CustomStringConvertible {
    /// `TCP 80`.
    public var description: String { transport.map { "\($0) \(port)" } ?? "without ports" }
}
