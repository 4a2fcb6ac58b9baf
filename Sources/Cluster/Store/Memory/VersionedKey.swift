/// A key and its past: the newest write first, older ones behind it as far as history reaches.
///
/// Guarded by the lock of the `StoreMemory` that holds it.
final class VersionedKey {
    let key: String
    var newest: KeyVersion

    init(key: String, newest: KeyVersion) {
        self.key = key
        self.newest = newest
    }

    /// What the key held when the store was at `revision`; nil when it was absent then.
    func value(at revision: Revision) -> StoredValue? {
        var candidate: KeyVersion? = newest
        while let version = candidate, version.modified > revision { candidate = version.previous }
        return candidate.flatMap(stored)
    }

    /// What the key holds now.
    var current: StoredValue? { stored(newest) }

    func stored(_ version: KeyVersion) -> StoredValue? {
        guard let value = version.value else { return nil }
        return StoredValue(
            key: key, value: value, created: version.created, modified: version.modified, version: version.version)
    }

    /// One write as a watch shows it.
    func event(_ version: KeyVersion) -> StoreEvent? {
        let previous = version.previous.flatMap(stored)
        if let value = stored(version) { return .put(value, previous: previous) }
        return previous.map { .delete(key: key, revision: version.modified, previous: $0) }
    }
}

/// What one write made of a key.
final class KeyVersion {
    /// Nil: the write removed the key.
    let value: [UInt8]?
    let created: Revision
    let modified: Revision
    let version: Int64
    /// What the write replaced, while history holds the write.
    var previous: KeyVersion?

    init(value: [UInt8]?, created: Revision, modified: Revision, version: Int64, previous: KeyVersion?) {
        self.value = value
        self.created = created
        self.modified = modified
        self.version = version
        self.previous = previous
    }

    // A key that changed very often would be released link by link on the stack.
    deinit {
        var next = previous.take()
        while let version = next, isKnownUniquelyReferenced(&next) { next = version.previous.take() }
    }
}
