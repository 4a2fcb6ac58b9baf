import Synchronization

/// The embedded store: everything in memory for reading, an SQLite file for surviving.
///
/// One thread writes. It takes all requests that wait, judges them in order against memory, and makes them durable with
/// one sync; only then do readers, watchers and the writers themselves see them. Reads and watches never touch the disk.
public final class SQLiteStore: Store {
    /// What the store allows itself.
    public struct Limits: Sendable {
        /// Writes that history keeps for watchers and old reads. Beyond, the oldest go.
        public var historyEvents = 50_000
        /// Bytes that replaced values may hold in memory for history's sake. Beyond, the oldest go.
        public var historyBytes = 24 << 20
        /// Longest key, bytes.
        public var keyBytes = 2048
        /// Largest value, bytes. Above it `.tooLarge`.
        public var valueBytes = 4 << 20
        /// Writes that may wait for the disk. Beyond, `.overloaded`.
        public var waitingWrites = 16_384
        /// Bytes that one transaction takes; what waits beyond goes into the next.
        public var transactionBytes = 16 << 20

        public init() {}
    }

    /// Figures for metrics, since opening.
    public struct Statistics: Sendable {
        public var keys = 0
        public var historyEvents = 0
        public var historyBytes = 0
        /// Transactions, each with one sync.
        public var commits = 0
        /// Writes in them.
        public var writes = 0
        /// Transactions that the disk refused.
        public var failures = 0
    }

    /// What readers, writers and the committing thread share. Outlives the store until that thread has ended.
    private final class Core: Sendable {
        let shared: Mutex<Shared>
        let queue: WriteQueue<WriteRequest>
        let limits: Limits

        init(memory: sending StoreMemory, limits: Limits) {
            shared = Mutex(Shared(memory: memory))
            queue = WriteQueue(capacity: limits.waitingWrites)
            self.limits = limits
        }
    }

    private struct Shared {
        var memory: StoreMemory
        var watches: [Watch] = []
        var commits = 0
        var writes = 0
        var failures = 0
        var isClosed = false
    }

    private let core: Core
    private let writer: Mutex<WriterThread?>

    /// Opens or makes the store's file and reads it into memory.
    /// - Parameters:
    ///   - path: the file; its directory must exist.
    ///   - vfs: SQLite's file system layer to use, for tests that make it fail; nil for the real one.
    /// - Throws: `.unusable` with a sentence for the user: the file is locked by another process, damaged, of a newer
    ///   format, or not a store.
    public init(path: String, limits: Limits = Limits(), vfs: String? = nil) throws(StoreError) {
        let log = try RevisionLog(path: path, vfs: vfs)
        core = Core(memory: try log.load(), limits: limits)
        let committer = Committer(log: log, core: core)
        writer = Mutex(WriterThread { committer.run() })
    }

    deinit { close() }

    public var currentRevision: Revision { core.shared.withLock { $0.memory.revision } }

    public var compactedRevision: Revision { core.shared.withLock { $0.memory.compacted } }

    public var statistics: Statistics {
        core.shared.withLock {
            Statistics(
                keys: $0.memory.keyCount, historyEvents: $0.memory.historyCount, historyBytes: $0.memory.historyBytes,
                commits: $0.commits, writes: $0.writes, failures: $0.failures)
        }
    }

    // MARK: Reading

    public func get(_ key: String, at revision: Revision?) async throws(StoreError) -> StoredValue? {
        try peek(key, at: revision)
    }

    /// `get` for callers that cannot suspend.
    public func peek(_ key: String, at revision: Revision? = nil) throws(StoreError) -> StoredValue? {
        try core.shared.withLock { shared throws(StoreError) in
            if shared.isClosed { throw .closed }
            guard let revision else { return shared.memory.get(key) }
            return try shared.memory.get(key, at: revision)
        }
    }

    public func range(
        prefix: String, after start: String?, limit: Int?, at revision: Revision?
    ) async throws(StoreError) -> StoredRange {
        try core.shared.withLock { shared throws(StoreError) in
            if shared.isClosed { throw .closed }
            return try shared.memory.range(prefix: prefix, after: start, limit: limit, at: revision)
        }
    }

    // MARK: Watching

    public func watch(
        prefix: String, after revision: Revision, deliver: @escaping @Sendable ([StoreEvent]) -> Void
    ) throws(StoreError) -> any StoreWatch {
        let watch = Watch(prefix: prefix, after: revision, deliver: deliver)
        try core.shared.withLock { shared throws(StoreError) in
            if shared.isClosed { throw .closed }
            watch.backlog = try shared.memory.events(prefix: prefix, after: revision)
            watch.backlogEnd = max(revision, shared.memory.revision)
            shared.watches.append(watch)
        }
        core.queue.nudge()
        return Handle(watch)
    }

