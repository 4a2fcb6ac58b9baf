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

    /// The AuthorizationPolicies that hold at all of a pod's ports, and those that hold at some, in the order of their names.
    func authorizations(of pod: MeshPod) -> (whole: [AuthorizationPolicy], ports: [Int: [AuthorizationPolicy]]) {
        var whole: [AuthorizationPolicy] = []
        var some: [Int: [AuthorizationPolicy]] = [:]
        for policy in policies.authorizations.about(pod.key.namespace).sorted(by: { $0.key < $1.key })
        where policy.action != nil {
            switch reach(policy.scope, pod) {
            case .none: break
            case .all: whole.append(policy)
            case .ports(let ports): for port in ports { some[port, default: []].append(policy) }
            }
        }
        return (whole, some)
    }

    // MARK: Gateways

    /// Whether a policy is for a Gateway: by its name, or by the labels of its pods.
    func isFor(_ scope: PolicyScope, _ gateway: MeshGateway) -> Bool {
        scope.isBySelector
            ? scope.selects(GatewayWorkload.labels(of: gateway), in: gateway.key.namespace)
            : scope.targets.contains(.gateway(gateway.key))
    }

    /// Those that hold at a Gateway, in the order of their names.
    func authorizations(of gateway: MeshGateway) -> [AuthorizationPolicy] {
        policies.authorizations.about(gateway.key.namespace).filter { $0.action != nil && isFor($0.scope, gateway) }
            .sorted { $0.key < $1.key }
    }
}
