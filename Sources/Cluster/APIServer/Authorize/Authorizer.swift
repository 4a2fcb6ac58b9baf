/// What somebody wants to do, as authorizers see it.
public struct AccessAttributes: Sendable, Hashable {
    /// get, list, watch, create, update, patch, delete, deletecollection; for paths the HTTP method in lower case.
    public var verb: String
    public var group = ""
    public var version = ""
    /// Empty: the attributes are about a path.
    public var resource = ""
    public var subresource = ""
    public var namespace = ""
    public var name = ""
    /// A path that is no resource, such as `/metrics`.
    public var path = ""

    public init(verb: String) { self.verb = verb }
}

/// Decides whether a user may. Several are asked in turn; the first that has an opinion decides.
public protocol Authorizer: Sendable {
    func decide(_ user: UserInfo, _ attributes: AccessAttributes) async -> AccessDecision
}

public enum AccessDecision: Sendable, Hashable {
    case allowed(reason: String)
    case denied(reason: String)
    case noOpinion
}

/// Authorization by who somebody is, until roles say it in detail: the RBAC authorizer takes this one's place.
///
/// Administrators, nodes and the control plane's own components may do everything; others who are authenticated, service accounts as
/// well, may look at what discovers the API and ask about themselves; anonymous requests see health and version.
public struct GroupAuthorizer: Authorizer {
    public init() {}

    public func decide(_ user: UserInfo, _ attributes: AccessAttributes) async -> AccessDecision {
        if user.isIn("system:masters") { return .allowed(reason: "group system:masters") }
        if attributes.resource.isEmpty, Self.isPublic(attributes.path), attributes.verb == "get" {
            return .allowed(reason: "public path")
        }
        guard !user.isAnonymous, user.isIn("system:authenticated") else { return .noOpinion }
        if user.isIn("system:nodes") || Self.components.contains(user.name) {
            return .allowed(reason: "cluster component")
        }
        if attributes.resource.isEmpty, attributes.verb == "get", Self.isDiscovery(attributes.path) {
            return .allowed(reason: "discovery")
        }
        if attributes.verb == "create", Self.selfReviews.contains(attributes.resource) {
            return .allowed(reason: "about oneself")
        }
        return .noOpinion
    }

    private static let components: Set<String> = [
        "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy", "system:kube-dns",
    ]
    private static let selfReviews: Set<String> = [
        "selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews",
    ]

    private static func isPublic(_ path: String) -> Bool {
        let first = path.split(separator: "/").first ?? ""
        return ["healthz", "livez", "readyz", "version"].contains(first) || path == "/.well-known/openid-configuration"
            || path == "/openid/v1/jwks" || isDiscovery(path)
    }

    private static func isDiscovery(_ path: String) -> Bool {
        let first = path.split(separator: "/").first ?? ""
        return path == "/" || ["api", "apis", "openapi", "version"].contains(first)
    }
}
