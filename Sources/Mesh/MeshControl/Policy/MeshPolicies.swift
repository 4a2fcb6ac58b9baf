import ClusterAPI
import JSON

/// Who may speak to a workload, and how: pure.
struct MeshPolicies {
    /// What stands here without a selector holds for the whole mesh.
    static let rootNamespaces: Set<String> = ["kube-system", "weft-system"]

    private var peers: [String: [ObjectKey: PeerAuthentication]] = [:]
    private var authorizations: [String: [ObjectKey: AuthorizationPolicy]] = [:]
    private var problems: [String] = []

    static func selector(_ spec: JSONValue) -> [String: String] {
        (spec[path: "selector", "matchLabels"]?.object ?? JSONObject()).reduce(into: [:]) {
            $0[$1.key] = $1.value.string ?? ""
        }
    }

    /// - Returns: What was there before.
    mutating func set(_ policy: PeerAuthentication?, _ key: ObjectKey) -> PeerAuthentication? {
        let old = peers[key.namespace]?[key]
        peers[key.namespace, default: [:]][key] = policy
        return old
    }

    /// - Returns: What was there before.
    mutating func set(_ policy: AuthorizationPolicy?, _ key: ObjectKey) -> AuthorizationPolicy? {
        let old = authorizations[key.namespace]?[key]
        authorizations[key.namespace, default: [:]][key] = policy
        if let problem = policy?.problem, old?.problem != problem {
            problems.append("AuthorizationPolicy \(key) is not enforced: \(problem)")
        }
        return old
    }

    mutating func takeProblems() -> [String] {
        defer { problems = [] }
        return problems
    }

    // MARK: Modes

    /// A workload's modes: that of all its ports, and those of ports that have their own.
    struct Modes: Hashable {
        var general: MutualTLSMode
        var ports: [Int: MutualTLSMode]

        /// - Parameter spoken: A server that speaks first cannot tell plain text from TLS by waiting, so it takes plain text until it is
        ///   told to take nothing but TLS.
        func mode(_ port: Int, _ spoken: PortProtocol) -> MutualTLSMode {
            let mode = ports[port] ?? general
            return mode == .permissive && spoken == .serverFirst ? .disable : mode
        }
    }

    /// The narrowest that says something: workload's port, workload, namespace, mesh. Of several of one kind the oldest counts.
    func modes(of pod: MeshPod) -> Modes {
        let own = Self.ordered(peers[pod.key.namespace])
        let mesh = Self.rootNamespaces.sorted().flatMap { Self.ordered(peers[$0]) }.first { $0.selector.isEmpty }
        let namespace =
            Self.rootNamespaces.contains(pod.key.namespace) ? nil : own.first { $0.selector.isEmpty }
        let workload = own.first { !$0.selector.isEmpty && pod.matches($0.selector) }
        let above = namespace?.mode ?? mesh?.mode ?? .permissive
        let general = workload?.mode ?? above
        return Modes(general: general, ports: (workload?.portModes ?? [:]).mapValues { $0 ?? general })
    }

    func mode(of pod: MeshPod, port: Int, _ spoken: PortProtocol) -> MutualTLSMode {
        modes(of: pod).mode(port, spoken)
    }

    private static func ordered(_ policies: [ObjectKey: PeerAuthentication]?) -> [PeerAuthentication] {
        (policies ?? [:]).values.sorted { ($0.created, $0.key) < ($1.created, $1.key) }
    }

    // MARK: Authorization

    /// Those that hold for a workload, in the order of their names.
    func authorizations(of pod: MeshPod) -> [AuthorizationPolicy] {
        Self.rootNamespaces.union([pod.key.namespace]).flatMap { (authorizations[$0] ?? [:]).values }
            .filter { $0.action != nil && pod.matches($0.selector) }
            .sorted { $0.key < $1.key }
    }
}
