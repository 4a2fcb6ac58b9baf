import Bytes
import COpenSSL
import JSON

/// A key of a JSON Web Key Set (RFC 7517) and the signatures it verifies (RFC 7518, RFC 8037). Each kind of key has algorithms of
/// its own, so a public key never serves as a secret.
public struct JSONWebKey: Sendable {
    /// What signatures are made with.
    public enum Algorithm: String, Sendable, CaseIterable {
        case RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA
        /// With a secret that both sides know.
        case HS256, HS384, HS512
    }

    private enum Kind {
        case rsa(PublicKey)
        /// With the octets of a coordinate.
        case elliptic(PublicKey, Int)
        case edwards(PublicKey)
        case secret([UInt8])
    }

    /// `kid` and `alg` as the key states them; empty where it does not.
    public let keyID: String
    public let algorithmName: String
    private let kind: Kind

    /// - Returns: nil for a key of another kind, for one that is not for signatures' verification, and for one that is malformed.
    public init?(_ object: JSONObject) {
        keyID = object["kid"]?.string ?? ""
        algorithmName = object["alg"]?.string ?? ""
        func octets(_ name: String) -> [UInt8]? { object[name]?.string.flatMap { Base64.decodeURLSafe($0) } }
        switch object["kty"]?.string {
        case "RSA":
            guard let n = octets("n"), let e = octets("e"), n.count <= Self.largestModulus else { return nil }
            let encoded = DER.publicKey([DER.rsa, DER.null], DER.sequence(DER.integer(n) + DER.integer(e)))
            guard let key = PublicKey(der: encoded) else { return nil }
            kind = .rsa(key)
        case "EC":
            guard let (curve, width) = DER.curve(object["crv"]?.string ?? ""), let x = octets("x"),
                let y = octets("y"), x.count <= width, y.count <= width
            else { return nil }
            func padded(_ number: [UInt8]) -> [UInt8] {
                [UInt8](repeating: 0, count: width - number.count) + number
            }
            guard let key = PublicKey(der: DER.publicKey([DER.elliptic, curve], [4] + padded(x) + padded(y)))
            else { return nil }
            kind = .elliptic(key, width)
        case "OKP":
            guard object["crv"]?.string == "Ed25519", let x = octets("x"), x.count == 32 else { return nil }
            guard let key = PublicKey(der: DER.publicKey([DER.ed25519], x)) else { return nil }
            kind = .edwards(key)
        case "oct":
            guard let secret = octets("k"), !secret.isEmpty else { return nil }
            kind = .secret(secret)
        default: return nil
        }
    }

    /// Octets of an RSA modulus at most: 16384 bits, OpenSSL's own bound.
    static let largestModulus = 2048

    /// Whether `signature`, as a token carries it, is this key's over `message`.
    public func verifies(_ signature: [UInt8], of message: [UInt8], _ algorithm: Algorithm) -> Bool {
        let digest: OpaquePointer?
        switch algorithm {
        case .RS256, .PS256, .ES256, .HS256: digest = EVP_sha256()
        case .RS384, .PS384, .ES384, .HS384: digest = EVP_sha384()
        case .RS512, .PS512, .ES512, .HS512: digest = EVP_sha512()
        case .EdDSA: digest = nil
        }
        switch (algorithm, kind) {
        case (.RS256, .rsa(let key)), (.RS384, .rsa(let key)), (.RS512, .rsa(let key)):
            return key.verifies(signature, of: message, digest: digest, withPSS: false)
        case (.PS256, .rsa(let key)), (.PS384, .rsa(let key)), (.PS512, .rsa(let key)):
            return key.verifies(signature, of: message, digest: digest, withPSS: true)
        case (.ES256, .elliptic(let key, let width)) where width == 32,
            (.ES384, .elliptic(let key, let width)) where width == 48,
            (.ES512, .elliptic(let key, let width)) where width == 66:
            // r and s side by side; OpenSSL wants a sequence of the two.
            guard signature.count == 2 * width else { return false }
            let encoded = DER.sequence(
                DER.integer(Array(signature[..<width])) + DER.integer(Array(signature[width...])))
            return key.verifies(encoded, of: message, digest: digest, withPSS: false)
        case (.EdDSA, .edwards(let key)):
            return key.verifies(signature, of: message, digest: digest, withPSS: false)
        case (.HS256, .secret(let secret)), (.HS384, .secret(let secret)), (.HS512, .secret(let secret)):
            var code = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
            var length: UInt32 = 0
            guard HMAC(digest, secret, Int32(secret.count), message, message.count, &code, &length) != nil,
                signature.count == Int(length)
            else { return false }
            return CRYPTO_memcmp(code, signature, signature.count) == 0
        default: return false
        }
    }
}

extension PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    fileprivate init?(der: [UInt8]) {
        let key = der.withUnsafeBufferPointer { bytes -> OpaquePointer? in
            var cursor = bytes.baseAddress
            return d2i_PUBKEY(nil, &cursor, bytes.count)
        }
        ERR_clear_error()
        guard let key else { return nil }
        handle = KeyHandle(owning: key)
    }

    fileprivate func verifies(
        _ signature: [UInt8], of message: [UInt8], digest: OpaquePointer?, withPSS isPadded: Bool
    ) -> Bool {
        guard let context = EVP_MD_CTX_new() else { return false }
        defer {
            EVP_MD_CTX_free(context)
            ERR_clear_error()
        }
        var options: OpaquePointer?
        guard EVP_DigestVerifyInit(context, &options, digest, nil, handle.raw) == 1 else { return false }
        if isPadded {
            // RFC 7518 §3.5: the salt is as long as the digest, which is −1 here.
            guard EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1,
                EVP_PKEY_CTX_set_rsa_pss_saltlen(options, -1) == 1
            else { return false }
        }
        return EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }
}

/// As much of X.690 as a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) takes.
private enum DER {
    static let null: [UInt8] = [5, 0]
    static let rsa: [UInt8] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]
    static let elliptic: [UInt8] = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]
    static let ed25519: [UInt8] = [6, 3, 0x2b, 0x65, 0x70]

    static func curve(_ name: String) -> (identifier: [UInt8], width: Int)? {
        switch name {
        case "P-256": ([6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], 32)
        case "P-384": ([6, 5, 0x2b, 0x81, 4, 0, 0x22], 48)
        case "P-521": ([6, 5, 0x2b, 0x81, 4, 0, 0x23], 66)
        default: nil
        }
    }

    private static func value(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        var length: [UInt8] = []
        var rest = content.count
        if rest < 0x80 {
            length = [UInt8(rest)]
        } else {
            while rest > 0 {
                length.insert(UInt8(truncatingIfNeeded: rest), at: 0)
                rest >>= 8
            }
            length.insert(0x80 | UInt8(length.count), at: 0)
        }
        return [tag] + length + content
    }

    static func sequence(_ content: [UInt8]) -> [UInt8] { value(0x30, content) }

    /// A number that is not negative.
    static func integer(_ octets: [UInt8]) -> [UInt8] {
        let digits = Array(octets.drop { $0 == 0 })
        guard let first = digits.first else { return value(2, [0]) }
        return value(2, first >= 0x80 ? [0] + digits : digits)
    }

    static func publicKey(_ algorithm: [[UInt8]], _ key: [UInt8]) -> [UInt8] {
        sequence(sequence(algorithm.flatMap { $0 }) + value(3, [0] + key))
    }
}
