import ClusterAPI
import JSON
import Store
import Synchronization

/// One write of a resource as its watchers see it: shared by all of them, encoded at most once in each encoding.
final class ChangeRecord: Sendable {
    /// The write's revision: the cursor of a watcher that has seen it.
    let revision: Revision
    /// `namespace/name` or `name`.
    let path: String
    /// The object after the write; nil when it was removed.
    let current: StoredObject?
    /// The object before the write, under the write's revision; nil when it was not there.
    let previous: StoredObject?

    private struct Cache {
        var current: JSONValue?
        var previous: JSONValue?
        var frames: [(key: FrameKey, bytes: [UInt8])] = []
    }
    private let cache = Mutex(Cache())

    /// Which frame: the event's type and how it is encoded.
    struct FrameKey: Hashable {
        var kind: WatchKind
        var encoding: ObjectEncoding
        /// Differs from the stored kind for resources that show another's objects.
        var served: GroupVersionKind
    }

    init(_ event: StoreEvent, prefixLength: Int) {
        revision = event.revision
        path = String(event.key.utf8.dropFirst(prefixLength)) ?? event.key
        switch event {
        case .put(let value, let before):
            current = StoredObject(value)
            previous = before.map { StoredObject($0, as: value.modified) }
        case .delete(_, let revision, let before):
            current = nil
            previous = StoredObject(before, as: revision)
        }
    }

    /// Bytes that the record alone may keep alive: what was replaced, and its own objects. The present value is the
    /// store's as well, until it is replaced in turn and counted there.
    var cost: Int { (previous?.bytes.count ?? 0) + 256 }

    /// The object after the write, parsed once for all who look into it.
    func currentJSON() -> JSONValue? {
        guard let current else { return nil }
        return cache.withLock { cache in
            if let parsed = cache.current { return parsed }
            let parsed = try? current.json()
            cache.current = parsed
            return parsed
        }
    }

    /// The object before the write, parsed once.
    func previousJSON() -> JSONValue? {
        guard let previous else { return nil }
        return cache.withLock { cache in
            if let parsed = cache.previous { return parsed }
            let parsed = try? previous.json()
            cache.previous = parsed
            return parsed
        }
    }

    /// The frame for a kind of event in an encoding, made by the first who asks.
    func frame(
        _ kind: WatchKind, _ encoding: ObjectEncoding, _ served: GroupVersionKind, make: (JSONValue) -> [UInt8]
    ) -> [UInt8] {
        let key = FrameKey(kind: kind, encoding: encoding, served: served)
        if let known = cache.withLock({ $0.frames.first { $0.key == key }?.bytes }) { return known }
        guard let object = kind == .deleted ? previousJSON() : currentJSON() else { return [] }
        let made = make(object)
        cache.withLock { cache in
            if !cache.frames.contains(where: { $0.key == key }) { cache.frames.append((key, made)) }
        }
        return made
    }

    /// Lets go of what can be made again: few watchers are that far behind.
    func forgetEncodings() { cache.withLock { $0 = Cache() } }
}

/// The type of a watch event about an object.
enum WatchKind: Hashable, Sendable {
    case added, modified, deleted

    var text: String {
        switch self {
        case .added: "ADDED"
        case .modified: "MODIFIED"
        case .deleted: "DELETED"
        }
    }
}
