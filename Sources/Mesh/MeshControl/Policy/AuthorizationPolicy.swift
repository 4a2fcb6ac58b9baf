import ClusterAPI
import JSON

/// What the mesh keeps of an AuthorizationPolicy (`security.istio.io/v1`).
struct AuthorizationPolicy: MeshPolicy {
    enum Action: String, Hashable, Sendable {
        case allow = "ALLOW"
        case deny = "DENY"
        /// Decides nothing: what matches is told in the proxy's access log.
        case audit = "AUDIT"
        /// Somebody else decides, before all the others.
        case custom = "CUSTOM"
    }

    static let kind = MeshPolicyKind.authorization

    let key: ObjectKey
    let created: String
    /// Nil for one that is not enforced here.
    let action: Action?
    /// Whom one of the action CUSTOM asks, as the mesh's settings name him.
    let provider: String?
    let problem: String?
    let scope: PolicyScope
    let rules: [JSONValue]
    /// Only told, not done (`istio.io/dry-run`).
    let isDry: Bool

    /// Its rules ask for what only a token tells.
    var usesTokens: Bool {
        rules.contains { rule in
            rule.list("from").contains { source in
                !source.list("source", "requestPrincipals").isEmpty
                    || !source.list("source", "notRequestPrincipals").isEmpty
            } || rule.list("when").contains { $0.text("key").hasPrefix("request.auth.") }
        }
    }

    static let dryRunAnnotation = "istio.io/dry-run"

    init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        let spec = object.json["spec"] ?? .null
        scope = PolicyScope(object.key, spec)
        rules = spec.list("rules")
        isDry = object.json.text("metadata", "annotations", Self.dryRunAnnotation) == "true"
        let action = spec.text("action")
        provider = action == Action.custom.rawValue ? spec.text("provider", "name") : nil
        if let found = scope.problem {
            self.action = nil
            problem = found
        } else if let known = Action(rawValue: action.isEmpty ? "ALLOW" : action) {
            self.action = known
            problem = nil
        } else {
            self.action = nil
            problem = "action \(action) is not supported; use ALLOW, DENY, AUDIT or CUSTOM"
        }
    }
}
