import XDS

/// A set of resources that a group of proxies sees: the whole mesh, a gateway, or one proxy alone. Proxies see several; where
/// two have a name in common, the first that the proxy was given wins.
///
/// Belongs to the loop of its `DiscoveryServer`, through which alone it is changed.
public final class ServedScope {
    public let name: String
    /// By kind, then by the number of the name.
    private(set) var resources: [ResourceKind: [Int: ServedResource]] = [:]
    /// Of each kind all fingerprints and names together: whether two states of the world are the same.
    private(set) var fingerprints: [ResourceKind: UInt64] = [:]
    /// The sessions that see it.
    var sessions: [ObjectIdentifier: DiscoverySession] = [:]

    public init(_ name: String) { self.name = name }

    func resource(_ kind: ResourceKind, _ id: Int) -> ServedResource? { resources[kind]?[id] }

    /// - Returns: Whether anything changed.
    func set(_ kind: ResourceKind, _ id: Int, _ resource: ServedResource?) -> Bool {
        let old = resources[kind]?[id]
        guard old?.fingerprint != resource?.fingerprint else { return false }
        resources[kind, default: [:]][id] = resource
        for part in [old, resource].compactMap(\.self) {
            // Exclusive or: neither order nor history matter.
            fingerprints[kind, default: 0] ^= ServedResource.hash(part.name.utf8, from: part.fingerprint)
        }
        return true
    }
}

/// What changes in a scope at one time.
public struct ServedChange: Sendable {
    public var kind: ResourceKind
    public var name: String
    /// The resource's message; nil takes it away.
    public var message: [UInt8]?

    public init(_ kind: ResourceKind, _ name: String, _ message: [UInt8]?) {
        self.kind = kind
        self.name = name
        self.message = message
    }
}
