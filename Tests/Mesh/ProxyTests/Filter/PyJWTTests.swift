import Glibc
import JSON
import Reactor
import TestSupport
import Testing

@testable import Proxy

private enum PyJWT {
    static let library = PythonPackage.folder(
        "PyJWT", "2.15.1", named: "pyjwt", probe: "jwt/__init__.py",
        with: ["cryptography==50.0.2", "cffi==2.1.1", "pycparser==3.12"])
}

/// Tokens and keys that PyJWT made.
@Suite("jwt_authn beside PyJWT", .enabled(if: PyJWT.library != nil, "PyPI's PyJWT cannot be installed"))
struct PyJWTTests {
    private struct Tokens {
        var keys: String
        var good: [(algorithm: String, token: String)]
        var bad: [String]
    }

    private static func make() throws -> Tokens {
        let scratch = try ScratchFolder()
        let library = try #require(PyJWT.library)
        let command = "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH='\(library)' python3 '\(PythonServices.folder)/tokens.py'"
        try #require(system("\(command) >'\(scratch.path)/tokens'") == 0)
        let made = try JSONValue.parse(try Files.readText("\(scratch.path)/tokens"))
        let good = try #require(made["tokens"]?.object).map { ($0.key, $0.value.string ?? "") }
        let bad = ["symmetric", "none"].map { made[$0]?.string ?? "" }
        return Tokens(keys: try #require(made["keys"]).encodedString(), good: good, bad: bad)
    }

    private static func configuration(_ keys: String) -> String {
        ProxyBench.http(
            filters: """
                - name: jwt
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
                    providers:
                      main: { issuer: me, audiences: [here], \(keys), claim_to_headers: [{ header_name: x-sub, claim_name: sub }] }
                    rules: [{ match: { prefix: / }, requires: { provider_name: main } }]
                """, clusters: 2)
    }

    private static func request(_ token: String) -> String {
        "GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer \(token)\r\n\r\n"
    }

    @Test("a token of each algorithm passes, and none whose signature was touched or takes a public key for a secret")
    func algorithms() async throws {
        let made = try Self.make()
        #expect(made.good.count == 13)
        for remote in [false, true] {
            let keys =
                remote
                ? "remote_jwks: { http_uri: { uri: http://keys.test/jwks, cluster: c1, timeout: 60s } }"
                : "local_jwks: { inline_string: '\(made.keys)' }"
            try await ProxyBench.run(
                Self.configuration(keys), upstreams: [ScriptedUpstream.echo, ScriptedUpstream.says(made.keys)]
            ) { bench in
                for (algorithm, token) in made.good {
                    let got = try await bench.exchange(Self.request(token))
                    #expect(got.status == 200, "\(algorithm): \(got.body)")
                    #expect(got.body.contains("x-sub: joe\r\n"))
                    let parts = token.split(separator: ".").map(String.init)
                    // A letter in the middle, all of whose bits count.
                    var signature = Array(parts[2])
                    let middle = signature.count / 2
                    signature[middle] = signature[middle] == "A" ? "B" : "A"
                    let forged = "\(parts[0]).\(parts[1]).\(String(signature))"
                    let refused = try await bench.exchange(Self.request(forged))
                    #expect(refused.status == 401, "\(algorithm)")
                    #expect(refused.body == "Jwt verification fails")
                }
                for token in made.bad {
                    let refused = try await bench.exchange(Self.request(token))
                    #expect(refused.status == 401, "\(token)")
                }
            }
        }
    }
}
