import ClusterAPI
import ClusterClient
import JSON

/// Listeners that somebody adds to a Gateway, from his own namespace.
struct MeshListenerSet: APIDecodable, Hashable {
    let key: ObjectKey
    let generation: Int64
    let created: String
    /// Nil where the parent is no Gateway.
    let gateway: ObjectKey?
    let listeners: [MeshListener]
    let status: JSONValue
    let resourceVersion: String

    init(_ object: KubeObject) {
        let key = object.key
        self.key = key
        generation = object.generation
        created = object.creationTimestamp ?? ""
        let parent = object.spec["parentRef"] ?? .null
        let isGateway =
            ["", RouteKind.group].contains(parent.text("group")) && ["", "Gateway"].contains(parent.text("kind"))
        gateway = isGateway ? parent.target(from: key.namespace) : nil
        listeners = object.spec.list("listeners").map { MeshListener($0, of: .set(key)) }
        status = object.status
        resourceVersion = object.resourceVersion
    }

    /// All but the status, which is ours to write.
    func says(_ other: Self) -> Bool {
        generation == other.generation && created == other.created && gateway == other.gateway
            && listeners == other.listeners
    }
}

extension MeshWorld {
    /// The Gateway's ListenerSets that it allows, the oldest first: the order in which they give way to each other.
    func listenerSets(of gateway: MeshGateway) -> [MeshListenerSet] {
        (addedTo[gateway.key] ?? []).compactMap { listenerSets[$0] }.filter { isAllowed($0, gateway) }
            .sorted { ($0.created, $0.key) < ($1.created, $1.key) }
    }

    func isAllowed(_ set: MeshListenerSet, _ gateway: MeshGateway) -> Bool {
        switch gateway.allowedSets {
        case .all: true
        case .none: false
        case .same: set.key.namespace == gateway.key.namespace
        case .selector(let selector): selector.matches(namespaces[set.key.namespace]?.labels ?? [:])
        }
    }
}
