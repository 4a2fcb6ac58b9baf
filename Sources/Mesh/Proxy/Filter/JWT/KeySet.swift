import JSON
import TLS

/// The keys of an issuer (a JSON Web Key Set).
struct KeySet: Sendable {
    let keys: [JSONWebKey]

    init(_ text: [UInt8]) throws(JWTFailure) {
        guard let object = (try? JSONValue.parse(text))?.object else { throw .keySetJSON }
        guard let found = object["keys"] else { throw .keySetWithoutKeys }
        guard let list = found.array else { throw .keySetKeysType }
        keys = list.compactMap { $0.object.flatMap(JSONWebKey.init) }
        guard !keys.isEmpty else { throw .keySetUseless }
    }

    func verify(_ token: ParsedToken) throws(JWTFailure) {
        var isKnown = false
        for key in keys {
            if !token.keyID.isEmpty, !key.keyID.isEmpty, key.keyID != token.keyID { continue }
            if !key.algorithmName.isEmpty, key.algorithmName != token.algorithmName { continue }
            isKnown = true
            if key.verifies(token.signature, of: token.signed, token.algorithm) { return }
        }
        throw isKnown ? .verification : .noSuchKey
    }
}
