import Bytes
import JSON
import TLS
import Testing

@testable import Proxy

@Suite("jwt_authn")
struct JWTTests {
    private static let key = Result { try PrivateKey.generate(.p256) }

    private static func token(_ claims: JSONObject, keyID: String? = "one") throws -> String {
        try JWT.sign(claims, with: try key.get(), keyID: keyID)
    }

    private static func keySet() throws -> String {
        let key = try #require(JWT.jsonWebKey(try key.get().publicKey, keyID: "one"))
        return JSONValue.object(["keys": .array([.object(key)])]).encodedString()
    }

    private static func configuration(_ keys: String, provider: String = "", requires: String = "provider_name: main")
        -> String
    {
        ProxyBench.http(
            filters: """
                - name: jwt
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
                    providers:
                      main:
                        issuer: me
                        audiences: [here]
                        \(keys)
                        claim_to_headers: [{ header_name: x-sub, claim_name: sub }, { header_name: x-deep, claim_name: a.b }]
                        \(provider)
                    rules:
                    - match: { prefix: / }
                      requires: { \(requires) }
                """, clusters: 2)
    }

    private static func inline() throws -> String { "local_jwks: { inline_string: '\(try keySet())' }" }
    private static let good: JSONObject = ["iss": "me", "aud": "here", "sub": "joe", "a": ["b": true]]

    @Test("a good token passes, and what it claims reaches the upstream in its place")
    func good() async throws {
        let token = try Self.token(Self.good)
        try await ProxyBench.run(
            Self.configuration(try Self.inline()), upstreams: [ScriptedUpstream.echo, ScriptedUpstream.echo]
        ) { bench in
            for form in [
                "GET / HTTP/1.1\r\nauthorization: Bearer \(token)", "GET /?access_token=\(token)&a=b HTTP/1.1",
            ] {
                let answer = try await bench.exchange(form + "\r\nHost: h\r\nx-sub: forged\r\n\r\n")
                #expect(answer.status == 200)
                #expect(answer.body.contains("x-sub: joe\r\n"))
                #expect(answer.body.contains("x-deep: true\r\n"))
                #expect(!answer.body.contains("forged"))
                #expect(!answer.body.contains(token))
            }
        }
    }

    @Test("what is wrong with a token is said as Envoy says it")
    func refusals() async throws {
        var other = Self.good
        other["iss"] = "you"
        var old = Self.good
        old["exp"] = 1_500_000_000
        var young = Self.good
        young["nbf"] = 4_000_000_000
        var audience = Self.good
        audience["aud"] = ["there"]
        let good = try Self.token(Self.good)
        let forged = good.dropLast(4) + (good.hasSuffix("AAAA") ? "BBBB" : "AAAA")
        let rows: [(token: String?, status: Int, body: String)] = [
            (nil, 401, "Jwt is missing"),
            ("x", 401, JWTFailure.badFormat.rawValue),
            ("a.b.c", 401, "Jwt header is an invalid Base64url encoded"),
            (try Self.token(other), 401, "Jwt issuer is not configured"),
            (try Self.token(old), 401, "Jwt is expired"),
            (try Self.token(young), 401, "Jwt not yet valid"),
            (try Self.token(audience), 403, "Audiences in Jwt are not allowed"),
            (try Self.token(Self.good, keyID: "two"), 401, "Jwks doesn't have key to match kid or alg from Jwt"),
            (String(forged), 401, "Jwt verification fails"),
        ]
        try await ProxyBench.run(
            Self.configuration(try Self.inline()), upstreams: [ScriptedUpstream.echo, ScriptedUpstream.echo]
        ) { bench in
            for row in rows {
                let field = row.token.map { "authorization: Bearer \($0)\r\n" } ?? ""
                let answer = try await bench.exchange("GET /p HTTP/1.1\r\nHost: h\r\n\(field)\r\n")
                #expect(answer.status == row.status, "\(row)")
                #expect(answer.body == row.body)
                let challenge = answer["www-authenticate"] ?? ""
                #expect(challenge.hasSuffix("://h/p\"" + (row.token == nil ? "" : ", error=\"invalid_token\"")))
            }
            #expect(bench.upstreams[0].requests.isEmpty)
        }
    }

    @Test("a missing token may be allowed where a wrong one is not")
    func missing() async throws {
        let requires = "requires_any: { requirements: [{ provider_name: main }, { allow_missing: {} }] }"
        try await ProxyBench.run(
            Self.configuration(try Self.inline(), requires: requires),
            upstreams: [ScriptedUpstream.echo, ScriptedUpstream.echo]
        ) { bench in
            let answered = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status
            #expect(answered == 200)
            let wrong = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\nauthorization: Bearer a.b.c\r\n\r\n")
            #expect(wrong.status == 401)
        }
    }

    @Test("keys are fetched when they are first needed, once for all who wait, and kept")
    func remote() async throws {
        let keys = try Self.keySet()
        let remote = "remote_jwks: { http_uri: { uri: http://keys.test/all, cluster: c1, timeout: 60s } }"
        let token = try Self.token(Self.good)
        try await ProxyBench.run(
            Self.configuration(remote), upstreams: [ScriptedUpstream.says("fine"), ScriptedUpstream.says(keys)]
        ) { bench in
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\nauthorization: Bearer \(token)\r\n\r\n")
                            .status
                    }
                }
                for try await status in group { #expect(status == 200) }
            }
            #expect(bench.upstreams[1].requests.count == 1)
            #expect(bench.upstreams[1].requests.first?.hasPrefix("GET /all HTTP/1.1\r\nhost: keys.test\r\n") == true)
        }
    }

    @Test("keys that cannot be fetched refuse, and are asked for again")
    func remoteFails() async throws {
        let keys = try Self.keySet()
        let remote = "remote_jwks: { http_uri: { uri: http://keys.test/all, cluster: c1, timeout: 60s } }"
        let token = try Self.token(Self.good)
        let script: ScriptedUpstream.Script = { _, number in
            number == 0
                ? .answer("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")
                : .answer("HTTP/1.1 200 OK\r\ncontent-length: \(keys.utf8.count)\r\n\r\n\(keys)")
        }
        try await ProxyBench.run(
            Self.configuration(remote), upstreams: [ScriptedUpstream.says("fine"), script]
        ) { bench in
            let request = "GET / HTTP/1.1\r\nHost: h\r\nauthorization: Bearer \(token)\r\n\r\n"
            let first = try await bench.exchange(request)
            #expect(first.status == 401)
            #expect(first.body == "Jwks remote fetch is failed")
            let answered = try await bench.exchange(request).status
            #expect(answered == 200)
        }
    }
}
