/// A transport port in host order.
public struct Port: RawRepresentable, Hashable, Sendable, Comparable, ExpressibleByIntegerLiteral {
    public var rawValue: UInt16

    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }
    @inlinable public init(_ value: UInt16) { self.rawValue = value }
    @inlinable public init(integerLiteral value: UInt16) { self.rawValue = value }

    /// From decimal text 0…65535.
    public init?(_ text: some StringProtocol) {
        guard let value = UInt16(decimal: text.utf8) else { return nil }
        self.rawValue = value
    }

    @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

extension Port: CustomStringConvertible {
    public var description: String { String(rawValue) }
}
