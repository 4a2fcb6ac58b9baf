/// Why a token was not accepted; the texts are what clients of Envoy see, the order is that of its numbers for them.
enum JWTFailure: String, Error, CaseIterable {
    case missing = "Jwt is missing"
    case notYetValid = "Jwt not yet valid"
    case expired = "Jwt is expired"
    case badFormat = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
    case headerBase64 = "Jwt header is an invalid Base64url encoded"
    case headerJSON = "Jwt header is an invalid JSON"
    case headerAlgorithm = "Jwt header [alg] field is required and must be a string"
    case unknownAlgorithm = "Jwt header [alg] is not supported"
    case headerKeyID = "Jwt header [kid] field is not a string"
    case payloadBase64 = "Jwt payload is an invalid Base64url encoded"
    case edwardsSignatureLength = "Jwt ED25519 signature is wrong length"
    case payloadJSON = "Jwt payload is an invalid JSON"
    case issuerType = "Jwt payload [iss] field is not a string"
    case subjectType = "Jwt payload [sub] field is not a string"
    case issuedAtType = "Jwt payload [iat] field is not an integer"
    case issuedAtRange = "Jwt payload [iat] field is not a positive 64 bit integer"
    case notBeforeType = "Jwt payload [nbf] field is not an integer"
    case notBeforeRange = "Jwt payload [nbf] field is not a positive 64 bit integer"
    case expirationType = "Jwt payload [exp] field is not an integer"
    case expirationRange = "Jwt payload [exp] field is not a positive 64 bit integer"
    case identifierType = "Jwt payload [jti] field is not a string"
    case audienceType = "Jwt payload [aud] field is not a string or string list"
    case signatureBase64 = "Jwt signature is an invalid Base64url encoded"
    case unknownIssuer = "Jwt issuer is not configured"
    case audience = "Audiences in Jwt are not allowed"
    case verification = "Jwt verification fails"
    case multipleTokens = "Found multiple Jwt tokens"
    case keySetJSON = "Jwks is an invalid JSON"
    case keySetWithoutKeys = "Jwks does not have [keys] field"
    case keySetKeysType = "[keys] in Jwks is not an array"
    case keySetUseless = "Jwks doesn't have any valid public key"
    case noSuchKey = "Jwks doesn't have key to match kid or alg from Jwt"
    case keySetFetch = "Jwks remote fetch is failed"
    case subject = "Subject in Jwt is not allowed"
    case lifetime = "Jwt lifetime exceeds maximum"
    case noExpiration = "Jwt must have an expiration"

    /// Envoy's number, for metadata.
    var code: Int { 1 + (Self.allCases.firstIndex(of: self) ?? 0) }

    var status: Int { self == .audience ? 403 : 401 }

    /// What access logs call it.
    var details: String {
        "jwt_authn_access_denied{" + rawValue.map { $0 == " " ? "_" : String($0) }.joined() + "}"
    }
}
