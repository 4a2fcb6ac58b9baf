import ClusterAPI
import Discovery
import GRPC
import TLS
import XDS

/// What a proxy sees, by who it is. Called on the loop for a stream's first request, with the cluster read.
extension MeshControlPlane {
    /// What a proxy sees that has proven who it is. A sidecar that can ask by name for what it calls is told only of what is its own
    /// before it asks.
    ///
    /// - Throws: What ends the stream.
    func scopes(of proxy: ProxyIdentity, _ node: ProxyNode) throws(GRPCEnding) -> ServedView {
        guard proxy.kind == .sidecar else { return ServedView(try scopes(ofGateway: proxy) + [self[.everybody]]) }
        let own = [try ownScope(of: proxy.pod)]
        // What a namespace has of its own stands before what all have.
        let mesh = [self[.namespace(proxy.namespace)], self[.sidecars], self[.members], self[.everybody]]
        let asks = node.features.contains(ListenersOnDemand.feature)
        return asks ? ServedView(own, onDemand: mesh) : ServedView(own + mesh)
    }

    /// Of whom may be told to who asks after the state of clients: nodes, and those who ask over plain text, see all; a workload sees the
    /// proxies of its own account.
    func clients(seenBy peer: TLSSession.Peer?) throws(GRPCEnding) -> (ProxyNode) -> Bool {
        guard let peer, case .workload(let identity) = try authenticate(peer) else { return { _ in true } }
        return { [model] node in
            guard let pod = ProxyIdentity.named(node.id)?.pod, pod.namespace == identity.namespace else { return false }
            return model.world.pods[pod]?.account == identity.serviceAccount
        }
    }

    /// A gateway sees its own listeners and clusters; its private keys only where it has proven whose it is.
    private func scopes(ofGateway proxy: ProxyIdentity) throws(GRPCEnding) -> [ServedScope] {
        let account = ObjectKey(namespace: proxy.namespace, name: proxy.serviceAccount)
        guard let scopes = gateways.scopes(ofAccount: account) else {
            throw GRPCEnding(.permissionDenied, "account \(account) is that of no Gateway")
        }
        return [scopes.resources, scopes.secrets]
    }

    /// The scopes of one that came over plain text, where nobody is asked who he is: gRPC's clients, proxies of other makers, and
    /// sidecars, which are believed.
    func scopes(ofUnknown node: ProxyNode) throws(GRPCEnding) -> ServedView {
        if node.userAgent.hasPrefix("gRPC") { return [self[.clients], self[.strangers], self[.everybody]] }
        guard let (kind, pod) = ProxyIdentity.named(node.id) else { return [self[.strangers], self[.everybody]] }
        if kind == .router {
            guard let gateway = gateways.gateway(of: node), let scopes = gateways.scopes(of: gateway) else {
                throw GRPCEnding(.permissionDenied, "cluster \(node.cluster) is that of no Gateway")
            }
            return [scopes.resources, self[.everybody]]
        }
        return try scopes(of: ProxyIdentity(kind: kind, pod: pod, serviceAccount: ""), node)
    }
}
