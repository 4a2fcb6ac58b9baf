import ClusterAPI
import Reactor
import Store
import Synchronization

/// The recent writes of one resource, in order, and the watchers that wait for the next.
///
/// A watcher is a revision, nothing more: a slow one costs nothing here, and goes on where it was as long as the feed
/// reaches back to it. Filled from the thread on which the store commits.
final class ResourceFeed: Sendable {
    /// Writes kept for watchers to resume from. Beyond, the oldest go; who needs them gets 410 and lists anew.
    static let capacity = 20_000
    /// Bytes of objects that the kept writes may hold. Beyond, the oldest go too.
    static let byteCapacity = 16 << 20
    /// Encodings kept: of so many newest writes.
    private static let encodedWindow = 512

    private struct State {
        var records = Ring<ChangeRecord>()
        /// Every write after this revision, up to the store watch's progress, is in `records`.
        var oldest: Revision
        /// What `records` hold, as `ChangeRecord.cost` counts it.
        var bytes = 0
        /// Waiting watchers by the loop that wakes them.
        var parked: [ObjectIdentifier: Parked] = [:]
    }

    private struct Parked {
        var loop: EventLoop?
        var points: [ObjectIdentifier: WaitPoint] = [:]
    }

    private let state: Mutex<State>
    private let watch = Mutex<(any StoreWatch)?>(nil)

    /// Starts to follow a prefix, from as far back as the store's history reaches.
    init(prefix: String, store: any Store) throws(StoreError) {
        state = Mutex(State(oldest: .zero))
        while true {
            let start = store.compactedRevision
            state.withLock { $0.oldest = start }
            do {
                let length = prefix.utf8.count
                let opened = try store.watch(prefix: prefix, after: start) { [weak self] events in
                    self?.publish(events.map { ChangeRecord($0, prefixLength: length) })
                }
                watch.withLock { $0 = opened }
                return
            } catch .compacted {
                // Compacted between the question and the watch; ask again.
                continue
            }
        }
    }

    /// Everything up to this revision has been published.
    var progress: Revision { watch.withLock { $0?.progress ?? .zero } }

    enum Page {
        /// Writes after the cursor, oldest first.
        case records([ChangeRecord])
        /// The feed no longer reaches back to the cursor; it begins after this revision.
        case expired(Revision)
    }

    func read(after cursor: Revision, limit: Int) -> Page {
        state.withLock { state in
            guard cursor >= state.oldest else { return .expired(state.oldest) }
            let start = Self.firstAfter(cursor, state.records)
            let end = min(state.records.count, start + limit)
            return .records((start..<end).map { state.records[$0] })
        }
    }

    /// Wakes `point` at the next write, or at once when there is one after the cursor already.
    func park(_ point: WaitPoint, after cursor: Revision) {
        let isBehind = state.withLock { state in
            if state.records.count > 0, state.records[state.records.count - 1].revision > cursor { return true }
            let key = point.loop.map(ObjectIdentifier.init) ?? ObjectIdentifier(self)
            state.parked[key, default: Parked(loop: point.loop)].points[ObjectIdentifier(point)] = point
            return false
        }
        if isBehind { point.wake() }
    }

    func unpark(_ point: WaitPoint) {
        let key = point.loop.map(ObjectIdentifier.init) ?? ObjectIdentifier(self)
        _ = state.withLock { $0.parked[key]?.points.removeValue(forKey: ObjectIdentifier(point)) }
    }

    private func publish(_ records: [ChangeRecord]) {
        let woken = state.withLock { state -> [Parked] in
            for record in records {
                state.records.append(record)
                let aged = state.records.count - Self.encodedWindow - 1
                if aged >= 0 { state.records[aged].forgetEncodings() }
                state.bytes += record.cost
                while state.records.count > Self.capacity
                    || (state.bytes > Self.byteCapacity && state.records.count > 1)
                {
                    let gone = state.records.removeFirst()
                    state.bytes -= gone.cost
                    state.oldest = gone.revision
                }
            }
            defer { state.parked.removeAll(keepingCapacity: true) }
            return Array(state.parked.values)
        }
        // One hand-over a loop: the committing thread must not pay for each watcher.
        for group in woken {
            let points = group.points.values
            if let loop = group.loop {
                loop.submit { for point in points { point.wake() } }
            } else {
                for point in points { point.wake() }
            }
        }
    }

    /// The position of the first record after a revision.
    private static func firstAfter(_ cursor: Revision, _ records: borrowing Ring<ChangeRecord>) -> Int {
        var low = 0
        var high = records.count
        while low < high {
            let middle = (low + high) / 2
            if records[middle].revision > cursor { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// Where one watcher sleeps until a write, a deadline, the end of its connection or its cancellation.
final class WaitPoint: Sendable {
    private struct State {
        var sleeper: CheckedContinuation<Void, Never>?
        var isWoken = false
    }
    private let state = Mutex(State())
    /// The loop that the watcher runs on.
    let loop: EventLoop?

    init(loop: EventLoop?) { self.loop = loop }

    /// Ends the present or else the next `sleep`.
    func wake() {
        let sleeper = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard let sleeper = state.sleeper.take() else {
                state.isWoken = true
                return nil
            }
            return sleeper
        }
        sleeper?.resume()
    }

    /// One sleeper at a time.
    func sleep() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isWoken = state.withLock { state in
                    if state.isWoken {
                        state.isWoken = false
                        return true
                    }
                    state.sleeper = continuation
                    return false
                }
                if isWoken { continuation.resume() }
            }
        } onCancel: {
            wake()
        }
    }
}
