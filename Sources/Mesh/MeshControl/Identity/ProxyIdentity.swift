import ClusterAPI
import MeshIdentity

/// Which proxy is at the other end of a stream, proven: its account by its certificate, its pod by what it says of itself and what the
/// cluster knows of that pod.
public struct ProxyIdentity: Hashable, Sendable {
    /// What a proxy is there for: the first part of its node's name.
    public enum Kind: String, Sendable {
        /// Beside one pod's application.
        case sidecar
        /// A gateway.
        case router
    }

    public var kind: Kind
    public var pod: ObjectKey
    public var serviceAccount: String

    public var namespace: String { pod.namespace }

    public init(kind: Kind, pod: ObjectKey, serviceAccount: String) {
        (self.kind, self.pod, self.serviceAccount) = (kind, pod, serviceAccount)
    }

    /// From a node's name, `sidecar~cart-7.shop`; what Istio's proxies send besides (`sidecar~10.0.0.7~cart-7.shop~shop.svc.cluster.local`)
    /// is understood too. Nil for any other name.
    static func named(_ id: String) -> (kind: Kind, pod: ObjectKey)? {
        let parts = id.split(separator: "~", omittingEmptySubsequences: false)
        guard parts.count == 2 || parts.count == 4, let kind = Kind(rawValue: String(parts[0])) else { return nil }
        let place = parts[parts.count == 2 ? 1 : 2]
        // A pod's name may have dots, a namespace's may not.
        guard let dot = place.lastIndex(of: "."), dot != place.startIndex, place.index(after: dot) != place.endIndex
        else { return nil }
        return (
            kind, ObjectKey(namespace: String(place[place.index(after: dot)...]), name: String(place[..<dot]))
        )
    }
}
