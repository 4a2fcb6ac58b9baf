import Bytes
import COpenSSL
import JSON

/// A certificate in the words of access logs, headers and the admin page.
extension Certificate {
    /// RFC 2253: "CN=a,O=b", the last part first.
    public var subjectText: String { Self.text(X509_get_subject_name(handle.raw)) }
    public var issuerText: String { Self.text(X509_get_issuer_name(handle.raw)) }

    /// SHA-256 of the whole certificate, in lower-case hexadecimal.
    public var fingerprintText: String { Hex.encode(fingerprint) }

    /// PEM with what a header may not hold in percent form, as Envoy encodes it.
    public var urlEncodedPEM: String {
        var text = ""
        for character in pem.utf8 {
            switch character {
            case UInt8(ascii: "\n"): text += "%0A"
            case UInt8(ascii: " "): text += "%20"
            case UInt8(ascii: "+"): text += "%2B"
            case UInt8(ascii: "/"): text += "%2F"
            case UInt8(ascii: "="): text += "%3D"
            default: text.unicodeScalars.append(Unicode.Scalar(character))
            }
        }
        return text
    }

    /// Whole days until it expires; 0 when it has.
    public func daysUntilExpiration(_ now: Timestamp) -> Int64 { max(0, (notAfter.seconds - now.seconds) / 86400) }

    /// As the admin page `/certs` shows it.
    public func description(path: String, now: Timestamp) -> JSONObject {
        let names = alternativeNames
        let described =
            names.dns.map { JSONValue.object(["dns": .string($0)]) } + names.uris.map { .object(["uri": .string($0)]) }
            + names.addresses.map { .object(["ip_address": .string($0.description)]) }
        return [
            "path": .string(path), "serial_number": .string(serial), "subject_alt_names": .array(described),
            "days_until_expiration": .string(String(daysUntilExpiration(now))),
            "valid_from": .string(notBefore.rfc3339), "expiration_time": .string(notAfter.rfc3339),
        ]
    }

    private static func text(_ name: OpaquePointer?) -> String {
        collectMemoryBIO { X509_NAME_print_ex($0, name, 0, weft_name_rfc2253) >= 0 ? 1 : 0 }
    }
}
