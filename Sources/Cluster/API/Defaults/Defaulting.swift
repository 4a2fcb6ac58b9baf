public import JSON

/// The values that fields have when nobody sets them. Pure; what needs allocators or other objects is not done here.
public enum Defaulting {
    /// Fills what is absent in an object of a kind that went through `Conformance`.
    public static func apply(to object: inout JSONValue, of kind: GroupVersionKind) { fatalError("not yet") }
}
