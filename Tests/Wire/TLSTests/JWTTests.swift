import Bytes
import JSON
import Testing

@testable import TLS

@Suite("Tokens")
struct JWTTests {
    static let claims: JSONObject = [
        "iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:a:b", "exp": 5,
    ]

    @Test(
        "a signed token verifies and gives its claims back", arguments: [PrivateKey.Algorithm.p256, .rsa(bits: 2048)])
    func roundTrip(_ algorithm: PrivateKey.Algorithm) throws {
        let key = try PrivateKey.generate(algorithm)
        let other = try PrivateKey.generate(algorithm)
        let id = JWT.keyID(of: key.publicKey)
        let token = try JWT.sign(Self.claims, with: key, keyID: id)
        #expect(try JWT.verify(token, keys: [("x", other.publicKey), (id, key.publicKey)]) == Self.claims)
        #expect(try JWT.verify(token, keys: [("", key.publicKey)]) == Self.claims)
        #expect(throws: TLSError.self) { try JWT.verify(token, keys: [(id, other.publicKey)]) }
        #expect(throws: TLSError.self) { try JWT.verify(token, keys: [("another", key.publicKey)]) }
        #expect(throws: TLSError.self) { try JWT.verify(token, keys: []) }
        #expect(JWT.jsonWebKey(key.publicKey, keyID: id)?["kid"]?.string == id)
    }

    @Test("no byte of a token can be changed")
    func tampering() throws {
        let key = try PrivateKey.generate()
        let token = Array(try JWT.sign(Self.claims, with: key).utf8)
        for index in token.indices {
            var changed = token
            changed[index] = changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            let text = String(decoding: changed, as: UTF8.self)
            #expect(throws: TLSError.self, "byte \(index)") { try JWT.verify(text, keys: [("", key.publicKey)]) }
        }
        for count in token.indices {
            let text = String(decoding: token[..<count], as: UTF8.self)
            #expect(throws: TLSError.self) { try JWT.verify(text, keys: [("", key.publicKey)]) }
        }
    }

    @Test(
        "algorithms that need no private key are refused",
        arguments: [
            #"{"alg":"none"}"#, #"{"alg":"HS256"}"#, #"{"alg":"RS256"}"#, "{}", #"{"alg":"ES256","crit":["x"]}"#,
        ])
    func algorithms(_ header: String) throws {
        let key = try PrivateKey.generate()
        let parts = try JWT.sign(Self.claims, with: key).split(separator: ".")
        let body = Base64.encodeURLSafe(Array(header.utf8)) + "." + parts[1]
        let signature = Base64.encodeURLSafe(Digest.hmacSHA256(key: Array(key.publicKey.pem.utf8), body.utf8))
        for text in [body + "." + signature, body + ".", body + "." + parts[2]] {
            #expect(throws: TLSError.self) { try JWT.verify(text, keys: [("", key.publicKey)]) }
        }
    }
}
