public import Bytes

/// How a pod stands in the mesh, for people.
public struct WorkloadStatus: Sendable {
    public var pod: MeshPod
    /// `spiffe://…`
    public var identity: String
    public var serial: String?
    public var notAfter: Timestamp?
    /// Why there is no newer certificate; nil where the last request was answered.
    public var failure: String?
    /// Connections of the pod's proxy that are handed through to the control plane.
    public var streams: Int
}
