// TLS sessions, certificates, keys and signatures over OpenSSL. The only room that sees libssl; does no I/O.

import COpenSSL

/// Something that cryptography refused, with a sentence that a user can act on.
public struct TLSError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What part of the work failed; callers that retry or count look at this, people read `message`.
    public enum Kind: String, Hashable, Sendable {
        /// A key, certificate or option given to us cannot be used.
        case configuration
        /// The handshake failed: no common version or cipher, or the peer sent an alert.
        case handshake
        /// The peer's certificate was missing or not trusted.
        case untrustedPeer
        /// The peer broke the protocol after the handshake, or cut the connection without closing it.
        case connection
        /// A token or signature did not verify.
        case signature
        /// The library itself failed (memory, entropy).
        case library
    }

    public var kind: Kind
    public var message: String
    /// Which check a peer did not pass; nil for all other failures.
    public var refusal: PeerRefusal?
    /// The failure as Envoy words it in access logs and local replies (`%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`), e.g.
    /// `TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end`; empty for failures of
    /// our own making.
    public var transportReason = ""

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    public var description: String { message }

    /// Takes everything that OpenSSL left in this thread's error queue and words it after `what`.
    static func fromQueue(_ kind: Kind, _ what: String) -> TLSError {
        let reason = takeErrorQueue()
        return TLSError(kind, reason.isEmpty ? what : "\(what): \(reason)")
    }
}

/// The reasons in this thread's OpenSSL error queue, innermost first; leaves the queue empty.
func takeErrorQueue() -> String { takeErrorReasons().joined(separator: "; ") }

func takeErrorReasons() -> [String] {
    var reasons: [String] = []
    while case let code = ERR_get_error(), code != 0 {
        guard reasons.count < 4 else { continue }
        if let text = ERR_reason_error_string(code) {
            reasons.append(String(cString: text))
        } else {
            reasons.append("error \(String(code, radix: 16))")
        }
    }
    return reasons
}

/// A small integer as `Int32`, for lengths handed to OpenSSL; longer inputs are refused before any call.
func int32(_ count: Int) throws(TLSError) -> Int32 {
    guard let value = Int32(exactly: count) else {
        throw TLSError(.configuration, "input of \(count) bytes is longer than OpenSSL takes")
    }
    return value
}
