import ClusterAPI
import Synchronization

/// Who owns whom, across all resources. Holds what watches showed; decides nothing.
final class OwnerGraph: Sendable {
    /// An object of any kind.
    struct Identity: Hashable, Sendable, CustomStringConvertible {
        var uid: String
        var description: String { uid }
    }

    struct Resource: Hashable, Sendable {
        var resource: GroupVersionResource
        var kind: String
        var isNamespaced: Bool
    }

    struct Node: Sendable {
        var identity: Identity
        var key: ObjectKey
        var resource: Resource
        var owners: [OwnerReference]
        var finalizers: [String]
        var isTerminating: Bool
    }

    private struct State {
        var nodes: [String: Node] = [:]
        var dependents: [String: Set<String>] = [:]
        var resources: [GroupVersionResource: Resource] = [:]
        var unsynced: Set<GroupVersionResource> = []
    }

    private let state = Mutex(State())

    func watching(_ resource: Resource) {
        state.withLock {
            $0.resources[resource.resource] = resource
            $0.unsynced.insert(resource.resource)
        }
    }

    func synced(_ resource: GroupVersionResource) { state.withLock { _ = $0.unsynced.remove(resource) } }

    var hasSynced: Bool { state.withLock { !$0.resources.isEmpty && $0.unsynced.isEmpty } }

    /// - Returns: what must be looked at because of it.
    func upsert(_ object: OwnedObject, _ key: ObjectKey, _ resource: Resource) -> [Identity] {
        state.withLock { state in
            let old = state.nodes[object.uid]
            let node = Node(
                identity: Identity(uid: object.uid), key: key, resource: resource, owners: object.owners,
                finalizers: object.finalizers, isTerminating: object.isTerminating)
            for owner in old?.owners ?? [] { state.dependents[owner.uid]?.remove(object.uid) }
            for owner in node.owners { state.dependents[owner.uid, default: []].insert(object.uid) }
            state.nodes[object.uid] = node
            let hasWork =
                node.isTerminating
                && (node.finalizers.contains("orphan") || node.finalizers.contains("foregroundDeletion"))
            let isNewlyOwned = !node.owners.isEmpty && old?.owners != node.owners
            return hasWork || isNewlyOwned ? [node.identity] : []
        }
    }

    /// - Returns: what the object owned, and the owners that may have waited for it.
    func remove(_ object: OwnedObject) -> [Identity] {
        state.withLock { state in
            guard let node = state.nodes.removeValue(forKey: object.uid) else { return [] }
            for owner in node.owners {
                state.dependents[owner.uid]?.remove(object.uid)
                if state.dependents[owner.uid]?.isEmpty == true { state.dependents[owner.uid] = nil }
            }
            let owned = (state.dependents[object.uid] ?? []).map { Identity(uid: $0) }
            return owned + node.owners.map { Identity(uid: $0.uid) }
        }
    }

    func node(_ identity: Identity) -> Node? { state.withLock { $0.nodes[identity.uid] } }

    func dependents(_ identity: Identity) -> [Node] {
        state.withLock { state in (state.dependents[identity.uid] ?? []).compactMap { state.nodes[$0] } }
    }

    func hasDependents(_ identity: Identity) -> Bool {
        state.withLock { !($0.dependents[identity.uid] ?? []).isEmpty }
    }

    /// The resource of a kind, whatever version of its group is watched.
    func resource(apiVersion: String, kind: String) -> Resource? {
        guard let type = GroupVersionKind(apiVersion: apiVersion, kind: kind) else { return nil }
        return state.withLock { state in
            state.resources.values.first { $0.kind == kind && $0.resource.group == type.group }
        }
    }
}
