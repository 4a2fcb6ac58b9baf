/// Why a text is not JSON, and where.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    public var reason: String
    /// Bytes from the start.
    public var offset: Int
    /// Counted from 1.
    public var line: Int

    public var description: String { "line \(line), byte \(offset): \(reason)" }
}

/// Bounds of what is read; beyond any of them the text is refused.
public struct JSONLimits: Sendable {
    /// Levels of arrays and objects.
    public var depth = 128
    /// Bytes of text.
    public var size = Int(Int32.max)

    public init() {}
    public init(depth: Int = 128, size: Int = Int(Int32.max)) {
        self.depth = depth
        self.size = size
    }

    public static let `default` = JSONLimits()
}
