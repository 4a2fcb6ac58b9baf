import ClusterAPI
import JSON

/// RequestAuthentications as the filter that looks at tokens: pure.
///
/// A request without a token passes, one whose token is no good is answered with 401; who must have one is said by
/// AuthorizationPolicies, which find its claims where this filter leaves them.
struct TokenTranslation {
    static let filter = "envoy.filters.http.jwt_authn"
    /// Under which its claims stand in the filter's metadata.
    static let claims = "payload"
    /// Seconds for which fetched keys are used; how often Istio asks is 20 minutes.
    private static let keysLifetime = "1200s"
    /// Claims that are several words in one.
    private static let wordClaims: JSONValue = ["scope", "permission"]

    private let rules: [JSONValue]

    init(_ policies: [RequestAuthentication]) { rules = policies.flatMap(\.rules) }

    /// Nil where no token is looked at.
    var filter: JSONValue? {
        guard !rules.isEmpty else { return nil }
        var providers = JSONObject()
        var any: [JSONValue] = []
        for (index, rule) in rules.enumerated() {
            let name = "origins-\(index)"
            providers[name] = provider(rule)
            any.append(["provider_name": .string(name)])
        }
        any.append(["allow_missing": [:]])
        return ProxyConfig.httpFilter(
            "jwt_authn", "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            [
                "providers": .object(providers), "bypass_cors_preflight": true,
                "rules": [["match": ["prefix": "/"], "requires": ["requires_any": ["requirements": .array(any)]]]],
            ])
    }

    private func provider(_ rule: JSONValue) -> JSONValue {
        var provider: JSONObject = [
            "issuer": .string(rule.text("issuer")), "forward": .bool(rule["forwardOriginalToken"]?.bool ?? false),
            "payload_in_metadata": .string(Self.claims),
            "normalize_payload_in_metadata": ["space_delimited_claims": Self.wordClaims],
        ]
        if !rule.list("audiences").isEmpty { provider["audiences"] = .array(rule.list("audiences")) }
        if let source = KeySource(rule.text("jwksUri")), rule.text("jwks").isEmpty {
            let timeout = rule.text("timeout")
            provider["remote_jwks"] = [
                "http_uri": [
                    "uri": .string(source.uri), "cluster": .string(Self.cluster(source)),
                    "timeout": .string(timeout.isEmpty ? "5s" : timeout),
                ],
                "cache_duration": .string(Self.keysLifetime),
            ]
        } else {
            provider["local_jwks"] = ["inline_string": .string(rule.text("jwks"))]
        }
        let headers = rule.list("fromHeaders").map { header -> JSONValue in
            var json: JSONObject = ["name": .string(header.text("name"))]
            if !header.text("prefix").isEmpty { json["value_prefix"] = .string(header.text("prefix")) }
            return .object(json)
        }
        if !headers.isEmpty { provider["from_headers"] = .array(headers) }
        for (field, member) in [("from_params", "fromParams"), ("from_cookies", "fromCookies")] {
            if !rule.list(member).isEmpty { provider[field] = .array(rule.list(member)) }
        }
        if !rule.text("outputPayloadToHeader").isEmpty {
            provider["forward_payload_header"] = .string(rule.text("outputPayloadToHeader"))
        }
        let copies = rule.list("outputClaimToHeaders").map { copy -> JSONValue in
            ["header_name": .string(copy.text("header")), "claim_name": .string(copy.text("claim"))]
        }
        if !copies.isEmpty { provider["claim_to_headers"] = .array(copies) }
        return .object(provider)
    }

    // MARK: Keys

    private static func cluster(_ source: KeySource) -> String {
        "jwks|\(source.isTLS ? "https" : "http")|\(source.host)|\(source.port)"
    }

    /// Where keys are fetched from: by name, past the mesh.
    var clusters: [(name: String, json: JSONValue)] {
        let sources = rules.filter { $0.text("jwks").isEmpty }.compactMap { KeySource($0.text("jwksUri")) }
        var seen: Set<String> = []
        return sources.compactMap { source in
            let name = Self.cluster(source)
            guard seen.insert(name).inserted else { return nil }
            var json: JSONObject = [
                "name": .string(name), "type": "STRICT_DNS", "connect_timeout": "5s",
                "load_assignment": [
                    "cluster_name": .string(name),
                    "endpoints": [
                        ["lb_endpoints": [["endpoint": ["address": ProxyConfig.address(source.host, source.port)]]]]
                    ],
                ],
            ]
            if source.isTLS {
                json["transport_socket"] = [
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": .typed(
                        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                        [
                            "common_tls_context": [
                                "validation_context": [
                                    "trusted_ca": ["filename": .string(ProxyConfig.systemAuthorities)],
                                    "match_typed_subject_alt_names": [
                                        ["san_type": "DNS", "matcher": ["exact": .string(source.host)]]
                                    ],
                                ]
                            ],
                            "sni": .string(source.host),
                        ]),
                ]
            }
            return (name, .object(json))
        }
    }

    // MARK: What rules say of tokens

    /// That a claim has a value; of several words or a list one of them.
    ///
    /// - Parameter matcher: An `envoy.type.matcher.v3.StringMatcher`.
    static func claim(_ path: [String], _ matcher: JSONValue) -> JSONValue {
        [
            "metadata": [
                "filter": .string(filter), "path": .array(([claims] + path).map { ["key": .string($0)] }),
                "value": [
                    "or_match": [
                        "value_matchers": [
                            ["string_match": matcher], ["list_match": ["one_of": ["string_match": matcher]]],
                        ]
                    ]
                ],
            ]
        ]
    }

    /// `request.auth.claims[group][nested]`: the path; nil for another key.
    static func path(ofKey key: String) -> [String]? {
        guard key.hasPrefix("request.auth.claims["), key.hasSuffix("]") else { return nil }
        let inner = key.dropFirst("request.auth.claims[".count).dropLast()
        let parts = inner.split(separator: "][", omittingEmptySubsequences: false).map(String.init)
        return parts.contains("") ? nil : parts
    }
}
