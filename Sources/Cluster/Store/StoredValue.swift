/// A key with the value that one write gave it.
public struct StoredValue: Sendable, Hashable {
    public var key: String
    /// Shared, never copied: the store, its history and every reader hold the same bytes.
    public var value: [UInt8]
    /// The write that made the key, since it was last absent.
    public var created: Revision
    /// The write that gave this value.
    public var modified: Revision
    /// How many writes the key has had since it was made; 1 is the first.
    public var version: Int64

    public init(key: String, value: [UInt8], created: Revision, modified: Revision, version: Int64) {
        self.key = key
        self.value = value
        self.created = created
        self.modified = modified
        self.version = version
    }
}

/// A page of values in key order.
public struct StoredRange: Sendable {
    public var values: [StoredValue]
    /// What the page shows: the state of the store at this revision.
    public var revision: Revision
    /// How many further keys follow that the limit cut off.
    public var remaining: Int

    /// Whether the limit cut something off.
    public var more: Bool { remaining > 0 }

    public init(values: [StoredValue], revision: Revision, remaining: Int) {
        self.values = values
        self.revision = revision
        self.remaining = remaining
    }
}

/// One write, as a watch shows it.
public enum StoreEvent: Sendable, Hashable {
    /// A key was made (`previous` is nil) or written.
    case put(StoredValue, previous: StoredValue?)
    /// A key was removed at `revision`; `previous` is what it held.
    case delete(key: String, revision: Revision, previous: StoredValue)

    /// The write's place in the order of all writes.
    public var revision: Revision {
        switch self {
        case .put(let value, _): value.modified
        case .delete(_, let revision, _): revision
        }
    }

    public var key: String {
        switch self {
        case .put(let value, _): value.key
        case .delete(let key, _, _): key
        }
    }
}
