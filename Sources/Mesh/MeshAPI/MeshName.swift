/// Names by which the mesh's parts find each other.
public enum MeshName {
    /// The sidecar's container.
    public static let container = "weft-proxy"
    /// The volume that brings the sidecar its sockets, and nothing else.
    public static let volume = "weft-mesh"
    /// The inline CSI driver of that volume: the node itself.
    public static let driver = "mesh.weft.dev"
    /// Where the volume is mounted in the sidecar.
    public static let folder = "/run/weft/mesh"
    /// The volume in which the sidecar writes down what it was told, and where that is mounted.
    public static let stateVolume = "weft-state"
    public static let stateFolder = "/run/weft/state"
    /// In `stateFolder`.
    public static let stateFile = "proxy"
    /// In `folder`: the pod's secrets (SDS).
    public static let secretSocket = "sds.sock"
    /// In `folder`: the control plane's discovery service, as this pod.
    public static let discoverySocket = "xds.sock"
    /// The sidecar's user and group. What this user sends is not captured; under TPROXY, what this group sends.
    public static let user: UInt32 = 1337

    /// Label of a namespace, label or annotation of a pod.
    public static let inject = "mesh.weft.dev/inject"
    /// Annotation of a pod: what injection added, as JSON. A pod is meshed when it has this.
    public static let status = "mesh.weft.dev/status"
}

/// Ports of the sidecar in its pod, which are Istio's.
public enum MeshPort {
    /// On localhost only.
    public static let admin: UInt16 = 15_000
    /// Where captured outgoing connections arrive.
    public static let outbound: UInt16 = 15_001
    /// Where captured incoming connections arrive.
    public static let inbound: UInt16 = 15_006
    /// `/healthz/ready`
    public static let health: UInt16 = 15_021
    /// `/stats/prometheus`
    public static let metrics: UInt16 = 15_090
}

/// Marks of packets in a pod whose sidecar keeps clients' addresses, and the routing table that they ask: Istio's numbers.
public enum MeshMark {
    /// What the sidecar sends in a client's name to its own app, and the app's answers: they stay in the pod.
    public static let transparent: UInt32 = 1337
    /// What the sidecar sends to its own pod as to any other.
    public static let selfCall: UInt32 = 1338
    public static let table: UInt32 = 133
}

/// The addresses from which a node probes its meshed pods; they are on its loopback interface, and no pod can send from them.
public enum ProbeSource {
    public static let v4 = "169.254.7.127"
    public static let v6 = "fd16:9254:7127:1337:ffff:ffff:ffff:ffff"
}
