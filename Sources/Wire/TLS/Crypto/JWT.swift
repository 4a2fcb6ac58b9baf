import Bytes
import COpenSSL
import JSON

/// JSON Web Tokens with ES256 and RS256, as service accounts carry them. "none" and shared-key algorithms do not exist here.
public enum JWT {
    /// Longest token that is looked at, in bytes.
    public static let maximumLength = 16 << 10

    /// A signed token. `keyID` goes into the header so that a verifier with many keys finds the right one.
    public static func sign(_ claims: JSONObject, with key: PrivateKey, keyID: String? = nil) throws(TLSError) -> String
    {
        let elliptic = key.publicKey.isEllipticCurve
        var header: JSONObject = ["alg": .string(elliptic ? "ES256" : "RS256"), "typ": "JWT"]
        if let keyID { header["kid"] = .string(keyID) }
        let body = part(header) + "." + part(claims)
        var signature = try key.sign([UInt8](body.utf8))
        if elliptic { signature = try plainSignature(fromDER: signature) }
        return body + "." + Base64.encodeURLSafe(signature)
    }

    /// The claims of a token signed by one of `keys`. Times and audience are the caller's to check: see `JWTClaims`.
    ///
    /// - Parameter keys: candidates; where the token names a key id, only keys under that id or under `""` are tried.
    public static func verify(_ token: String, keys: [(id: String, key: PublicKey)]) throws(TLSError) -> JSONObject {
        guard token.utf8.count <= maximumLength else { throw refused("longer than \(maximumLength) bytes") }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3 else { throw refused("not three parts") }
        guard let header = object(parts[0]), let claims = object(parts[1]),
            let signature = Base64.decodeURLSafe(String(parts[2]))
        else { throw refused("a part is not base64url of a JSON object") }
        let algorithm = header["alg"]?.string ?? ""
        guard algorithm == "ES256" || algorithm == "RS256" else { throw refused("algorithm \"\(algorithm)\"") }
        guard header["crit"] == nil else { throw refused("critical header fields are not understood") }

        let wanted = header["kid"]?.string
        let message = [UInt8](token.utf8.prefix(parts[0].utf8.count + 1 + parts[1].utf8.count))
        let elliptic = algorithm == "ES256"
        var encoded = signature
        if elliptic {
            guard let der = derSignature(fromPlain: signature) else { throw refused("signature of a wrong length") }
            encoded = der
        }
        for candidate in keys where wanted == nil || candidate.id.isEmpty || candidate.id == wanted {
            if candidate.key.isEllipticCurve == elliptic, candidate.key.verifies(encoded, of: message) { return claims }
        }
        throw refused("no known key made its signature")
    }

    /// A short stable name of a key: base64url of its SHA-256.
    public static func keyID(of key: PublicKey) -> String { Base64.encodeURLSafe(key.pin) }

    /// The key as a JSON Web Key for `/openid/v1/jwks`.
    public static func jsonWebKey(_ key: PublicKey, keyID: String) -> JSONObject? {
        var object: JSONObject = ["use": "sig", "kid": .string(keyID)]
        if key.isEllipticCurve {
            guard let x = key.component("qx", width: 32), let y = key.component("qy", width: 32) else { return nil }
            object["kty"] = "EC"
            object["alg"] = "ES256"
            object["crv"] = "P-256"
            object["x"] = .string(Base64.encodeURLSafe(x))
            object["y"] = .string(Base64.encodeURLSafe(y))
        } else {
            guard let n = key.component("n"), let e = key.component("e") else { return nil }
            object["kty"] = "RSA"
            object["alg"] = "RS256"
            object["n"] = .string(Base64.encodeURLSafe(n))
            object["e"] = .string(Base64.encodeURLSafe(e))
        }
        return object
    }

    private static func refused(_ why: String) -> TLSError { TLSError(.signature, "token refused: \(why)") }

    private static func part(_ object: JSONObject) -> String {
        Base64.encodeURLSafe(JSONValue.object(object).encoded())
    }

    private static func object(_ part: Substring) -> JSONObject? {
        guard let bytes = Base64.decodeURLSafe(String(part)), let value = try? JSONValue.parse(bytes) else {
            return nil
        }
        return value.object
    }

    /// RFC 7518 §3.4 wants r and s as 32 bytes each; OpenSSL makes a DER sequence.
    private static func plainSignature(fromDER der: [UInt8]) throws(TLSError) -> [UInt8] {
        let parsed = der.withUnsafeBufferPointer { bytes -> OpaquePointer? in
            var cursor = bytes.baseAddress
            return d2i_ECDSA_SIG(nil, &cursor, bytes.count)
        }
        guard let parsed else { throw .fromQueue(.library, "cannot sign a token") }
        defer { ECDSA_SIG_free(parsed) }
        var plain = [UInt8](repeating: 0, count: 64)
        let done = plain.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return false }
            return BN_bn2binpad(ECDSA_SIG_get0_r(parsed), base, 32) == 32
                && BN_bn2binpad(ECDSA_SIG_get0_s(parsed), base + 32, 32) == 32
        }
        guard done else { throw TLSError(.configuration, "ES256 needs a P-256 key") }
        return plain
    }

    private static func derSignature(fromPlain plain: [UInt8]) -> [UInt8]? {
        guard plain.count == 64, let signature = ECDSA_SIG_new() else { return nil }
        defer { ECDSA_SIG_free(signature) }
        let r = plain.withUnsafeBufferPointer { BN_bin2bn($0.baseAddress, 32, nil) }
        let s = plain.withUnsafeBufferPointer { BN_bin2bn($0.baseAddress.map { $0 + 32 }, 32, nil) }
        guard let r, let s, ECDSA_SIG_set0(signature, r, s) == 1 else {
            BN_free(r)
            BN_free(s)
            return nil
        }
        return derBytes { i2d_ECDSA_SIG(signature, $0) }
    }
}
