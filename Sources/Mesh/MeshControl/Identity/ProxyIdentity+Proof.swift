import ClusterAPI
import Discovery
import GRPC
import MeshIdentity

/// Who a proxy is: what it calls itself, held against its certificate and the cluster's pods.
extension MeshControlPlane {
    /// - Throws: PERMISSION_DENIED with what does not fit.
    func identify(_ node: ProxyNode, _ peer: MeshPeer) throws(GRPCEnding) -> ProxyIdentity {
        guard let (kind, pod) = ProxyIdentity.named(node.id) else {
            throw GRPCEnding(
                .permissionDenied,
                "node.id \"\(node.id)\" is neither sidecar~POD.NAMESPACE nor router~POD.NAMESPACE")
        }
        return try ProxyIdentity(kind, pod, peer, pods.get(pod))
    }
}

extension ProxyIdentity {
    /// - Parameter facts: Of that pod; nil where there is none.
    init(_ kind: Kind, _ pod: ObjectKey, _ peer: MeshPeer, _ facts: MeshPod?) throws(GRPCEnding) {
        guard case .workload(let identity) = peer else {
            throw GRPCEnding(.permissionDenied, "a node has no configuration of its own; its pods have")
        }
        func refusal(_ why: String) -> GRPCEnding {
            GRPCEnding(.permissionDenied, "\(identity) is not the proxy of pod \(pod): \(why)")
        }
        guard identity.namespace == pod.namespace else { throw refusal("that is another namespace's") }
        guard let facts else { throw refusal("there is no such pod") }
        guard facts.account == identity.serviceAccount else {
            throw refusal("its service account is \(facts.account)")
        }
        self.init(kind: kind, pod: pod, serviceAccount: facts.account)
    }
}
