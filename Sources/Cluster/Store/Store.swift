// Revisioned keys and values with etcd's semantics. Knows nothing of kinds.

/// Keys and values under one global revision, as etcd keeps them: what the API server rests on.
///
/// Every write that happens raises the revision by exactly one, and everybody sees the writes in that order. Keys
/// compare as Swift strings do, which for ASCII is byte by byte. An acknowledged write survives the death of the process and of the machine.
///
/// All calls may come from any thread; the asynchronous ones resume on the caller's executor.
public protocol Store: Sendable {
    /// The revision of the newest write that readers can see.
    var currentRevision: Revision { get }

    /// History up to and including this revision is gone: reads at an older one and watches from one fail.
    var compactedRevision: Revision { get }

    /// The value of a key now, or as it was at a revision. Nil when there was none.
    /// - Throws: `.compacted`, `.futureRevision`, `.closed`.
    func get(_ key: String, at revision: Revision?) async throws(StoreError) -> StoredValue?

    /// The values whose keys start with `prefix`, in key order.
    /// - Parameters:
    ///   - start: only keys strictly greater than this one, which is how the next page begins.
    ///   - limit: at most so many values; nil for all.
    ///   - revision: as things were then; nil for now.
    /// - Throws: `.compacted`, `.futureRevision`, `.closed`.
    func range(
        prefix: String, after start: String?, limit: Int?, at revision: Revision?
    ) async throws(StoreError) -> StoredRange

    /// Writes a key that must not exist.
    /// - Throws: `.exists` with what is there; `.full`, `.tooLarge`, `.failed`, `.closed` with nothing changed.
    func create(_ key: String, _ value: [UInt8]) async throws(StoreError) -> StoredValue

    /// Writes a key whose last write must be `expected`.
    /// - Throws: `.conflict` with what is there now, nil when the key is gone; else as `create`.
    func update(_ key: String, _ value: [UInt8], expecting expected: Revision) async throws(StoreError) -> StoredValue

    /// Removes a key, if given only when its last write was `expected`. Returns what was there, under the revision of
    /// the removal itself as second value.
    /// - Throws: `.conflict` as `update`, also when there is no such key.
    func delete(
        _ key: String, expecting expected: Revision?
    ) async throws(StoreError) -> (removed: StoredValue, revision: Revision)

    /// Delivers every write under `prefix` after a revision: first those that history holds, then new ones as they happen,
    /// each once and in order, never two calls at a time.
    ///
    /// `deliver` runs on the thread that commits: it must be short, must not block, and must not call the store.
    /// - Throws: `.compacted` when history no longer reaches back to `revision`; `.closed`.
    func watch(
        prefix: String, after revision: Revision, deliver: @escaping @Sendable ([StoreEvent]) -> Void
    ) throws(StoreError) -> any StoreWatch

    /// Forgets history up to and including `revision`. Current values stay.
    /// - Throws: `.compacted` when that has happened already, `.futureRevision`; else as `create`.
    func compact(to revision: Revision) async throws(StoreError)

    /// Answers what was asked, refuses what comes later, and lets go of the file. May be called again.
    func close()
}

extension Store {
    /// The value of a key now.
    public func get(_ key: String) async throws(StoreError) -> StoredValue? { try await get(key, at: nil) }

    /// All values under a prefix now.
    public func range(prefix: String) async throws(StoreError) -> StoredRange {
        try await range(prefix: prefix, after: nil, limit: nil, at: nil)
    }
}

/// A running watch. Ends when cancelled or released.
public protocol StoreWatch: AnyObject, Sendable {
    /// Every event of this watch up to this revision has been delivered.
    var progress: Revision { get }

    /// No delivery starts after this returns.
    func cancel()
}
