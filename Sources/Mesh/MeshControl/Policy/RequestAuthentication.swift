import ClusterAPI
import JSON

/// What the mesh keeps of a RequestAuthentication (`security.istio.io/v1`): whose tokens are believed, and where they are found.
struct RequestAuthentication: MeshPolicy {
    static let kind = MeshPolicyKind.requests

    let key: ObjectKey
    let created: String
    let scope: PolicyScope
    let rules: [JSONValue]
    let problem: String?

    init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        let spec = object.json["spec"] ?? .null
        scope = PolicyScope(object.key, spec)
        rules = spec.list("jwtRules")
        problem =
            scope.problem
            ?? rules.enumerated().lazy.compactMap { index, rule in
                TokenRule.problem(rule).map { "rule \(index) (\(rule.text("issuer"))): \($0)" }
            }.first
    }
}

/// One issuer of tokens.
enum TokenRule {
    /// Why proxies could not be told of it; nil when they can.
    static func problem(_ rule: JSONValue) -> String? {
        let (inline, uri) = (rule.text("jwks"), rule.text("jwksUri"))
        guard inline.isEmpty else {
            let keys = (try? JSONValue.parse(Array(inline.utf8)))?.list("keys") ?? []
            return keys.isEmpty || keys.contains { $0.text("kty").isEmpty } ? "jwks is no JSON Web Key Set" : nil
        }
        guard !uri.isEmpty else {
            return "it has neither jwks nor jwksUri, and an issuer's own description is not asked for them"
        }
        return KeySource(uri) == nil ? "jwksUri \(uri) is no http or https URL" : nil
    }
}

/// Where the keys of an issuer are fetched.
struct KeySource: Hashable {
    let uri: String
    let host: String
    let port: Int
    let isTLS: Bool

    init?(_ uri: String) {
        let parts = uri.split(separator: "://", maxSplits: 1)
        guard parts.count == 2, ["http", "https"].contains(parts[0]) else { return nil }
        isTLS = parts[0] == "https"
        let authority = parts[1].prefix { !"/?#".contains($0) }
        // An address of IPv6 stands in brackets, and a name has no colon.
        let colon = authority.lastIndex(of: ":").flatMap { authority[$0...].contains("]") ? nil : $0 }
        let text = colon.map { authority[authority.index(after: $0)...] }
        guard let number = text.map({ Int($0) }) ?? (isTLS ? 443 : 80), (1...65535).contains(number) else { return nil }
        host = String(colon.map { authority[..<$0] } ?? authority).trimmingBrackets
        port = number
        guard !host.isEmpty, !host.contains("@") else { return nil }
        self.uri = uri
    }
}

extension String {
    fileprivate var trimmingBrackets: String {
        hasPrefix("[") && hasSuffix("]") ? String(dropFirst().dropLast()) : self
    }
}
