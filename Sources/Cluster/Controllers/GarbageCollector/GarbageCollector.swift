import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Synchronization

/// Deletes what is owned only by what is gone, and carries out the Orphan and Foreground ways of deletion.
///
/// Watches the metadata of every resource that can be listed and deleted. An object goes when each of its owners is gone:
/// absent from the watch and, to be sure, absent (or of another uid) when read live.
final class GarbageCollector: Controller {
    let name = "garbage-collector-controller"
    private let context: ControllerContext
    private let graph = OwnerGraph()
    private let queue: WorkQueue<OwnerGraph.Identity>

    /// How often the server is asked for resources that are new (custom resources, say).
    static let discoveryPeriod: Duration = .seconds(30)

    init(_ context: ControllerContext) {
        self.context = context
        queue = WorkQueue(loop: context.loop)
    }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in await reconcile(name, queue, workers: 8, log: context.log, sync) }
            var watched: Set<GroupVersionResource> = []
            while !Task.isCancelled {
                for resource in await deletableResources() where watched.insert(resource.resource).inserted {
                    let informer = Informer<OwnedObject>(context.client, resource.resource)
                    informer.onEvent { [graph, queue] event in
                        switch event {
                        case .added(let key, let object), .updated(let key, _, let object):
                            graph.upsert(object, key, resource).forEach(queue.add)
                        case .deleted(_, let object): graph.remove(object).forEach(queue.add)
                        case .synced: graph.synced(resource.resource)
                        }
                    }
                    graph.watching(resource)
                    group.addTask { await informer.run() }
                }
                try? await EventLoop.sleep(for: Self.discoveryPeriod)
            }
            group.cancelAll()
        }
    }

    private func deletableResources() async -> [OwnerGraph.Resource] {
        var found: [OwnerGraph.Resource] = []
        do {
            var groupVersions = ["v1"]
            for group in try await context.client.discovery("/apis")["groups"]?.array ?? [] {
                if let version = group["preferredVersion"]?["groupVersion"]?.string { groupVersions.append(version) }
            }
            for groupVersion in groupVersions {
                let path = groupVersion == "v1" ? "/api/v1" : "/apis/\(groupVersion)"
                let parts = groupVersion.split(separator: "/").map(String.init)
                for entry in try await context.client.discovery(path)["resources"]?.array ?? [] {
                    let verbs = entry["verbs"]?.array ?? []
                    guard let plural = entry["name"]?.string, !plural.contains("/"), let kind = entry["kind"]?.string,
                        verbs.contains("list"), verbs.contains("watch"), verbs.contains("delete"),
                        // The same objects are watched as core events.
                        groupVersion != "events.k8s.io/v1"
                    else { continue }
                    found.append(
                        OwnerGraph.Resource(
                            resource: GroupVersionResource(
                                group: parts.count == 2 ? parts[0] : "", version: parts[parts.count - 1],
                                resource: plural),
                            kind: kind, isNamespaced: entry["namespaced"]?.bool ?? false))
                }
            }
        } catch {
            context.log.debug("discovery failed, will ask again", ["controller": name, "error": "\(error)"])
        }
        return found
    }

    private func sync(_ identity: OwnerGraph.Identity) async throws -> ReconcileResult {
        guard let node = graph.node(identity) else { return .done }
        if node.isTerminating {
            if node.finalizers.contains("orphan") { return try await orphanDependents(node) }
            if node.finalizers.contains("foregroundDeletion") { return try await deleteInForeground(node) }
            return .done
        }
        guard !node.owners.isEmpty else { return .done }
        // Before every resource was seen once, an absent owner may only be unknown yet.
        guard graph.hasSynced else { return .again(after: .milliseconds(500)) }
        var dangling: [OwnerReference] = []
        var solid: [OwnerReference] = []
        var waiting: [OwnerReference] = []
        for owner in node.owners {
            if let known = graph.node(OwnerGraph.Identity(uid: owner.uid)) {
                if known.isTerminating, known.finalizers.contains("foregroundDeletion"), owner.blocksOwnerDeletion {
                    waiting.append(owner)
                } else {
                    solid.append(owner)
                }
            } else if try await isGone(owner, of: node) {
                dangling.append(owner)
            } else {
                solid.append(owner)
            }
        }
        if !solid.isEmpty {
            guard !dangling.isEmpty || !waiting.isEmpty else { return .done }
            // Somebody still owns it: only the references to those who are gone go.
            try await patchOwners(node, keeping: solid)
            return .done
        }
        let policy: PropagationPolicy =
            node.finalizers.contains("orphan")
            ? .orphan : (!waiting.isEmpty && graph.hasDependents(node.identity) ? .foreground : .background)
        // The graph may be behind: an object that found another owner meanwhile is none of ours.
        guard let live = try await context.client.find(node.resource.resource, node.key), live.uid == node.identity.uid
        else { return .done }
        guard live.ownerReferences == node.owners else { return .again(after: .milliseconds(100)) }
        do {
            try await context.client.delete(
                node.resource.resource, node.key, uid: live.uid, resourceVersion: live.resourceVersion,
                propagation: policy)
        } catch let error as StatusError where error.code == 409 {
            return .again(after: .milliseconds(100))
        } catch let error as StatusError where error.code == 404 {}
        return .done
    }

    /// Asks the server itself: the watch may be behind, or may not cover the owner's kind.
    private func isGone(_ owner: OwnerReference, of node: OwnerGraph.Node) async throws -> Bool {
        guard let resource = graph.resource(apiVersion: owner.apiVersion, kind: owner.kind) else {
            // A kind that nobody serves (any more) owns nothing that could be judged: keep the object.
            return false
        }
        // A namespaced owner is in the object's own namespace, always.
        let namespace = resource.isNamespaced ? node.key.namespace : ""
        if resource.isNamespaced && namespace.isEmpty { return true }
        let live = try await context.client.find(resource.resource, ObjectKey(namespace: namespace, name: owner.name))
        return live?.uid != owner.uid
    }

    private func orphanDependents(_ node: OwnerGraph.Node) async throws -> ReconcileResult {
        for dependent in graph.dependents(node.identity) {
            try await patchOwners(dependent, keeping: dependent.owners.filter { $0.uid != node.identity.uid })
        }
        try await removeFinalizer("orphan", node)
        return .done
    }

    private func deleteInForeground(_ node: OwnerGraph.Node) async throws -> ReconcileResult {
        let blocking = graph.dependents(node.identity).filter { dependent in
            dependent.owners.contains { $0.uid == node.identity.uid && $0.blocksOwnerDeletion }
        }
        guard !blocking.isEmpty else {
            try await removeFinalizer("foregroundDeletion", node)
            return .done
        }
        for dependent in blocking where !dependent.isTerminating { queue.add(dependent.identity) }
        return .again(after: .milliseconds(500))
    }

    private func patchOwners(_ node: OwnerGraph.Node, keeping owners: [OwnerReference]) async throws {
        do {
            try await context.client.patch(
                node.resource.resource, node.key, .merge,
                ["metadata": ["uid": .string(node.identity.uid), "ownerReferences": .array(owners.map(\.json))]])
        } catch let error as StatusError where error.code == 404 || error.code == 409 || error.code == 422 {}
    }

    private func removeFinalizer(_ finalizer: String, _ node: OwnerGraph.Node) async throws {
        guard var object = try await context.client.find(node.resource.resource, node.key),
            object.uid == node.identity.uid, object.finalizers.contains(finalizer)
        else { return }
        object.finalizers.removeAll { $0 == finalizer }
        try await context.client.update(node.resource.resource, object)
    }
}

/// What the garbage collector keeps of an object.
struct OwnedObject: APIDecodable {
    var uid: String
    var owners: [OwnerReference]
    var finalizers: [String]
    var isTerminating: Bool

    init(_ object: KubeObject) {
        uid = object.uid
        owners = object.ownerReferences
        finalizers = object.finalizers
        isTerminating = object.isTerminating
    }
}
