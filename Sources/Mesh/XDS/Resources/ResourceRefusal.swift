/// A resource that is not used, and why. What was used before under its name stays in use.
public struct ResourceRefusal: Error, Hashable, Sendable {
    /// Empty when not even that could be read.
    public var name: String
    public var reason: String

    public init(_ name: String, _ reason: String) {
        self.name = name
        self.reason = reason
    }
}
