/// The whole store as readers see it: current values, and history back to the compacted revision.
///
/// A value under one lock (`SQLiteStore` holds it). Changes only through `apply`, after the disk has them.
struct StoreMemory {
    /// What one retained event costs beyond the values it keeps alive: the objects and links of history itself.
    static let eventOverhead = 160

    private var index = KeyIndex()
    /// Every write after `compacted`, oldest first, one a revision.
    private var history = Ring<Write>()
    private(set) var revision = Revision.first
    private(set) var compacted = Revision.zero
    /// What history costs in bytes: values that were replaced since, and overhead.
    private(set) var historyBytes = 0

    /// A write in history.
    struct Write {
        let key: VersionedKey
        let version: KeyVersion
        /// Bytes that live only for history's sake once this write is in it.
        var cost: Int { StoreMemory.eventOverhead + (version.previous?.value?.count ?? 0) }
    }

    /// A write that the disk has: the next revision's.
    struct Change {
        var key: String
        /// Nil: the key is removed.
        var value: [UInt8]?
        var created: Revision
        var modified: Revision
        var version: Int64
    }

    var keyCount: Int { index.count }
    var historyCount: Int { history.count }

    init() {}

    /// The state at opening, before rows are loaded: nothing, as of the compaction that the file records.
    init(compacted: Revision) {
        self.compacted = compacted
        revision = max(.first, compacted)
    }

    // MARK: Reading

    func get(_ key: String) -> StoredValue? { index[key]?.current }

    func get(_ key: String, at revision: Revision) throws(StoreError) -> StoredValue? {
        try check(revision)
        return index[key]?.value(at: revision)
    }

    func range(
        prefix: String, after start: String?, limit: Int?, at asked: Revision?
    ) throws(StoreError) -> StoredRange {
        if let asked { try check(asked) }
        let shown = asked ?? revision
        var page = StoredRange(values: [], revision: shown, remaining: 0)
        index.walk(prefix: prefix, after: start) { key in
            guard let value = asked == nil ? key.current : key.value(at: shown) else { return true }
            if let limit, page.values.count >= limit { page.remaining += 1 } else { page.values.append(value) }
            return true
        }
        return page
    }

    /// Events under a prefix after a revision, oldest first.
    func events(prefix: String, after: Revision) throws(StoreError) -> [StoreEvent] {
        guard after >= compacted else { throw .compacted(compacted) }
        guard after < revision else { return [] }
        var found: [StoreEvent] = []
        for slot in max(0, Int(after.rawValue - oldestHeld.rawValue + 1))..<history.count {
            let write = history[slot]
            if write.key.key.utf8.starts(with: prefix.utf8), let event = write.key.event(write.version) {
                found.append(event)
            }
        }
        return found
    }

    private func check(_ asked: Revision) throws(StoreError) {
        if asked > revision { throw .futureRevision(asked, current: revision) }
        if asked < compacted { throw .compacted(compacted) }
    }

    /// The revision of history's first slot.
    private var oldestHeld: Revision {
        Revision(rawValue: revision.rawValue - Int64(history.count) + 1)
    }

    // MARK: Changing

    /// Takes a write that is durable.
    mutating func apply(_ change: Change) -> StoreEvent? {
        precondition(change.modified == revision.next, "writes are applied one revision after the other")
        revision = change.modified
        return take(change)
    }

    /// Takes a row read at opening. Rows at or below the compacted revision are current values, later ones history.
    mutating func load(_ change: Change) throws(StoreError) {
        if change.modified <= compacted {
            guard index[change.key] == nil, change.value != nil else {
                throw .unusable("revision \(change.modified) of key \(change.key) should have been compacted away")
            }
            let version = KeyVersion(
                value: change.value, created: change.created, modified: change.modified, version: change.version,
                previous: nil)
            index.insert(VersionedKey(key: change.key, newest: version))
            return
        }
        guard change.modified == revision.next else {
            throw .unusable("revision \(revision.next) is missing; the next row is \(change.modified)")
        }
        revision = change.modified
        _ = take(change)
    }

    private mutating func take(_ change: Change) -> StoreEvent? {
        let known = index[change.key]
        let version = KeyVersion(
            value: change.value, created: change.created, modified: change.modified, version: change.version,
            previous: known?.newest)
        let key: VersionedKey
        if let known {
            known.newest = version
            key = known
        } else {
            key = VersionedKey(key: change.key, newest: version)
            index.insert(key)
        }
        let write = Write(key: key, version: version)
        history.append(write)
        historyBytes += write.cost
        return key.event(version)
    }

    /// The rows that nobody can ask for once history up to `target` is gone: values replaced by writes up to it, and
    /// the removals among those writes.
    func rowsDropped(compactingTo target: Revision) -> [Revision] {
        guard target > compacted else { return [] }
        var rows: [Revision] = []
        for slot in 0..<min(history.count, Int(target.rawValue - oldestHeld.rawValue + 1)) {
            let version = history[slot].version
            if let previous = version.previous, previous.value != nil { rows.append(previous.modified) }
            if version.value == nil { rows.append(version.modified) }
        }
        return rows
    }

    /// Forgets history up to `target`.
    mutating func compact(to target: Revision) {
        guard target > compacted else { return }
        for _ in 0..<min(history.count, Int(target.rawValue - oldestHeld.rawValue + 1)) {
            let write = history.removeFirst()
            historyBytes -= write.cost
            write.version.previous = nil
            if write.version.value == nil, write.key.newest === write.version { index.remove(write.key.key) }
        }
        compacted = target
    }

    /// The newest revision to compact to so that history fits its bounds once `coming` writes are in it, dropping at most
    /// `step` events.
    func compactionTarget(coming: Int, maximumEvents: Int, maximumBytes: Int, step: Int) -> Revision? {
        var events = history.count + coming
        var bytes = historyBytes
        var dropped = 0
        while dropped < min(step, history.count), events > maximumEvents || bytes > maximumBytes {
            bytes -= history[dropped].cost
            events -= 1
            dropped += 1
        }
        return dropped == 0 ? nil : history[dropped - 1].version.modified
    }
}
