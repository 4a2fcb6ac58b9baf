import COpenSSL

/// A list of certificates that their authority has taken back (RFC 5280 §5). Immutable and shared freely.
public struct RevocationList: Sendable {
    let handle: Handle

    /// Owns one `X509_CRL`, never changed after it is made.
    final class Handle: @unchecked Sendable {
        let raw: OpaquePointer
        init(owning raw: OpaquePointer) { self.raw = raw }
        deinit { X509_CRL_free(raw) }
    }

    /// All lists in PEM text.
    public static func all(pem: String) throws(TLSError) -> [RevocationList] {
        var found: [RevocationList] = []
        _ = withMemoryBIO(reading: pem) { bio -> Bool? in
            while let list = PEM_read_bio_X509_CRL(bio, nil, refusePassphrase, nil) {
                found.append(RevocationList(handle: Handle(owning: list)))
            }
            return true
        }
        let last = ERR_peek_last_error()
        guard ERR_GET_REASON(last) == PEM_R_NO_START_LINE || last == 0 else {
            throw .fromQueue(.configuration, "revocation list \(found.count + 1) in the PEM text cannot be read")
        }
        ERR_clear_error()
        guard !found.isEmpty else { throw TLSError(.configuration, "no revocation list in the PEM text") }
        return found
    }
}
