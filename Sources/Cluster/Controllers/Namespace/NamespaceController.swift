import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor

/// Empties a namespace that is being deleted, then lets it go: pods first, then everything else (KEP-5080).
final class NamespaceController: Controller {
    let name = "namespace-controller"
    private let context: ControllerContext
    private let namespaces: Informer<KubeObject>
    private let queue: WorkQueue<ObjectKey>

    init(_ context: ControllerContext) {
        self.context = context
        namespaces = context.informers[.namespaces]
        let queue = WorkQueue<ObjectKey>(loop: context.loop)
        self.queue = queue
        namespaces.onEvent { event in
            switch event {
            case .added(let key, let namespace), .updated(let key, _, let namespace):
                if namespace.isTerminating { queue.add(key) }
            case .deleted, .synced: break
            }
        }
    }

    func run() async { await reconcile(name, queue, workers: 10, log: context.log, sync) }

    /// How soon a namespace with contents is looked at again: objects are on their way out.
    static let recheck: Duration = .milliseconds(200)

    private func sync(_ key: ObjectKey) async throws -> ReconcileResult {
        guard let namespace = namespaces.get(key), namespace.isTerminating else { return .done }
        guard namespace.spec["finalizers"]?.array?.contains("kubernetes") == true else { return .done }
        let (resources, discoveryFailure) = await namespacedResources()
        var remaining: [(resource: GroupVersionResource, objects: [KubeObject])] = []
        var failure: String?
        // Pods first: what they use must outlive them.
        for batch in [resources.filter { $0 == .pods }, resources.filter { $0 != .pods }] {
            guard remaining.isEmpty else { break }
            for resource in batch {
                do {
                    let left = try await empty(resource, of: key.name)
                    if !left.isEmpty { remaining.append((resource, left)) }
                } catch {
                    failure = "Failed to delete all resource types, \(resource.groupResource): \(error)"
                }
            }
        }
        try await report(namespace, remaining, failure, discoveryFailure)
        guard remaining.isEmpty, failure == nil, discoveryFailure == nil else { return .again(after: Self.recheck) }
        var finalized = try await context.client.get(.namespaces, key)
        guard finalized.uid == namespace.uid else { return .done }
        finalized.spec["finalizers"] = .array(
            (finalized.spec["finalizers"]?.array ?? []).filter { $0.string != "kubernetes" })
        do {
            try await context.client.update(.namespaces, finalized, subresource: "finalize")
        } catch let error as StatusError where error.code == 404 {}
        return .done
    }

    /// Every namespaced resource that can be listed and deleted, by the server's own discovery.
    private func namespacedResources() async -> ([GroupVersionResource], failure: String?) {
        do {
            var groupVersions = ["v1"]
            let groups = try await context.client.discovery("/apis")
            for group in groups["groups"]?.array ?? [] {
                if let version = group["preferredVersion"]?["groupVersion"]?.string { groupVersions.append(version) }
            }
            var resources: [GroupVersionResource] = []
            for groupVersion in groupVersions {
                let path = groupVersion == "v1" ? "/api/v1" : "/apis/\(groupVersion)"
                let parts = groupVersion.split(separator: "/")
                for entry in try await context.client.discovery(path)["resources"]?.array ?? [] {
                    let verbs = entry["verbs"]?.array ?? []
                    guard entry["namespaced"]?.bool == true, let name = entry["name"]?.string, !name.contains("/"),
                        verbs.contains("list"), verbs.contains("delete")
                    else { continue }
                    resources.append(
                        GroupVersionResource(
                            group: parts.count == 2 ? String(parts[0]) : "", version: String(parts[parts.count - 1]),
                            resource: name))
                }
            }
            return (resources, nil)
        } catch {
            return ([], "Discovery failed: \(error)")
        }
    }

    /// Deletes everything of a resource in the namespace.
    ///
    /// - Returns: what is still there, held by finalizers or by a grace period.
    private func empty(_ resource: GroupVersionResource, of namespace: String) async throws -> [KubeObject] {
        let objects = try await context.client.list(resource, namespace: namespace).items
        guard !objects.isEmpty else { return [] }
        let client = context.client
        try await concurrently(objects.filter { !$0.isTerminating }) { object in
            do {
                try await client.delete(resource, object.key, uid: object.uid, propagation: .background)
            } catch let error as StatusError where error.code == 404 || error.code == 409 {}
        }
        return try await context.client.list(resource, namespace: namespace).items
    }

    private func report(
        _ namespace: KubeObject, _ remaining: [(resource: GroupVersionResource, objects: [KubeObject])],
        _ failure: String?, _ discoveryFailure: String?
    ) async throws {
        let now = context.now()
        var conditions = namespace.status["conditions"]?.array ?? []
        func set(_ type: String, _ holds: Bool, _ bad: (reason: String, message: String), good: (String, String)) {
            conditions = settingCondition(
                conditions, type, ConditionStatus(holds), reason: holds ? bad.reason : good.0,
                message: holds ? bad.message : good.1,
                now: now)
        }
        set(
            "NamespaceDeletionDiscoveryFailure", discoveryFailure != nil, ("DiscoveryFailed", discoveryFailure ?? ""),
            good: ("ResourcesDiscovered", "All resources successfully discovered"))
        set(
            "NamespaceDeletionContentFailure", failure != nil, ("ContentDeletionFailed", failure ?? ""),
            good: ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"))
        let counts = remaining.map { "\($0.resource.groupResource). has \($0.objects.count) resource instances" }
        set(
            "NamespaceContentRemaining", !remaining.isEmpty,
            ("SomeResourcesRemain", "Some resources are remaining: \(counts.joined(separator: ", "))"),
            good: ("ContentRemoved", "All content successfully removed"))
        var finalizers: [String: Int] = [:]
        for finalizer in remaining.flatMap(\.objects).flatMap(\.finalizers) { finalizers[finalizer, default: 0] += 1 }
        let holders = finalizers.sorted { $0.key < $1.key }.map { "\($0.key) in \($0.value) resource instances" }
        set(
            "NamespaceFinalizersRemaining", !finalizers.isEmpty,
            (
                "SomeFinalizersRemain",
                "Some content in the namespace has finalizers remaining: \(holders.joined(separator: ", "))"
            ),
            good: ("ContentHasNoFinalizers", "All content-preserving finalizers finished"))
        guard conditions != namespace.status["conditions"]?.array ?? [] else { return }
        do {
            try await context.client.patch(
                .namespaces, namespace.key, .merge, ["status": ["conditions": .array(conditions)]],
                subresource: "status")
        } catch let error as StatusError where error.code == 404 {}
    }
}
