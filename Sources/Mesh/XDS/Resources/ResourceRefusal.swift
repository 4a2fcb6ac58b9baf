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

extension ResourceKind {
    /// Bytes of the text that says what is wrong, at most.
    static let reasonLimit = 16 << 10

    /// Why not all of what a source said is used, as Envoy says it.
    public func rejection(of refusals: [ResourceRefusal]) -> String {
        var text = "Error adding/updating \(noun)(s) "
        for (index, refusal) in refusals.enumerated() {
            guard text.utf8.count < Self.reasonLimit else {
                text += ", and \(refusals.count - index) more"
                break
            }
            if index > 0 { text += ", " }
            text += refusal.name.isEmpty ? refusal.reason : "\(refusal.name): \(refusal.reason)"
        }
        return text
    }
}
