/// What a response changes. Who uses the resources takes it over and says what is refused; then the client is told by
/// `DiscoveryClient.settle`, and only then it holds what was taken, and answers.
public struct DiscoveryDelivery: Sendable {
    /// Of what can be read and is wanted.
    public let update: ResourceUpdate
    /// Wanted, and said not to be.
    public let absent: [String]
    /// What cannot be read.
    public let refused: [ResourceRefusal]

    /// All that can be read and is wanted, also what is as it was.
    let resources: [Resource]
    let lifetimes: [String: Duration]
    let version: String
    let nonce: String
    /// The stream that it came on.
    let stream: UInt64

    public var kind: ResourceKind { update.kind }
}
