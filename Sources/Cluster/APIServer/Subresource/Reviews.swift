import ClusterAPI
import JSON

/// Kinds that are questions: posted, answered, never stored.
struct Reviews: Sendable {
    let authenticator: Authenticator
    let authorizer: any Authorizer

    /// Answers the reviews of the authentication and authorization groups; nil for everything else.
    func answer(_ call: APICall, in registry: Registry) async throws(StatusError) -> JSONValue? {
        switch (call.resource.gvr.group, call.resource.gvr.resource) {
        case ("authentication.k8s.io", "selfsubjectreviews"):
            return review(call, ["userInfo": call.user.json])
        case ("authentication.k8s.io", "tokenreviews"): return try await token(call, in: registry)
        case ("authorization.k8s.io", "selfsubjectaccessreviews"):
            let spec = try call.requireBody().json["spec"]
            return await access(call, spec, user: call.user)
        case ("authorization.k8s.io", "subjectaccessreviews"), ("authorization.k8s.io", "localsubjectaccessreviews"):
            let spec = try call.requireBody().json["spec"]
            let user = UserInfo(
                name: spec?["user"]?.string ?? "", uid: spec?["uid"]?.string ?? "",
                groups: (spec?["groups"]?.array ?? []).compactMap(\.string))
            guard !user.name.isEmpty || !user.groups.isEmpty else {
                throw .invalid(
                    call.resource.gvk, "",
                    [.invalid("spec.user", "", "at least one of user or group must be specified")])
            }
            return await access(call, spec, user: user)
        case ("authorization.k8s.io", "selfsubjectrulesreviews"): return await rules(call)
        default: return nil
        }
    }

    private func review(_ call: APICall, _ status: JSONValue, spec: JSONValue? = nil) -> JSONValue {
        var review: JSONValue = [
            "kind": .string(call.resource.gvk.kind), "apiVersion": .string(call.resource.gvk.apiVersion),
            "metadata": call.body?.json["metadata"] ?? .object(JSONObject()), "status": status,
        ]
        if let spec = spec ?? call.body?.json["spec"] { review["spec"] = spec }
        return review
    }

    private func token(_ call: APICall, in registry: Registry) async throws(StatusError) -> JSONValue {
        let spec = try call.requireBody().json["spec"]
        let token = spec?["token"]?.string ?? ""
        let audiences = (spec?["audiences"]?.array ?? []).compactMap(\.string)
        guard !token.isEmpty else {
            throw .badRequest("token is required for TokenReview in authentication")
        }
        guard let user = await authenticator.user(ofToken: token, audiences: audiences, in: registry) else {
            return review(call, ["authenticated": false, "error": "invalid bearer token"])
        }
        var status: JSONValue = ["authenticated": true, "user": user.json]
        if !audiences.isEmpty { status["audiences"] = .array(audiences.map(JSONValue.string)) }
        return review(call, status)
    }

    private func access(_ call: APICall, _ spec: JSONValue?, user: UserInfo) async -> JSONValue {
        var attributes: AccessAttributes
        if let resource = spec?["resourceAttributes"] {
            attributes = AccessAttributes(verb: resource["verb"]?.string ?? "")
            attributes.group = resource["group"]?.string ?? ""
            attributes.version = resource["version"]?.string ?? ""
            attributes.resource = resource["resource"]?.string ?? ""
            attributes.subresource = resource["subresource"]?.string ?? ""
            attributes.namespace = resource["namespace"]?.string ?? ""
            attributes.name = resource["name"]?.string ?? ""
        } else {
            attributes = AccessAttributes(verb: spec?["nonResourceAttributes"]?["verb"]?.string ?? "")
            attributes.path = spec?["nonResourceAttributes"]?["path"]?.string ?? ""
        }
        var status: JSONValue = ["allowed": false]
        switch await authorizer.decide(user, attributes) {
        case .allowed(let reason):
            status["allowed"] = true
            status["reason"] = .string(reason)
        case .denied(let reason):
            status["denied"] = true
            status["reason"] = .string(reason)
        case .noOpinion: break
        }
        return review(call, status)
    }

    /// Until there are roles to list: everything, for those who may do everything.
    private func rules(_ call: APICall) async -> JSONValue {
        var attributes = AccessAttributes(verb: "*")
        attributes.group = "*"
        attributes.resource = "*"
        var all = false
        if case .allowed = await authorizer.decide(call.user, attributes) { all = true }
        let status: JSONValue = [
            "resourceRules": all ? [["verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]]] : [],
            "nonResourceRules": all
                ? [["verbs": ["*"], "nonResourceURLs": ["*"]]]
                : [
                    [
                        "verbs": ["get"],
                        "nonResourceURLs": [
                            "/healthz", "/livez", "/readyz", "/version", "/api", "/api/*", "/apis", "/apis/*",
                            "/openapi", "/openapi/*",
                        ],
                    ]
                ],
            "incomplete": false,
        ]
        return review(call, status, spec: call.body?.json["spec"] ?? .object(JSONObject()))
    }
}
