import ClusterAPI

// Whom policies are for.
extension MeshWorld {
    /// At which of a pod's ports a policy holds.
    enum PolicyReach: Equatable {
        case none, all
        case ports(Set<Int>)
    }

    func reach(_ scope: PolicyScope, _ pod: MeshPod) -> PolicyReach {
        guard !scope.isBySelector else { return scope.selects(pod.labels, in: pod.key.namespace) ? .all : .none }
        var ports: Set<Int> = []
        for case .service(let key) in scope.targets {
            guard let service = services[key], service.selects(pod) else { continue }
            ports.formUnion(service.ports.compactMap { $0.number(of: pod) })
        }
        return ports.isEmpty ? .none : .ports(ports)
    }

    /// Those of a kind that hold for a pod.
    func inForce<Policy: MeshPolicy>(_ table: PolicyTable<Policy>, _ pod: MeshPod) -> PodPolicies<Policy> {
        var found = PodPolicies<Policy>()
        for policy in table.about(pod.key.namespace).sorted(by: { $0.key < $1.key }) where policy.problem == nil {
            switch reach(policy.scope, pod) {
            case .none: break
            case .all: found.whole.append(policy)
            case .ports(let ports): for port in ports { found.ports[port, default: []].append(policy) }
            }
        }
        return found
    }

    // MARK: Gateways

    /// Whether a policy is for a Gateway: by its name, or by the labels of its pods.
    func isFor(_ scope: PolicyScope, _ gateway: MeshGateway) -> Bool {
        scope.isBySelector
            ? scope.selects(GatewayWorkload.labels(of: gateway), in: gateway.key.namespace)
            : scope.targets.contains(.gateway(gateway.key))
    }

    /// Those of a kind that hold at a Gateway, in the order of their names.
    func inForce<Policy: MeshPolicy>(_ table: PolicyTable<Policy>, _ gateway: MeshGateway) -> [Policy] {
        table.about(gateway.key.namespace).filter { $0.problem == nil && isFor($0.scope, gateway) }
            .sorted { $0.key < $1.key }
    }
}

/// The policies of a kind that hold for a pod, in the order of their names.
struct PodPolicies<Policy: MeshPolicy>: Hashable {
    /// At all of its ports.
    var whole: [Policy] = []
    /// At one besides: they name a Service that leads there.
    var ports: [Int: [Policy]] = [:]

    /// Those that hold at a port; nil is all ports that have nothing of their own.
    func at(_ port: Int?) -> [Policy] {
        guard let own = port.flatMap({ ports[$0] }) else { return whole }
        return (whole + own).sorted { $0.key < $1.key }
    }
}
