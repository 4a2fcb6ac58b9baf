import ClusterAPI
import JSON

/// Authorization by roles: Role, ClusterRole and their bindings (`rbac.authorization.k8s.io/v1`).
///
/// Only allows; asked when nobody before it has decided. It reads the bindings anew each time, so a change counts at once; the cost is
/// in proportion to the bindings of the cluster and of the namespace, and falls only on those whom no group lets pass.
struct RoleAuthorizer: Authorizer {
    let schema: Schema
    let storage: ObjectStorage

    func decide(_ user: UserInfo, _ attributes: AccessAttributes) async -> AccessDecision {
        // Who cannot be looked up is not let in.
        guard let decision = try? await allowance(user, attributes) else { return .noOpinion }
        return decision
    }

    private func allowance(_ user: UserInfo, _ attributes: AccessAttributes) async throws -> AccessDecision? {
        var scopes: [(kind: String, bindings: [JSONValue])] = [
            ("ClusterRoleBinding", try await all("clusterrolebindings", namespace: ""))
        ]
        if !attributes.namespace.isEmpty {
            scopes.append(("RoleBinding", try await all("rolebindings", namespace: attributes.namespace)))
        }
        for (kind, bindings) in scopes {
            for binding in bindings where RoleRule.binds(binding, user) {
                let role = binding["roleRef"] ?? .null
                for rule in try await rules(role, namespace: attributes.namespace)
                where RoleRule.allows(rule, attributes) {
                    let (name, roleName) = (binding["metadata"]?["name"]?.string ?? "", role["name"]?.string ?? "")
                    return .allowed(
                        reason:
                            "RBAC: allowed by \(kind) \"\(name)\" of \(role["kind"]?.string ?? "") \"\(roleName)\"")
                }
            }
        }
        return nil
    }

    /// What a reference grants. An aggregated role has the rules of those that its selectors choose, too.
    private func rules(_ role: JSONValue, namespace: String) async throws -> [JSONValue] {
        let isCluster = role["kind"]?.string == "ClusterRole"
        guard let name = role["name"]?.string,
            let resource = resource(isCluster ? "clusterroles" : "roles"),
            let object = try await storage.find(
                resource, ObjectKey(namespace: isCluster ? "" : namespace, name: name))?.json()
        else { return [] }
        var rules = object["rules"]?.array ?? []
        let selectors = object["aggregationRule"]?["clusterRoleSelectors"]?.array ?? []
        guard !selectors.isEmpty else { return rules }
        for other in try await all("clusterroles", namespace: "") {
            let labels = other["metadata"]?["labels"] ?? .null
            let isChosen = selectors.contains { selector in
                let wanted = selector["matchLabels"]?.object ?? JSONObject()
                return !wanted.isEmpty && wanted.allSatisfy { labels[$0.key]?.string == $0.value.string }
            }
            if isChosen { rules += other["rules"]?.array ?? [] }
        }
        return rules
    }

    private func all(_ plural: String, namespace: String) async throws -> [JSONValue] {
        guard let resource = resource(plural) else { return [] }
        return try await storage.all(resource, namespace: namespace)
    }

    private func resource(_ plural: String) -> ResourceDescription? {
        schema.resource(GroupVersionResource(group: "rbac.authorization.k8s.io", resource: plural))
    }
}

/// What one rule of a role allows, and whom a binding is for: pure.
enum RoleRule {
    static func binds(_ binding: JSONValue, _ user: UserInfo) -> Bool {
        (binding["subjects"]?.array ?? []).contains { subject in
            let name = subject["name"]?.string ?? ""
            switch subject["kind"]?.string {
            case "User": return user.name == name
            case "Group": return user.isIn(name)
            case "ServiceAccount":
                let namespace = subject["namespace"]?.string ?? binding["metadata"]?["namespace"]?.string ?? ""
                return user.name == "system:serviceaccount:\(namespace):\(name)"
            default: return false
            }
        }
    }

    static func allows(_ rule: JSONValue, _ attributes: AccessAttributes) -> Bool {
        guard names(rule, "verbs", attributes.verb) else { return false }
        if attributes.resource.isEmpty {
            return (rule["nonResourceURLs"]?.array ?? []).contains { pattern in
                guard let pattern = pattern.string else { return false }
                return pattern.hasSuffix("*")
                    ? attributes.path.hasPrefix(pattern.dropLast()) : attributes.path == pattern
            }
        }
        guard names(rule, "apiGroups", attributes.group) else { return false }
        let only = rule["resourceNames"]?.array ?? []
        guard only.isEmpty || only.contains(where: { $0.string == attributes.name }) else { return false }
        guard !attributes.subresource.isEmpty else { return names(rule, "resources", attributes.resource) }
        return names(rule, "resources", "\(attributes.resource)/\(attributes.subresource)")
            || (rule["resources"]?.array ?? []).contains { $0.string == "*/\(attributes.subresource)" }
    }

    private static func names(_ rule: JSONValue, _ field: String, _ value: String) -> Bool {
        (rule[field]?.array ?? []).contains { $0.string == value || $0.string == "*" }
    }
}

/// The first that has an opinion decides.
struct AuthorizerChain: Authorizer {
    let authorizers: [any Authorizer]

    func decide(_ user: UserInfo, _ attributes: AccessAttributes) async -> AccessDecision {
        for authorizer in authorizers {
            let decision = await authorizer.decide(user, attributes)
            guard case .noOpinion = decision else { return decision }
        }
        return .noOpinion
    }
}
