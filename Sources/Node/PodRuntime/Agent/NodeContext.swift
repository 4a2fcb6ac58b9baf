public import Bytes
import ClusterAPI
import JSON
import Reactor

/// What all pods of a node share: where things are, and whom to ask.
public struct NodeContext: Sendable {
    public var nodeName: String
    public var hostIPs: [String]
    public var paths: NodePaths
    public var clusterDNS: [String]
    public var clusterDomain: String
    /// Root of the pods' cgroups.
    public var cgroupRoot: String
    /// Folders of this machine that containers must not see (keys, state of this node).
    public var hiddenPaths: [String]
    /// All that the node has.
    public var capacity: ResourceRequirements.Amounts
    public var network: any PodNetworking
    public var objects: any PodObjects
    public var events: any PodEvents
    public var loop: EventLoop
    /// Who fills inline CSI volumes.
    public var volumeDrivers: [any VolumeDriver] = []
    /// The address from which a pod is probed, by which its network may know the node's questions from others'; nil: any.
    public var probeSource: @Sendable (PodSpec, IPAddress.Family) -> IPAddress? = { _, _ in nil }

    public init(
        nodeName: String, hostIPs: [String], paths: NodePaths, clusterDNS: [String], clusterDomain: String,
        cgroupRoot: String = "/", hiddenPaths: [String], capacity: ResourceRequirements.Amounts,
        network: any PodNetworking,
        objects: any PodObjects, events: any PodEvents, loop: EventLoop
    ) {
        self.nodeName = nodeName
        self.hostIPs = hostIPs
        self.paths = paths
        self.clusterDNS = clusterDNS
        self.clusterDomain = clusterDomain
        self.cgroupRoot = cgroupRoot
        self.hiddenPaths = hiddenPaths
        self.capacity = capacity
        self.network = network
        self.objects = objects
        self.events = events
        self.loop = loop
    }
}

/// Gives pods their network: the daemon's own allocator, or a chain of CNI plugins.
public protocol PodNetworking: Sendable {
    /// Why no pod can be attached now; nil when all is well.
    func unavailable() async -> String?

    /// Puts an interface into the namespace. Repeating it for the same sandbox gives the same addresses.
    ///
    /// - Returns: the pod's addresses, the main one first.
    func attach(sandbox: String, namespace: String, pod: PodSpec) async throws -> [String]

    /// Takes the interface and its addresses back; no error when there are none.
    func detach(sandbox: String, namespace: String, pod: PodIdentity) async throws
}

/// The API server as pods need it.
public protocol PodObjects: Sendable {
    /// nil when it does not exist.
    func configMap(_ key: ObjectKey) async throws -> JSONValue?
    func secret(_ key: ObjectKey) async throws -> JSONValue?
    /// A token for the pod's service account. `expiration` in seconds.
    func token(for pod: PodSpec, audience: String, expiration: Int64) async throws -> String
    /// All services, for environment variables.
    func services() async -> [ServiceVariables.Service]
    /// Merges into a pod's status.
    ///
    /// - Returns: the pod as it is then; nil when this pod is gone.
    func patchStatus(_ pod: PodIdentity, _ status: JSONValue) async throws -> JSONValue?
    /// Says that nothing of the pod is left, so that its object can go. No error when it is gone already.
    func confirmDeletion(_ pod: PodIdentity) async throws
}

/// Where users are told what happens to pods.
public protocol PodEvents: Sendable {
    func record(_ pod: JSONValue, _ report: PodLifecycle.Report)
}
