import Discovery
import GRPC

/// What a proxy sees, by who it is.
extension MeshControlPlane {
    /// The scopes of a proxy that has proven who it is; where two have a name in common, the first wins. Called on the loop for a
    /// stream's first request, with the cluster read.
    ///
    /// - Throws: What ends the stream.
    func scopes(of proxy: ProxyIdentity, _ node: ProxyNode) throws(GRPCEnding) -> [ServedScope] { [shared] }

    /// The scopes of one that came over plain text, where nobody is asked who he is.
    func scopes(ofUnknown node: ProxyNode) -> [ServedScope] {
        node.userAgent.hasPrefix("gRPC") ? [listeners, shared] : [shared]
    }
}
