import ClusterAPI

/// How a pod is reached, and by whom: all that its proxy's own listeners and clusters follow from. Pods of one shape share what is made
/// of it.
struct InboundShape: Hashable {
    struct Port: Hashable {
        /// The pod's.
        var number: Int
        var spoken: PortProtocol
    }

    var namespace: String
    var account: String
    var workload: String
    /// Those that Services lead to, by number.
    var ports: [Port]
    var modes: MeshPolicies.Modes
    var authorizations: PodPolicies<AuthorizationPolicy>
    var requests: PodPolicies<RequestAuthentication>
    var authorizers: Authorizers
    /// Pods have addresses of both families, so proxies listen on both.
    var isDualStack: Bool
    /// The app sees its clients' addresses (TPROXY).
    var keepsClients = false
}

extension MeshModel {
    /// Nil for a pod of which nothing is known.
    func inboundShape(of pod: ObjectKey) -> InboundShape? {
        guard let pod = world.pods[pod] else { return nil }
        var ports: [Int: PortProtocol] = [:]
        for key in world.neighbours[pod.key.namespace] ?? [] {
            guard let service = services[key], service.selects(pod) else { continue }
            for port in service.ports {
                guard let number = port.number(of: pod) else { continue }
                let spoken = world.spoken(key, port)
                // Several Services may lead to one port. The one that says more is believed, whatever their order.
                guard let other = ports[number], other.certainty >= spoken.certainty else {
                    ports[number] = spoken
                    continue
                }
            }
        }
        let authorizations = world.inForce(world.policies.authorizations, pod)
        return InboundShape(
            namespace: pod.key.namespace, account: pod.account, workload: pod.workload,
            ports: ports.sorted { $0.key < $1.key }.map { InboundShape.Port(number: $0.key, spoken: $0.value) },
            modes: world.policies.modes(of: pod), authorizations: authorizations,
            requests: world.inForce(world.policies.requests, pod),
            authorizers: authorizers(of: authorizations.whole + authorizations.ports.values.joined()),
            isDualStack: world.isDualStack,
            keepsClients: pod.capture.keepsClients)
    }
}

extension PortProtocol {
    /// Which of two is believed.
    fileprivate var certainty: Int {
        switch self {
        case .unknown: 0
        case .http: 1
        case .http2: 2
        case .tcp: 3
        case .serverFirst: 4
        }
    }
}
