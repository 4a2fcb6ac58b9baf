import ClusterAPI

/// Who may speak to a workload, and how: pure.
struct MeshPolicies {
    /// What stands here without a selector holds for the whole mesh.
    static let rootNamespaces: Set<String> = ["kube-system", "weft-system"]

    var peers = PolicyTable<PeerAuthentication>()
    var authorizations = PolicyTable<AuthorizationPolicy>()
    var requests = PolicyTable<RequestAuthentication>()

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
        let (workload, above) = peers(of: pod)
        let general = workload?.mode ?? above?.mode ?? .permissive
        return Modes(general: general, ports: (workload?.portModes ?? [:]).mapValues { $0 ?? general })
    }

    /// Who says which mode a port of the pod has; nil where nobody does.
    func decider(of pod: MeshPod, port: Int) -> ObjectKey? {
        let (workload, above) = peers(of: pod)
        let isWorkloads = workload?.mode != nil || workload?.portModes[port].flatMap { $0 } != nil
        return isWorkloads ? workload?.key : above?.key
    }

    /// The pod's own policy, and of those above it the one that says something.
    private func peers(of pod: MeshPod) -> (workload: PeerAuthentication?, above: PeerAuthentication?) {
        let own = peers.oldest(pod.key.namespace)
        let mesh = Self.rootNamespaces.sorted().flatMap { peers.oldest($0) }.first { $0.scope.selector.isEmpty }
        let namespace =
            Self.rootNamespaces.contains(pod.key.namespace) ? nil : own.first { $0.scope.selector.isEmpty }
        let workload = own.first { !$0.scope.selector.isEmpty && pod.matches($0.scope.selector) }
        return (workload, [namespace, mesh].compactMap { $0 }.first { $0.mode != nil })
    }

    func mode(of pod: MeshPod, port: Int, _ spoken: PortProtocol) -> MutualTLSMode {
        modes(of: pod).mode(port, spoken)
    }

    /// Another that says the same whom it is for, and counts in its place.
    func rival(of policy: PeerAuthentication) -> PeerAuthentication? {
        let namespaces = policy.scope.isMeshWide ? Self.rootNamespaces.sorted() : [policy.key.namespace]
        let first = namespaces.flatMap { peers.oldest($0) }.first { $0.scope.selector == policy.scope.selector }
        return first?.key == policy.key ? nil : first
    }
}
