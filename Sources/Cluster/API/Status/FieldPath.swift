/// The place of a field inside an object, written as Kubernetes writes it: `spec.containers[0].ports[1].name`.
public struct FieldPath: Hashable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
    private let text: String

    public init(_ text: String = "") { self.text = text }
    public init(stringLiteral value: String) { text = value }

    /// The field `name` of the object at this path.
    public func child(_ name: String) -> FieldPath { FieldPath(text.isEmpty ? name : "\(text).\(name)") }

    /// The element at `index` of the list at this path.
    public func index(_ index: Int) -> FieldPath { FieldPath("\(text)[\(index)]") }

    /// The value under `key` of the map at this path.
    public func key(_ key: String) -> FieldPath { FieldPath("\(text)[\(key)]") }

    public var description: String { text }
}
