import ClusterAPI
import ClusterClient
import JSON
import Reactor

/// Keeps one object in every namespace that is not being deleted.
private func keepInEveryNamespace(
    _ context: ControllerContext, _ resource: GroupVersionResource, named name: String, _ queue: WorkQueue<ObjectKey>
) {
    context.informers[.namespaces].onEvent { event in
        switch event {
        case .added(let key, let namespace), .updated(let key, _, let namespace):
            if !namespace.isTerminating { queue.add(key) }
        case .deleted, .synced: break
        }
    }
    context.informers[resource].onEvent { event in
        switch event {
        case .deleted(let key, _), .updated(let key, _, _):
            if key.name == name { queue.add(ObjectKey(name: key.namespace)) }
        case .added, .synced: break
        }
    }
}

/// Every namespace has a ServiceAccount `default`.
final class ServiceAccountController: Controller {
    let name = "serviceaccount-controller"
    private let context: ControllerContext
    private let queue: WorkQueue<ObjectKey>

    init(_ context: ControllerContext) {
        self.context = context
        queue = WorkQueue(loop: context.loop)
        keepInEveryNamespace(context, .serviceAccounts, named: "default", queue)
    }

    func run() async { await reconcile(name, queue, workers: 2, log: context.log, sync) }

    private func sync(_ namespace: ObjectKey) async throws -> ReconcileResult {
        let key = ObjectKey(namespace: namespace.name, name: "default")
        guard let object = context.informers[.namespaces].get(namespace), !object.isTerminating,
            context.informers[.serviceAccounts].get(key) == nil
        else { return .done }
        try await createUnlessThere(
            context.client, .serviceAccounts,
            KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: key.namespace, name: key.name))
        return .done
    }
}

/// Every namespace has the authority of the API server's certificate, for pods to mount.
final class RootCAController: Controller {
    let name = "root-ca-certificate-publisher-controller"
    private let context: ControllerContext
    private let queue: WorkQueue<ObjectKey>
    private let rootCA: String

    static let configMap = "kube-root-ca.crt"

    init(_ context: ControllerContext, rootCA: String) {
        self.context = context
        self.rootCA = rootCA
        queue = WorkQueue(loop: context.loop)
        keepInEveryNamespace(context, .configMaps, named: Self.configMap, queue)
    }

    func run() async { await reconcile(name, queue, workers: 2, log: context.log, sync) }

    private func sync(_ namespace: ObjectKey) async throws -> ReconcileResult {
        let key = ObjectKey(namespace: namespace.name, name: Self.configMap)
        guard let object = context.informers[.namespaces].get(namespace), !object.isTerminating else { return .done }
        if var existing = context.informers[.configMaps].get(key) {
            guard existing.json["data"] != ["ca.crt": .string(rootCA)] else { return .done }
            existing.json["data"] = ["ca.crt": .string(rootCA)]
            try await context.client.update(.configMaps, existing)
            return .done
        }
        var map = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: key.namespace, name: key.name)
        map.annotations = [
            "kubernetes.io/description": "Holds the authority that signed the certificate of the Kubernetes API server."
        ]
        map.json["data"] = ["ca.crt": .string(rootCA)]
        try await createUnlessThere(context.client, .configMaps, map)
        return .done
    }
}

/// Creates an object; that it exists, or that its namespace is going, is no failure.
private func createUnlessThere(
    _ client: KubeClient, _ resource: GroupVersionResource, _ object: KubeObject
) async throws {
    do {
        try await client.create(resource, object)
    } catch let error as StatusError where error.reason == .alreadyExists || error.code == 404 || error.code == 403 {}
}
