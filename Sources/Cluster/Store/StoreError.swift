/// Why the store did not do what it was asked. Unless a case says otherwise, nothing was changed.
public enum StoreError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The key to create is there already.
    case exists(StoredValue)
    /// The key's last write is not the expected one; nil when there is no such key.
    case conflict(StoredValue?)
    /// History up to `compacted` is gone.
    case compacted(Revision)
    /// The revision has not happened yet.
    case futureRevision(Revision, current: Revision)
    /// The value or key exceeds a bound, given in bytes.
    case tooLarge(bytes: Int, limit: Int)
    /// The disk has no space. Writes work again once there is some; nothing acknowledged is lost.
    case full(String)
    /// The disk failed in a way after which the file can only be trusted again by opening it anew. Reads go on. The
    /// refused write may or may not be found after the restart, as after a crash.
    case failed(String)
    /// The file cannot be used: another process has it, it is damaged, or it is something else.
    case unusable(String)
    /// Too many writes wait.
    case overloaded
    /// The store was closed.
    case closed

    public var description: String {
        switch self {
        case .exists(let value): "key \(value.key) exists since revision \(value.created)"
        case .conflict(let value?): "key \(value.key) was last written at revision \(value.modified), not as expected"
        case .conflict(nil): "key does not exist"
        case .compacted(let revision): "history up to revision \(revision) has been compacted"
        case .futureRevision(let revision, let current):
            "revision \(revision) is in the future; the store is at \(current)"
        case .tooLarge(let bytes, let limit): "\(bytes) bytes exceed the limit of \(limit)"
        case .full(let text), .failed(let text), .unusable(let text): text
        case .overloaded: "too many writes are waiting"
        case .closed: "the store is closed"
        }
    }
}
