import ClusterAPI
import ClusterClient
import JSON

/// The kinds of `security.istio.io` that the mesh enforces.
enum MeshPolicyKind: String, Hashable, Sendable {
    case peers = "PeerAuthentication"
    case authorization = "AuthorizationPolicy"
    case requests = "RequestAuthentication"

    var resource: GroupVersionResource {
        switch self {
        case .peers: GroupVersionResource(group: "security.istio.io", resource: "peerauthentications")
        case .authorization: GroupVersionResource(group: "security.istio.io", resource: "authorizationpolicies")
        case .requests: GroupVersionResource(group: "security.istio.io", resource: "requestauthentications")
        }
    }
}

/// A policy among those of all kinds.
struct MeshPolicyKey: Hashable, Sendable, CustomStringConvertible {
    var kind: MeshPolicyKind
    var key: ObjectKey

    var description: String { "\(kind.rawValue) \(key)" }
}

/// What a policy of the mesh says: pure, and the same for the same `spec`, so that what is made of it is made once.
protocol MeshPolicy: Hashable, Sendable {
    static var kind: MeshPolicyKind { get }
    var key: ObjectKey { get }
    /// RFC 3339.
    var created: String { get }
    var scope: PolicyScope { get }
    /// Why it is not enforced; nil when it is.
    var problem: String? { get }
    init(_ object: KubeObject)
}

/// A policy as it is stored: what it says, and what its status says of it.
struct StoredPolicy<Policy: MeshPolicy>: APIDecodable {
    let policy: Policy
    let generation: Int64
    let conditions: [JSONValue]
    let resourceVersion: String

    init(_ object: KubeObject) {
        policy = Policy(object)
        generation = object.generation
        conditions = object.status.list("conditions")
        resourceVersion = object.resourceVersion
    }
}

/// Whom a policy is for: pods by their labels, or what it names instead.
struct PolicyScope: Hashable, Sendable {
    enum Target: Hashable, Sendable {
        /// The pods behind it, at the ports that it leads to.
        case service(ObjectKey)
        case gateway(ObjectKey)
    }

    let namespace: String
    /// Empty: the whole namespace; in a root namespace, the whole mesh.
    let selector: [String: String]
    /// Where there are any, the selector says nothing.
    let targets: [Target]
    /// What it names that nothing is known of.
    let problem: String?
    /// It is for all namespaces.
    let isMeshWide: Bool

    /// - Parameter isLocal: With a selector it is for its own namespace, whichever that is.
    init(_ key: ObjectKey, _ spec: JSONValue, isLocal: Bool = false) {
        namespace = key.namespace
        selector = (spec[path: "selector", "matchLabels"]?.object ?? JSONObject()).reduce(into: [:]) {
            $0[$1.key] = $1.value.string ?? ""
        }
        var targets: [Target] = []
        var problem: String?
        for reference in spec.list("targetRefs") + [spec["targetRef"]].compactMap(\.self) {
            let target = reference.target(from: key.namespace)
            switch (reference.text("group"), reference.text("kind")) {
            case _ where target.namespace != key.namespace:
                problem = "targetRefs lead to namespace \(target.namespace); a policy is for its own namespace only"
            case ("", "Service"), ("core", "Service"): targets.append(.service(target))
            case (RouteKind.group, "Gateway"): targets.append(.gateway(target))
            case (_, let kind):
                problem = "targetRefs name a \(kind.isEmpty ? "target without a kind" : kind); use Service or Gateway"
            }
        }
        self.targets = targets
        self.problem = problem
        isMeshWide =
            MeshPolicies.rootNamespaces.contains(key.namespace) && targets.isEmpty && (selector.isEmpty || !isLocal)
    }

    /// It says something of pods by their labels, or of all of them.
    var isBySelector: Bool { targets.isEmpty && problem == nil }

    /// Whether what is there of a namespace, with these labels, is selected.
    func selects(_ labels: [String: String], in namespace: String) -> Bool {
        isBySelector && (namespace == self.namespace || isMeshWide)
            && selector.allSatisfy { labels[$0.key] == $0.value }
    }
}

/// The policies of one kind, by namespace.
struct PolicyTable<Policy: MeshPolicy>: Sendable {
    private var stored: [String: [ObjectKey: StoredPolicy<Policy>]] = [:]

    subscript(key: ObjectKey) -> StoredPolicy<Policy>? { stored[key.namespace]?[key] }

    /// - Returns: What was said before.
    mutating func set(_ policy: StoredPolicy<Policy>?, _ key: ObjectKey) -> Policy? {
        let old = stored[key.namespace]?[key]
        stored[key.namespace, default: [:]][key] = policy
        if stored[key.namespace]?.isEmpty == true { stored[key.namespace] = nil }
        return old?.policy
    }

    func of(_ namespace: String) -> some Sequence<Policy> { (stored[namespace] ?? [:]).values.lazy.map(\.policy) }

    var all: some Sequence<Policy> { stored.values.lazy.flatMap(\.values).map(\.policy) }

    /// Those that may be for what is in a namespace.
    func about(_ namespace: String) -> some Sequence<Policy> {
        MeshPolicies.rootNamespaces.union([namespace]).lazy.flatMap { of($0) }
    }

    /// Of one namespace, the oldest first.
    func oldest(_ namespace: String) -> [Policy] {
        of(namespace).sorted { ($0.created, $0.key) < ($1.created, $1.key) }
    }
}
