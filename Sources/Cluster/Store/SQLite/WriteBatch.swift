/// What a writer asks for.
enum WriteOperation: Sendable {
    case create(key: String, value: [UInt8])
    case update(key: String, value: [UInt8], expected: Revision)
    case delete(key: String, expected: Revision?)
    case compact(Revision)

    /// Bytes of key and value, for the bounds.
    var sizes: (key: Int, value: Int)? {
        switch self {
        case .create(let key, let value), .update(let key, let value, _): (key.utf8.count, value.count)
        case .delete(let key, _): (key.utf8.count, 0)
        case .compact: nil
        }
    }
}

/// What came of it: the value written, or for a removal the value removed.
struct WriteOutcome: Sendable {
    var written: StoredValue
    /// The write's own revision.
    var revision: Revision
}

struct WriteRequest: Sendable {
    let operation: WriteOperation
    let continuation: CheckedContinuation<Result<WriteOutcome, StoreError>, Never>
}

/// Requests that go to the disk together, judged in the order in which they came.
///
/// A later request sees what an earlier one in the batch will have done. All are answered after the sync: should it fail,
/// none of the answers, also not the refusals, is true.
struct WriteBatch {
    private(set) var changes: [StoreMemory.Change] = []
    private(set) var results: [Result<WriteOutcome, StoreError>] = []
    /// The compaction that goes with it, and the rows that this frees.
    private(set) var compacted: Revision?
    private(set) var dropped: [Revision] = []

    private var pending: [String: StoredValue?] = [:]
    private var revision: Revision

    /// Whether there is nothing for the disk.
    var isEmpty: Bool { changes.isEmpty && compacted == nil }

    /// Events of history dropped beside each write, at least: more than one, so that history shrinks when it is too long.
    private static let compactionStep = 64

    static func judge(
        _ requests: ArraySlice<WriteRequest>, against memory: borrowing StoreMemory, limits: SQLiteStore.Limits
    ) -> WriteBatch {
        var batch = WriteBatch(revision: memory.revision)
        batch.results.reserveCapacity(requests.count)
        for request in requests {
            batch.results.append(Result { () throws(StoreError) in try batch.judge(request.operation, memory) })
        }
        if batch.compacted == nil, !batch.changes.isEmpty {
            batch.compacted = memory.compactionTarget(
                coming: batch.changes.count, maximumEvents: limits.historyEvents, maximumBytes: limits.historyBytes,
                step: batch.changes.count * 2 + Self.compactionStep)
        }
        if let compacted = batch.compacted { batch.dropped = memory.rowsDropped(compactingTo: compacted) }
        return batch
    }

    private init(revision: Revision) { self.revision = revision }

    private mutating func judge(
        _ operation: WriteOperation, _ memory: borrowing StoreMemory
    ) throws(StoreError) -> WriteOutcome {
        switch operation {
        case .create(let key, let value):
            if let present = find(key, memory) { throw .exists(present) }
            return put(key, value, over: nil)
        case .update(let key, let value, let expected):
            let present = find(key, memory)
            guard let present, present.modified == expected else { throw .conflict(present) }
            return put(key, value, over: present)
        case .delete(let key, let expected):
            let present = find(key, memory)
            guard let present, expected == nil || present.modified == expected else { throw .conflict(present) }
            revision = revision.next
            pending[key] = .some(nil)
            changes.append(
                StoreMemory.Change(key: key, value: nil, created: .zero, modified: revision, version: 0))
            return WriteOutcome(written: present, revision: revision)
        case .compact(let target):
            // Compaction concerns what readers have seen: never the batch's own writes.
            guard target <= memory.revision else { throw .futureRevision(target, current: memory.revision) }
            guard target > memory.compacted else { throw .compacted(memory.compacted) }
            compacted = max(target, compacted ?? .zero)
            let nothing = StoredValue(key: "", value: [], created: .zero, modified: target, version: 0)
            return WriteOutcome(written: nothing, revision: target)
        }
    }

    private func find(_ key: String, _ memory: borrowing StoreMemory) -> StoredValue? {
        if let pending = pending[key] { return pending }
        return memory.get(key)
    }

    private mutating func put(_ key: String, _ value: [UInt8], over present: StoredValue?) -> WriteOutcome {
        revision = revision.next
        let written = StoredValue(
            key: key, value: value, created: present?.created ?? revision, modified: revision,
            version: (present?.version ?? 0) + 1)
        pending[key] = written
        changes.append(
            StoreMemory.Change(
                key: key, value: value, created: written.created, modified: revision, version: written.version))
        return WriteOutcome(written: written, revision: revision)
    }
}
