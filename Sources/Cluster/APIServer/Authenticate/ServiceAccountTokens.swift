import Bytes
import ClusterAPI
import JSON
import TLS

/// Issues and verifies the tokens of service accounts: JSON Web Tokens bound to the objects that they were made for.
struct ServiceAccountTokens: Sendable {
    /// The cluster's name for itself in `iss`, and the default audience.
    let issuer: String
    let key: PrivateKey
    let keyID: String

    /// Seconds: shortest and longest life that can be asked for, and what a request without a wish gets.
    static let shortestLife: Int64 = 600
    static let longestLife: Int64 = 1 << 32
    static let standardLife: Int64 = 3600
    /// Clients differ from us by so much, seconds.
    private static let leeway: Int64 = 10

    init(issuer: String, key: PrivateKey) {
        self.issuer = issuer
        self.key = key
        keyID = JWT.keyID(of: key.publicKey)
    }

    // MARK: Issuing

    /// POST of a TokenRequest to a service account.
    func issue(_ call: APICall, in registry: Registry) async throws(StatusError) -> JSONValue {
        var request = try call.requireBody().json
        guard let account = try await registry.storage.find(call.resource, call.key)?.json() else {
            throw .notFound(call.resource.gvr, call.name)
        }
        var spec = request["spec"] ?? .object(JSONObject())
        let life = spec["expirationSeconds"]?.int ?? Self.standardLife
        guard life >= Self.shortestLife, life <= Self.longestLife else {
            throw .invalid(
                GroupVersionKind(group: "authentication.k8s.io", version: "v1", kind: "TokenRequest"), "",
                [
                    .invalid(
                        "spec.expirationSeconds", .int(life),
                        life < Self.shortestLife
                            ? "may not specify a duration less than 10 minutes"
                            : "may not specify a duration larger than 2^32 seconds")
                ])
        }
        var audiences = (spec["audiences"]?.array ?? []).compactMap(\.string)
        if audiences.isEmpty { audiences = [issuer] }
        let now = Timestamp.now().seconds
        var claims: JSONObject = [
            "iss": .string(issuer), "sub": .string("system:serviceaccount:\(call.namespace):\(call.name)"),
            "aud": .array(audiences.map(JSONValue.string)), "iat": .int(now), "nbf": .int(now), "exp": .int(now + life),
            "jti": .string(makeUUID()),
        ]
        var kubernetes: JSONValue = [
            "namespace": .string(call.namespace),
            "serviceaccount": ["name": .string(call.name), "uid": account["metadata"]?["uid"] ?? ""],
        ]
        if let bound = spec["boundObjectRef"], bound.object != nil {
            try await bind(bound, to: &kubernetes, call, in: registry)
        }
        claims["kubernetes.io"] = kubernetes
        let token: String
        do {
            token = try JWT.sign(claims, with: key, keyID: keyID)
        } catch {
            throw .internalError("cannot sign a token: \(error)")
        }
        spec["audiences"] = .array(audiences.map(JSONValue.string))
        spec["expirationSeconds"] = .int(life)
        request["kind"] = "TokenRequest"
        request["apiVersion"] = "authentication.k8s.io/v1"
        request["spec"] = spec
        request["metadata"] = [
            "name": .string(call.name), "namespace": .string(call.namespace), "creationTimestamp": Registry.timestamp(),
        ]
        request["status"] = [
            "token": .string(token), "expirationTimestamp": .string(Timestamp(seconds: now + life).rfc3339),
        ]
        return request
    }

