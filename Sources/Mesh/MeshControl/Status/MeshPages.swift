public import ClusterAPI
public import JSON
import Reactor
import Synchronization

/// What the API server tells of the mesh under `/mesh/`, for `weft` and for people:
///
///     /mesh/proxies                 each connected proxy, and how far it is with each kind of resource
///     /mesh/proxies/NAMESPACE/POD   one pod's
///     /mesh/workloads/NAMESPACE/POD how a pod may be reached, and by whom: its identity, modes and AuthorizationPolicies
public final class MeshPages: Sendable {
    private let plane = Mutex<MeshControlPlane?>(nil)

    public init() {}

    /// From now on this one is asked.
    public func attach(_ plane: MeshControlPlane) { self.plane.withLock { $0 = plane } }

    /// - Parameter path: the segments of the request's path, `mesh` first.
    public func page(_ path: [String]) async throws(StatusError) -> JSONValue {
        guard let plane = plane.withLock({ $0 }) else {
            throw .serviceUnavailable("the mesh's control plane is not running here: weft-control serves no proxies")
        }
        switch (path.dropFirst().first, path.count) {
        case (nil, _): return ["paths": ["/mesh/proxies", "/mesh/workloads"]]
        case ("proxies", 2): return ["proxies": .array(await Self.proxies(of: plane).map(\.json))]
        case ("proxies", 4):
            let found = await Self.proxies(of: plane).filter {
                $0.pod == ObjectKey(namespace: path[2], name: path[3])
            }
            // A proxy that reconnects has two streams for a moment; the younger one counts.
            guard let one = found.max(by: { $0.since < $1.since }) else {
                throw StatusError(
                    code: 404, reason: .notFound, message: "no proxy of pod \(path[2])/\(path[3]) is connected")
            }
            return one.json
        case ("workloads", 4):
            let key = ObjectKey(namespace: path[2], name: path[3])
            guard let told = try? await plane.loop.perform({ plane.workload(key) }) else {
                throw StatusError(code: 404, reason: .notFound, message: "pod \(key) is not known to the mesh")
            }
            return told
        default: throw .pathNotFound()
        }
    }

    private static func proxies(of plane: MeshControlPlane) async -> [ProxyStatus] {
        let streams = (try? await plane.loop.perform { plane.server.status() }) ?? []
        return streams.map { ProxyStatus($0) }.sorted {
            ($0.pod.namespace, $0.pod.name, $0.id, $0.since)
                < ($1.pod.namespace, $1.pod.name, $1.id, $1.since)
        }
    }
}
