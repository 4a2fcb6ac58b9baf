/// Fills inline CSI volumes (`csi: {driver: NAME}`) on this node: what the runtime asks by name and knows nothing more of.
public protocol VolumeDriver: Sendable {
    /// What `driver` says.
    var name: String { get }

    /// Fills a pod's volume. Called before each start of a container, so that repeating it must cost little and change nothing.
    ///
    /// - Parameter folder: is there, and is what containers see.
    func publish(_ pod: PodSpec, folder: String) async throws

    /// The pod's containers are gone, and its folder will be. Unknown pods are no error.
    func unpublish(_ pod: PodIdentity) async
}
