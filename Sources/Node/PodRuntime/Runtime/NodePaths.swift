/// Where a node keeps what belongs to its pods. All mount points are under `run`, which is shared with the mount namespace that the
/// OCI runtime lives in; nothing under `state` is ever a mount point.
public struct NodePaths: Sendable, Equatable {
    /// Survives a restart of the machine: checkpoints, emptyDir volumes.
    public var state: String
    /// Lives as long as the machine is up: namespaces, bundles, volumes in memory.
    public var run: String
    /// `pods/NAMESPACE_NAME_UID/CONTAINER/N.log` and `containers/*.log` are below it.
    public var log: String

    public init(state: String, run: String, log: String) {
        self.state = state
        self.run = run
        self.log = log
    }

    func pod(_ uid: String) -> String { "\(state)/pods/\(uid)" }
    func checkpoint(_ uid: String) -> String { "\(pod(uid))/checkpoint.json" }
    func container(_ uid: String, _ name: String) -> String { "\(pod(uid))/containers/\(name)" }
    func diskVolume(_ uid: String, _ name: String) -> String { "\(pod(uid))/volumes/\(name)" }
    func memoryVolumes(_ uid: String) -> String { "\(run)/volumes/\(uid)" }
    func sandbox(_ id: String) -> String { "\(run)/sandboxes/\(id)" }
    func bundle(_ id: String) -> String { "\(run)/containers/\(id)" }
    var runtimeRoot: String { "\(run)/crun" }
    var exits: String { "\(run)/exits" }
    func exitFile(_ id: String) -> String { "\(exits)/\(id)" }
    func podLogs(_ pod: PodIdentity) -> String { "\(log)/pods/\(pod.namespace)_\(pod.name)_\(pod.uid)" }
    func containerLogs(_ pod: PodIdentity, _ container: String) -> String { "\(podLogs(pod))/\(container)" }
    func logFile(_ pod: PodIdentity, _ container: String, attempt: Int64) -> String {
        "\(containerLogs(pod, container))/\(attempt).log"
    }
    /// The flat names by which log collectors find files.
    var flatLogs: String { "\(log)/containers" }
    func flatLog(_ pod: PodIdentity, _ container: String, id: String) -> String {
        "\(flatLogs)/\(pod.name)_\(pod.namespace)_\(container)-\(id).log"
    }
}
