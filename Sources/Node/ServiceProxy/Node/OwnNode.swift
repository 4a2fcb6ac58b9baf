import Bytes
public import ClusterAPI
public import ClusterClient
import JSON

/// What the service proxy needs of the Node object of its own node: a plain value, decoded once.
public struct OwnNode: APIDecodable, Equatable {
    /// `topology.kubernetes.io/zone`, for hints.
    var zone: String?
    /// `spec.podCIDRs`, in their order.
    var podPrefixes: [CIDR]
    /// Internal addresses, then external ones.
    var addresses: [IPAddress]
    /// Whether load balancers may send to this node: it is neither being deleted nor about to be.
    var isEligible: Bool

    static let zoneLabel = "topology.kubernetes.io/zone"
    /// Set by the cluster autoscaler on a node that it will delete.
    static let deletionTaint = "ToBeDeletedByClusterAutoscaler"

    public init(_ object: KubeObject) {
        zone = object.label(Self.zoneLabel).flatMap { $0.isEmpty ? nil : $0 }
        let spec = object.spec
        podPrefixes = (spec["podCIDRs"]?.array ?? []).compactMap { $0.string.flatMap { CIDR($0) } }
        if podPrefixes.isEmpty, let only = spec["podCIDR"]?.string.flatMap({ CIDR($0) }) { podPrefixes = [only] }
        let stated = object.status["addresses"]?.array ?? []
        func addresses(_ type: String) -> [IPAddress] {
            stated.filter { $0["type"]?.string == type }
                .compactMap { $0["address"]?.string.flatMap { IPAddress(sloppy: $0) } }
        }
        self.addresses = addresses("InternalIP") + addresses("ExternalIP")
        let taints = spec["taints"]?.array ?? []
        isEligible = !object.isTerminating && !taints.contains { $0["key"]?.string == Self.deletionTaint }
    }

    /// The primary address of each family, the primary family's first.
    ///
    /// - Parameters:
    ///   - override: wins over the Node object in its family, and makes that family the primary one.
    ///   - fallback: for want of any other.
    static func primaryAddresses(_ node: OwnNode?, override: IPAddress?, fallback: IPAddress?) -> [IPAddress] {
        var primary = override.map { [$0] } ?? []
        for address in node?.addresses ?? [] where !primary.contains(where: { $0.family == address.family }) {
            primary.append(address)
        }
        if primary.isEmpty, let fallback { primary = [fallback] }
        return primary
    }
}