    /// The token dies with the object that it is bound to.
    private func bind(
        _ bound: JSONValue, to claims: inout JSONValue, _ call: APICall, in registry: Registry
    ) async throws(StatusError) {
        let name = bound["name"]?.string ?? ""
        let resource: GroupVersionResource
        switch (bound["apiVersion"]?.string ?? "", bound["kind"]?.string ?? "") {
        case ("v1", "Pod"): resource = .pods
        case ("v1", "Secret"): resource = .secrets
        case ("v1", "Node"): resource = .nodes
        case (let version, let kind):
            throw .badRequest("cannot bind token for serviceaccount to kind \(kind) of \(version)")
        }
        guard let description = registry.schema.resource(resource) else { throw .pathNotFound() }
        let object = try await registry.storage.get(description, ObjectKey(namespace: call.namespace, name: name))
            .json()
        let uid = object["metadata"]?["uid"]?.string ?? ""
        if let asked = bound["uid"]?.string, !asked.isEmpty, asked != uid {
            throw .conflict(
                resource, name,
                "the UID in the bound object reference (\(asked)) does not match the UID in record (\(uid))")
        }
        let field = String(resource.resource.dropLast())
        claims[field] = ["name": .string(name), "uid": .string(uid)]
        guard resource == .pods else { return }
        guard object["spec"]?["serviceAccountName"]?.string == call.name else {
            throw .badRequest("cannot bind token to pod \(name): it runs as another service account")
        }
        if let node = object["spec"]?["nodeName"]?.string, !node.isEmpty, let nodes = registry.schema.resource(.nodes),
            let found = try await registry.storage.find(nodes, ObjectKey(name: node))
        {
            claims["node"] = ["name": .string(node), "uid": try found.json()["metadata"]?["uid"] ?? ""]
        }
    }

    // MARK: Verifying

    /// Nil when the token is not one of ours, has run out, is for others, or its account or bound object is gone.
    func user(of token: String, audiences: [String], in registry: Registry) async -> UserInfo? {
        guard let claims = try? JWT.verify(token, keys: [(keyID, key.publicKey)]), claims["iss"]?.string == issuer
        else {
            return nil
        }
        let now = Timestamp.now().seconds
        guard let expiry = claims["exp"]?.int, expiry > now, (claims["nbf"]?.int ?? 0) <= now + Self.leeway else {
            return nil
        }
        let intended = Set((claims["aud"]?.array ?? []).compactMap(\.string))
        guard !intended.isDisjoint(with: audiences.isEmpty ? [issuer] : audiences) else { return nil }
        let kubernetes = claims["kubernetes.io"]
        guard let namespace = kubernetes?["namespace"]?.string, let account = kubernetes?["serviceaccount"],
            let name = account["name"]?.string,
            await isAlive(.serviceAccounts, namespace, account, in: registry)
        else { return nil }
        var extra: [String: [String]] = [:]
        for (field, resource) in [("pod", GroupVersionResource.pods), ("secret", .secrets)] {
            guard let bound = kubernetes?[field] else { continue }
            guard await isAlive(resource, namespace, bound, in: registry) else { return nil }
            if field == "pod" {
                extra["authentication.kubernetes.io/pod-name"] = [bound["name"]?.string ?? ""]
                extra["authentication.kubernetes.io/pod-uid"] = [bound["uid"]?.string ?? ""]
            }
        }
        if let node = kubernetes?["node"] {
            extra["authentication.kubernetes.io/node-name"] = [node["name"]?.string ?? ""]
            extra["authentication.kubernetes.io/node-uid"] = [node["uid"]?.string ?? ""]
        }
        if let id = claims["jti"]?.string { extra["authentication.kubernetes.io/credential-id"] = ["JTI=\(id)"] }
        return UserInfo(
            name: "system:serviceaccount:\(namespace):\(name)", uid: account["uid"]?.string ?? "",
            groups: ["system:serviceaccounts", "system:serviceaccounts:\(namespace)", "system:authenticated"],
            extra: extra)
    }

    private func isAlive(
        _ resource: GroupVersionResource, _ namespace: String, _ reference: JSONValue, in registry: Registry
    ) async -> Bool {
        guard let description = registry.schema.resource(resource), let name = reference["name"]?.string,
            let found = try? await registry.storage.find(description, ObjectKey(namespace: namespace, name: name)),
            let object = try? found.json()
        else { return false }
        return object["metadata"]?["uid"] == reference["uid"]
    }

    // MARK: Discovery for others

    /// `/.well-known/openid-configuration`.
    func openIDConfiguration(jwksURL: String) -> JSONValue {
        [
            "issuer": .string(issuer), "jwks_uri": .string(jwksURL), "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        ]
    }

    /// `/openid/v1/jwks`.
    var keySet: JSONValue {
        ["keys": .array(JWT.jsonWebKey(key.publicKey, keyID: keyID).map { [.object($0)] } ?? [])]
    }
}
