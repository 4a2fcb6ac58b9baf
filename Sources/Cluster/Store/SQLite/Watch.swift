import Synchronization

/// One watcher of an `SQLiteStore`.
///
/// @unchecked: `backlog` and `backlogEnd` are set once under the store's lock before the writer's thread can see the watch,
/// and are that thread's alone afterwards; the rest is atomic, constant, or guarded by `delivering`.
final class Watch: @unchecked Sendable {
    let prefix: String
    private let deliver: @Sendable ([StoreEvent]) -> Void
    /// Held during a delivery, so that `cancel` can promise that none follows.
    private let delivering = Mutex(false)
    private let delivered: Atomic<Int64>
    /// What history held when the watch began; delivered before anything else.
    var backlog: [StoreEvent] = []
    var backlogEnd: Revision

    init(prefix: String, after revision: Revision, deliver: @escaping @Sendable ([StoreEvent]) -> Void) {
        self.prefix = prefix
        self.deliver = deliver
        delivered = Atomic(revision.rawValue)
        backlogEnd = revision
    }

    var progress: Revision { Revision(rawValue: delivered.load(ordering: .acquiring)) }

    var isCancelled: Bool { delivering.withLock { $0 } }

    func cancel() { delivering.withLock { $0 = true } }

    /// Delivers the backlog if it is still there, then what of `events` is meant for this watch.
    /// Called on the writer's thread.
    func take(_ events: [StoreEvent]) {
        var mine = backlog
        backlog = []
        // A watch from a future revision skips what happens until then.
        let begin = progress
        for event in events where event.revision > begin && event.key.utf8.starts(with: prefix.utf8) {
            mine.append(event)
        }
        if !mine.isEmpty {
            delivering.withLock { cancelled in
                if !cancelled { deliver(mine) }
            }
        }
        let reached = max(backlogEnd, events.last?.revision ?? .zero, begin)
        delivered.store(reached.rawValue, ordering: .releasing)
    }
}
