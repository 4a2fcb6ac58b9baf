import ClusterAPI
import Reactor
import Synchronization

/// What a controller has asked for and its informer has not shown yet: it must not count, and ask, twice.
final class Expectations: Sendable {
    private struct Pending {
        var creations: Set<String> = []
        var deletions: Set<String> = []
        var since: MonotonicTime
    }

    /// After this long an expectation is given up: the event was missed, and the informer is believed.
    static let lifetime: Duration = .seconds(300)

    private let pending = Mutex<[ObjectKey: Pending]>([:])

    func created(_ uid: String, by owner: ObjectKey) {
        pending.withLock { _ = $0[owner, default: Pending(since: .now())].creations.insert(uid) }
    }

    func deleting(_ uid: String, by owner: ObjectKey) {
        pending.withLock { _ = $0[owner, default: Pending(since: .now())].deletions.insert(uid) }
    }

    /// The informer showed the object.
    func sawCreation(_ uid: String, of owner: ObjectKey) {
        pending.withLock { _ = $0[owner]?.creations.remove(uid) }
    }

    /// The informer showed the object going, or gone; or asking for its deletion failed.
    func sawDeletion(_ uid: String, of owner: ObjectKey) {
        pending.withLock {
            $0[owner]?.deletions.remove(uid)
            $0[owner]?.creations.remove(uid)
        }
    }

    func areFulfilled(for owner: ObjectKey) -> Bool {
        pending.withLock { pending in
            guard let entry = pending[owner] else { return true }
            guard
                entry.creations.isEmpty && entry.deletions.isEmpty
                    || MonotonicTime.now().duration(since: entry.since) > Self.lifetime
            else { return false }
            pending[owner] = nil
            return true
        }
    }

    func forget(_ owner: ObjectKey) { pending.withLock { $0[owner] = nil } }
}
