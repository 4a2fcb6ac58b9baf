import Bytes
import JSON
import TLS

/// A token taken apart (RFC 7519); nothing of it is proven.
struct ParsedToken {
    /// What is signed: header and payload as they stand in the token.
    let signed: [UInt8]
    let encodedPayload: String
    let signature: [UInt8]
    let header: JSONObject
    let claims: JSONObject
    let algorithmName: String
    let algorithm: JSONWebKey.Algorithm
    let keyID: String
    let issuer: String
    let subject: String
    let audiences: [String]
    /// Seconds since 1970; 0 where nothing is said.
    let issuedAt: UInt64
    let notBefore: UInt64
    let expiration: UInt64

    init(_ text: String) throws(JWTFailure) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, !parts.contains(where: \.isEmpty) else { throw .badFormat }
        guard let headerBytes = Base64.decodeURLSafe(String(parts[0])) else { throw .headerBase64 }
        guard let header = (try? JSONValue.parse(headerBytes))?.object else { throw .headerJSON }
        guard let name = header["alg"]?.string else { throw .headerAlgorithm }
        guard let algorithm = JSONWebKey.Algorithm(rawValue: name) else { throw .unknownAlgorithm }
        self.algorithm = algorithm
        guard let keyID = (header["kid"] ?? "").string else { throw .headerKeyID }
        guard let payload = Base64.decodeURLSafe(String(parts[1])) else { throw .payloadBase64 }
        guard let claims = (try? JSONValue.parse(payload))?.object else { throw .payloadJSON }
        guard let issuer = (claims["iss"] ?? "").string else { throw .issuerType }
        guard let subject = (claims["sub"] ?? "").string else { throw .subjectType }
        issuedAt = try Self.time(claims["iat"], .issuedAtType, .issuedAtRange)
        notBefore = try Self.time(claims["nbf"], .notBeforeType, .notBeforeRange)
        expiration = try Self.time(claims["exp"], .expirationType, .expirationRange)
        guard (claims["jti"] ?? "").string != nil else { throw .identifierType }
        audiences = try Self.audiences(claims["aud"])
        guard let signature = Base64.decodeURLSafe(String(parts[2])) else { throw .signatureBase64 }
        if algorithm == .EdDSA, signature.count != 64 { throw .edwardsSignatureLength }
        self.header = header
        self.claims = claims
        self.issuer = issuer
        self.subject = subject
        self.keyID = keyID
        self.signature = signature
        algorithmName = name
        encodedPayload = String(parts[1])
        signed = Array(text.utf8.prefix(parts[0].utf8.count + 1 + parts[1].utf8.count))
    }

    private static func time(
        _ value: JSONValue?, _ wrongType: JWTFailure, _ outOfRange: JWTFailure
    ) throws(JWTFailure) -> UInt64 {
        switch value {
        case nil: return 0
        case .int(let number)?:
            guard number >= 0 else { throw outOfRange }
            return UInt64(number)
        case .double(let number)?:
            guard number >= 0, number < 9.2e18 else { throw outOfRange }
            return UInt64(number)
        default: throw wrongType
        }
    }

    private static func audiences(_ value: JSONValue?) throws(JWTFailure) -> [String] {
        switch value {
        case nil: return []
        case .string(let one)?: return [one]
        case .array(let list)?:
            let names = list.compactMap(\.string)
            guard names.count == list.count else { throw .audienceType }
            return names
        default: throw .audienceType
        }
    }
}
