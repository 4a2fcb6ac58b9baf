/// A point in the store's one order of writes. The empty store is at 1; each write adds one; it never goes back.
public struct Revision: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public var rawValue: Int64

    public init(rawValue: Int64) { self.rawValue = rawValue }

    /// Before anything: a watch after it begins with the first write, if history still has it.
    public static let zero = Revision(rawValue: 0)
    /// The empty store.
    public static let first = Revision(rawValue: 1)

    /// The revision of the next write.
    public var next: Revision { Revision(rawValue: rawValue + 1) }

    public var description: String { String(rawValue) }

    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}
