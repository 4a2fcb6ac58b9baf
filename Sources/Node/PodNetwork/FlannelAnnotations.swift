import Bytes
import JSON

/// A node's end of the tunnel as flannel writes it on the Node object, so that its nodes and ours reach each other's pods.
public enum FlannelAnnotations {
    public static let backendType = "flannel.alpha.coreos.com/backend-type"
    public static let backendData = "flannel.alpha.coreos.com/backend-data"
    public static let publicIP = "flannel.alpha.coreos.com/public-ip"
    public static let kubeSubnetManager = "flannel.alpha.coreos.com/kube-subnet-manager"

    /// What a node publishes about itself.
    public static func write(backend: Backend, address: IPAddress, tunnel: TunnelEndpoint?) -> [String: String] {
        let data: JSONValue =
            switch tunnel {
            case .some(let tunnel) where backend == .vxlan:
                ["VNI": .int(Int64(tunnel.vni)), "VtepMAC": .string(tunnel.hardwareAddress.description)]
            default: .null
            }
        return [
            backendType: backend.rawValue,
            backendData: data.encodedString(),
            publicIP: (tunnel?.publicAddress ?? address).description,
            kubeSubnetManager: "true",
        ]
    }

    /// The tunnel's end that a node's annotations tell of; nil where they tell of none, or what they say cannot be read:
    /// such a node is not reachable by tunnel, and that is all that follows from it.
    public static func tunnel(_ annotations: (String) -> String?) -> TunnelEndpoint? {
        guard annotations(backendType) == Backend.vxlan.rawValue,
            let address = annotations(publicIP).flatMap({ IPAddress($0) }),
            let data = annotations(backendData).flatMap({ try? JSONValue.parse($0) }),
            let mac = data["VtepMAC"]?.string.flatMap({ MACAddress($0) })
        else { return nil }
        // flannel before 0.13 wrote no VNI.
        let vni = data["VNI"]?.int.flatMap { UInt32(exactly: $0) } ?? 1
        return TunnelEndpoint(vni: vni, hardwareAddress: mac, publicAddress: address)
    }
}
