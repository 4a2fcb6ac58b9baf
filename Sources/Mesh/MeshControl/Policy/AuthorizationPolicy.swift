import ClusterAPI
import ClusterClient
import JSON

/// What the mesh keeps of an AuthorizationPolicy (`security.istio.io/v1`).
struct AuthorizationPolicy: APIDecodable, Hashable {
    enum Action: String, Hashable, Sendable {
        case allow = "ALLOW"
        case deny = "DENY"
    }

    let key: ObjectKey
    /// Nil for one that is not enforced here.
    let action: Action?
    /// Why it is not enforced; nil when it is.
    let problem: String?
    /// Empty: the whole namespace; in a root namespace, the whole mesh.
    let selector: [String: String]
    let rules: [JSONValue]
    /// Only told, not done (`istio.io/dry-run`).
    let isDry: Bool

    static let dryRunAnnotation = "istio.io/dry-run"

    init(_ object: KubeObject) {
        key = object.key
        let spec = object.json["spec"] ?? .null
        selector = MeshPolicies.selector(spec)
        rules = spec.list("rules")
        isDry = object.json.text("metadata", "annotations", Self.dryRunAnnotation) == "true"
        let action = spec.text("action")
        if !spec.list("targetRefs").isEmpty || spec["targetRef"] != nil {
            self.action = nil
            problem = "targetRefs name gateways and waypoints, for which authorization is not built; use selector"
        } else if let known = Action(rawValue: action.isEmpty ? "ALLOW" : action) {
            self.action = known
            problem = nil
        } else {
            self.action = nil
            problem = "action \(action) is not supported; use ALLOW or DENY"
        }
    }
}
