import ClusterAPI
import Discovery
import JSON
import XDS

/// For whom a resource of the whole mesh is.
enum Audience: Hashable {
    /// Whoever asks.
    case everybody
    /// Proxies that have no identity: they speak plain text only.
    case strangers
    /// Sidecars and gateways.
    case members
    case sidecars
    /// gRPC's own, which ask for a listener by the name of what they want to reach.
    case clients
    /// The proxies of one namespace, before what all see.
    case namespace(String)
}

/// What has to be published.
struct MeshChanges {
    private(set) var changes: [Audience: [ServedChange]] = [:]
    /// Pods that may be reached in another way than before.
    var pods: Set<ObjectKey> = []
    var problems: [String] = []

    var audiences: some Collection<Audience> { changes.keys }

    subscript(audience: Audience) -> [ServedChange] { changes[audience] ?? [] }

    mutating func add(_ change: ServedChange, for audience: Audience) { changes[audience, default: []].append(change) }

    /// What the API has no words for is a problem; a number that a route brings along may be more than it can say.
    mutating func add(_ kind: ResourceKind, _ name: String, _ json: JSONValue, for audience: Audience) {
        do throws(ConfigError) {
            add(ServedChange(kind, name, try Message.bytes(of: kind, json)), for: audience)
        } catch { problems.append("\(kind.service) \(name): \(error)") }
    }
}

extension Message {
    /// The bytes of a resource that is written here.
    static func bytes(of kind: ResourceKind, _ json: JSONValue) throws(ConfigError) -> [UInt8] {
        guard let type = Message(kind.rawValue)?.type else { preconditionFailure("no type \(kind.rawValue)") }
        return try Message(json: json, type: type).binary()
    }
}
