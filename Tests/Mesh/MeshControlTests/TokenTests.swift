import ClusterAPI
import JSON
import Testing

@testable import MeshControl
@testable import XDS

@Suite("Tokens, as the mesh's policies see them")
struct TokenTests {
    private static let keys = #"{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}]}"#
    private static let uri = "https://issuer.test:8443/jwks?x=1"

    private func manager(_ pods: MeshPodsWorld) throws -> JSONValue {
        let chains = try #require(pods.resources("a")["lds virtualInbound"]).list("filter_chains")
        let chain = try #require(chains.first { $0.text("name") == "inbound|8080|plain" })
        return chain.list("filters").last?["typed_config"] ?? .null
    }

    private func world(_ rule: JSONValue) -> MeshPodsWorld {
        var pods = MeshPodsWorld()
        pods.pod("a", ["app": "cart"])
        pods.service("cart", ["app": "cart"], ["name": "http", "port": 80, "targetPort": 8080])
        pods.requests("tokens", ["jwtRules": [rule]])
        return pods
    }

    @Test("a rule is a provider, asked before anybody decides; whoever has no token passes it")
    func inline() throws {
        let pods = world([
            "issuer": "https://issuer.test", "jwks": .string(Self.keys), "audiences": ["shop"],
            "fromHeaders": [["name": "x-token", "prefix": "Token "]], "fromParams": ["token"], "fromCookies": ["t"],
            "forwardOriginalToken": true, "outputPayloadToHeader": "x-payload",
            "outputClaimToHeaders": [["header": "x-user", "claim": "sub"]],
        ])
        let filters = try manager(pods).list("http_filters")
        #expect(filters.first?.text("name") == TokenTranslation.filter)
        let config = filters.first?["typed_config"] ?? .null
        let requirements = config.list("rules").first?.list("requires", "requires_any", "requirements") ?? []
        #expect(requirements.first == ["provider_name": "origins-0"] && requirements.last?["allow_missing"] != nil)
        let provider = config[path: "providers", "origins-0"] ?? .null
        #expect(provider.text("local_jwks", "inline_string") == Self.keys && provider["forward"] == true)
        #expect(provider.list("from_headers") == [["name": "x-token", "value_prefix": "Token "]])
        #expect(provider.list("from_params") == ["token"] && provider.list("from_cookies") == ["t"])
        #expect(provider.list("claim_to_headers").first?.text("header_name") == "x-user")
        #expect(provider.text("forward_payload_header") == "x-payload" && provider.list("audiences") == ["shop"])
    }

    @Test("keys are fetched from their host, whose certificate is looked at, by a cluster of the pod's own")
    func remote() throws {
        let pods = world(["issuer": "i", "jwksUri": .string(Self.uri)])
        let provider = try manager(pods).list("http_filters").first?[
            path: "typed_config", "providers", "origins-0", "remote_jwks", "http_uri"]
        #expect(provider?.text("uri") == Self.uri && provider?.text("cluster") == "jwks|https|issuer.test|8443")
        let cluster = try #require(pods.resources("a")["cds jwks|https|issuer.test|8443"])
        #expect(cluster.text("transport_socket", "typed_config", "sni") == "issuer.test")
    }

    @Test(
        "where keys are",
        arguments: [
            ("http://a.test/jwks", "a.test", 80), ("https://a.test", "a.test", 443), ("http://a:81/x:y", "a", 81),
            ("https://[fd00::1]:444/k", "fd00::1", 444), ("http://[fd00::1]/", "fd00::1", 80),
        ])
    func sources(uri: String, host: String, port: Int) throws {
        let source = try #require(KeySource(uri))
        #expect(source.host == host && source.port == port)
    }

    @Test(
        "what is no URL",
        arguments: ["", "a.test", "ftp://a.test", "http://", "http://a:0/", "http://a:x/", "http://u@a/"])
    func notSources(uri: String) { #expect(KeySource(uri) == nil) }

    @Test(
        "without keys that can be had a policy is not enforced, and says so",
        arguments: [
            ["issuer": "i"], ["issuer": "i", "jwks": "{}"], ["issuer": "i", "jwks": "no"],
            ["issuer": "i", "jwks": #"{"keys":[{}]}"#],
        ] as [JSONValue])
    func refused(rule: JSONValue) throws {
        let pods = world(rule)
        let names = try manager(pods).list("http_filters").map { $0.text("name") }
        #expect(!names.contains(TokenTranslation.filter))
        #expect(pods.model.world.policies.requests[ObjectKey(namespace: "shop", name: "tokens")]?.policy.problem != nil)
    }

    /// A principal as a policy names it, and what issuer and subject have to be.
    private struct Principal: Sendable, CustomTestStringConvertible {
        var text: String
        var issuer: JSONValue
        var subject: JSONValue
        var testDescription: String { text }
    }

    private static let anything: JSONValue = ["safe_regex": ["regex": ".+"]]
    private static let principals = [
        Principal(text: "https://i.test/alice", issuer: ["exact": "https://i.test"], subject: ["exact": "alice"]),
        Principal(text: "https://i.test/*", issuer: ["exact": "https://i.test"], subject: anything),
        Principal(text: "*", issuer: anything, subject: anything),
        Principal(text: "*/alice", issuer: anything, subject: ["exact": "alice"]),
        Principal(text: "*ice", issuer: anything, subject: ["suffix": "ice"]),
    ]

    @Test("a principal is an issuer and a subject", arguments: principals)
    private func principal(_ one: Principal) throws {
        let rule: JSONValue = ["from": [["source": ["requestPrincipals": [.string(one.text)]]]]]
        let read = AuthorizationRule(rule, layer: .requests, isDeny: false, namespace: "shop")
        let found = read.principals?.first?.list("and_ids", "ids").first?.list("or_ids", "ids").first
        #expect(
            found == [
                "and_ids": [
                    "ids": [TokenTranslation.claim(["iss"], one.issuer), TokenTranslation.claim(["sub"], one.subject)]
                ]
            ])
        // A connection has no token.
        #expect(AuthorizationRule(rule, layer: .connections, isDeny: false, namespace: "shop").principals == nil)
    }

    @Test("claims are conditions, nested ones by their path")
    func claims() throws {
        func path(_ key: String) -> [String] {
            let rule: JSONValue = ["when": [["key": .string(key), "values": ["x"]]]]
            let read = AuthorizationRule(rule, layer: .requests, isDeny: false, namespace: "shop").principals
            let first = read?.first?.list("and_ids", "ids").first?.list("or_ids", "ids").first
            return first?.list("metadata", "path").map { $0.text("key") } ?? []
        }
        #expect(path("request.auth.claims[group]") == ["payload", "group"])
        #expect(path("request.auth.claims[realm][roles]") == ["payload", "realm", "roles"])
        #expect(path("request.auth.audiences") == ["payload", "aud"])
        #expect(path("request.auth.presenter") == ["payload", "azp"])
        #expect(path("request.auth.claims[]").isEmpty)
    }
}
