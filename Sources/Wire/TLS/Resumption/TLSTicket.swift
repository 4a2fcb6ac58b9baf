import COpenSSL

/// What a client keeps to shorten its next handshake with the same server. Immutable; shared freely.
public final class TLSTicket: @unchecked Sendable {
    let raw: OpaquePointer
    init(owning raw: OpaquePointer) { self.raw = raw }
    deinit { SSL_SESSION_free(raw) }
}
