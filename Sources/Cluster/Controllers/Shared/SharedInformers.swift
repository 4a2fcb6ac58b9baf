public import ClusterAPI
public import ClusterClient
import Synchronization

/// One informer a resource, shared by all controllers of this process: each object is in memory once.
///
/// Controllers ask for informers and add handlers while they are made; `run()` then runs all that were asked for.
public final class SharedInformers: Sendable {
    private let client: KubeClient
    private let informers = Mutex<[GroupVersionResource: Informer<KubeObject>]>([:])

    public init(_ client: KubeClient) { self.client = client }

    public subscript(_ resource: GroupVersionResource) -> Informer<KubeObject> {
        informers.withLock { informers in
            if let informer = informers[resource] { return informer }
            let informer = Informer<KubeObject>(
                client, resource, namespace: resource == .leases ? Self.leaseNamespace : nil,
                selection: resource == .configMaps ? Self.rootCAs : .everything)
            informer.addIndex(Self.byNamespace) { key, _ in [key.namespace] }
            if resource == .pods || resource == .replicaSets {
                informer.addIndex(Self.byController) { _, object in object.controller.map { [$0.uid] } ?? [] }
            }
            if resource == .pods {
                informer.addIndex(Self.byNode) { _, pod in pod.spec["nodeName"]?.string.map { [$0] } ?? [] }
            }
            if resource == .endpointSlices {
                informer.addIndex(Self.byService) { key, slice in
                    slice.label("kubernetes.io/service-name").map { ["\(key.namespace)/\($0)"] } ?? []
                }
            }
            informers[resource] = informer
            return informer
        }
    }

    /// Objects by the uid of the controller that owns them (pods, replica sets).
    static let byController = "controller"
    /// Objects by namespace (all resources).
    static let byNamespace = "namespace"
    /// Pods by node.
    static let byNode = "node"
    /// EndpointSlices by `namespace/name` of their Service.
    static let byService = "service"

    /// Of ConfigMaps, which may be many and big, only those with the cluster's authority are kept.
    private static let rootCAs = Selection(fields: "metadata.name=\(RootCAController.configMap)")
    /// Of Leases, only the nodes' signs of life.
    private static let leaseNamespace = "kube-node-lease"

    /// Runs every informer that was asked for, until cancelled.
    public func run() async {
        let all = informers.withLock { Array($0.values) }
        await withTaskGroup(of: Void.self) { group in
            for informer in all { group.addTask { await informer.run() } }
        }
    }

    /// Returns once every informer that was asked for has synced.
    public func waitForSync() async {
        for informer in informers.withLock({ Array($0.values) }) { await informer.waitForSync() }
    }
}