    /// What the caller holds: releasing it ends the watch.
    private final class Handle: StoreWatch {
        let watch: Watch
        init(_ watch: Watch) { self.watch = watch }
        deinit { watch.cancel() }
        var progress: Revision { watch.progress }
        func cancel() { watch.cancel() }
    }

    // MARK: Writing

    public func create(_ key: String, _ value: [UInt8]) async throws(StoreError) -> StoredValue {
        try await submit(.create(key: key, value: value)).written
    }

    public func update(
        _ key: String, _ value: [UInt8], expecting expected: Revision
    ) async throws(StoreError) -> StoredValue {
        try await submit(.update(key: key, value: value, expected: expected)).written
    }

    public func delete(
        _ key: String, expecting expected: Revision?
    ) async throws(StoreError) -> (removed: StoredValue, revision: Revision) {
        let outcome = try await submit(.delete(key: key, expected: expected))
        return (outcome.written, outcome.revision)
    }

    public func compact(to revision: Revision) async throws(StoreError) {
        _ = try await submit(.compact(revision))
    }

    private func submit(_ operation: WriteOperation) async throws(StoreError) -> WriteOutcome {
        if let (key, size) = operation.sizes {
            guard key <= core.limits.keyBytes else { throw .tooLarge(bytes: key, limit: core.limits.keyBytes) }
            guard size <= core.limits.valueBytes else { throw .tooLarge(bytes: size, limit: core.limits.valueBytes) }
        }
        let result = await withCheckedContinuation { continuation in
            do throws(StoreError) {
                try core.queue.put(WriteRequest(operation: operation, continuation: continuation))
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        return try result.get()
    }

    public func close() {
        core.queue.close()
        let thread = writer.withLock { $0.take() }
        thread?.join()
        core.shared.withLock {
            $0.isClosed = true
            $0.watches = []
        }
    }

    // MARK: The committing thread

    /// Owns the log; lives on the writer's thread until the queue is closed and empty.
    ///
    /// @unchecked: made on one thread, handed over once, used by the writer's thread only.
    private final class Committer: @unchecked Sendable {
        private let log: RevisionLog
        private let core: Core
        /// Set when the disk failed beyond repair by waiting; every later write gets this answer.
        private var broken: StoreError?

        init(log: RevisionLog, core: Core) {
            self.log = log
            self.core = core
        }

        func run() {
            while let taken = core.queue.take() {
                var waiting = taken[...]
                repeat {
                    let size = batchSize(waiting)
                    commit(waiting.prefix(size))
                    waiting = waiting.dropFirst(size)
                } while !waiting.isEmpty
                if broken == nil {
                    do { try log.checkpointIfDue() } catch { broken = error }
                }
            }
            log.checkpoint()
        }

        /// How many requests fit one transaction; at least one.
        private func batchSize(_ waiting: ArraySlice<WriteRequest>) -> Int {
            var bytes = 0
            var count = 0
            for request in waiting {
                bytes += request.operation.sizes?.value ?? 0
                if count > 0, bytes > core.limits.transactionBytes { break }
                count += 1
            }
            return count
        }

        private func commit(_ requests: ArraySlice<WriteRequest>) {
            if requests.isEmpty {
                deliver(core.shared.withLock { $0.watches }, [])
                return
            }
            if let broken {
                for request in requests { request.continuation.resume(returning: .failure(broken)) }
                return
            }
            // Only this thread changes memory, so what is judged here still holds when it is applied.
            let batch = core.shared.withLock { shared in
                WriteBatch.judge(requests, against: shared.memory, limits: core.limits)
            }
            if !batch.isEmpty {
                do {
                    try log.append(batch.changes, dropping: batch.dropped, compacted: batch.compacted)
                } catch {
                    core.shared.withLock { $0.failures += 1 }
                    if case .failed = error { broken = error }
                    for request in requests { request.continuation.resume(returning: .failure(error)) }
                    return
                }
            }
            let (watches, events) = core.shared.withLock { shared -> ([Watch], [StoreEvent]) in
                let events = batch.changes.compactMap { shared.memory.apply($0) }
                if let compacted = batch.compacted { shared.memory.compact(to: compacted) }
                shared.commits += batch.isEmpty ? 0 : 1
                shared.writes += batch.changes.count
                shared.watches.removeAll { $0.isCancelled }
                return (shared.watches, events)
            }
            deliver(watches, events)
            for (request, result) in zip(requests, batch.results) { request.continuation.resume(returning: result) }
        }

        private func deliver(_ watches: [Watch], _ events: [StoreEvent]) {
            for watch in watches { watch.take(events) }
        }
    }
}
