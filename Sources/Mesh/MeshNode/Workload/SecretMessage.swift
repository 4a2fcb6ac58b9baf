import Bytes
import JSON
import TLS
import XDS

/// What a proxy is handed over SDS.
enum SecretMessage {
    /// The pod's certificate and key.
    static let certificate = "default"
    /// Whom it trusts.
    static let trust = "ROOTCA"

    static func certificate(_ identity: TLSIdentity) -> [UInt8] {
        message([
            "name": .string(certificate),
            "tls_certificate": [
                "certificate_chain": inline(identity.chain.map(\.pem).joined()),
                "private_key": inline(identity.key.pem),
            ],
        ])
    }

    /// The roots, and that a peer has exactly one name and it is of this trust domain (X.509-SVID §5). Names of single peers are for
    /// those to check who refer to this secret.
    static func trust(_ roots: [Certificate], domain: String) -> [UInt8] {
        let bundle = inline(roots.map(\.pem).joined())
        let rules = "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"
        return message([
            "name": .string(trust),
            "validation_context": [
                "trusted_ca": bundle,
                "custom_validator_config": [
                    "name": "envoy.tls.cert_validator.spiffe",
                    "typed_config": [
                        "@type": .string("type.googleapis.com/\(rules)"),
                        "trust_domains": [["name": .string(domain), "trust_bundle": bundle]],
                    ],
                ],
            ],
        ])
    }

    private static func inline(_ pem: String) -> JSONValue { ["inline_bytes": .string(Base64.encode(pem.utf8))] }

    private static func message(_ json: JSONValue) -> [UInt8] {
        guard let type = Message(ResourceKind.secret.rawValue)?.type, let message = try? Message(json: json, type: type)
        else { preconditionFailure("the schema has no such secret") }
        return message.binary()
    }
}
