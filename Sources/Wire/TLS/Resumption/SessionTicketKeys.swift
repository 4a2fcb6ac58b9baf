import COpenSSL

/// Keys that seal session tickets, shared between the servers that shall resume each other's sessions. The first seals; all
/// of them open, so that keys are rotated without losing sessions: a new one in front, the oldest off the end.
public struct SessionTicketKeys: Sendable {
    /// Bytes of one key: a name of 16, a key for HMAC-SHA-256 of 32, a key for AES-256 of 32, as Envoy and BoringSSL lay
    /// them out.
    public static let keyLength = 80

    /// What OpenSSL's callbacks read; on its own, so that they need no context.
    final class Storage: Sendable {
        let keys: [[UInt8]]
        init(_ keys: [[UInt8]]) { self.keys = keys }
    }

    let storage: Storage

    /// - Throws: when there is none, or one is not `keyLength` bytes long.
    public init(_ keys: [[UInt8]]) throws(TLSError) {
        guard !keys.isEmpty else { throw TLSError(.configuration, "session tickets need a key") }
        for key in keys where key.count != Self.keyLength {
            throw TLSError(
                .configuration,
                "Incorrect TLS session ticket key length. Length \(key.count), expected length \(Self.keyLength).")
        }
        storage = Storage(keys)
    }

    func attach(to raw: OpaquePointer) { SSL_CTX_set_tlsext_ticket_key_evp_cb(raw, sealOrOpen) }
}

/// Prepares a cipher and a MAC for one ticket. Answers 0 for an unknown key, 1 for the sealing one, 2 for an older one,
/// whose ticket is to be renewed; negative for a failure.
private let sealOrOpen:
    @convention(c) (
        OpaquePointer?, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt8>?, OpaquePointer?, OpaquePointer?, CInt
    ) -> CInt = { session, name, iv, cipher, mac, isSealing in
        guard let name, let iv, let object = weft_ssl_context_object(session),
            let keys = Unmanaged<TLSContext>.fromOpaque(object).takeUnretainedValue().ticketKeys?.storage.keys
        else { return -1 }
        if isSealing == 1 {
            return keys[0].withUnsafeBufferPointer { key in
                guard let base = key.baseAddress, RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1
                else { return -1 }
                name.update(from: base, count: 16)
                return EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nil, base + 48, iv) == 1
                    && weft_mac_use_sha256(mac, base + 16, 32) == 1 ? 1 : -1
            }
        }
        for (index, key) in keys.enumerated() where CRYPTO_memcmp(key, name, 16) == 0 {
            return key.withUnsafeBufferPointer { key in
                guard let base = key.baseAddress,
                    EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nil, base + 48, iv) == 1,
                    weft_mac_use_sha256(mac, base + 16, 32) == 1
                else { return -1 }
                return index == 0 ? 1 : 2
            }
        }
        return 0
    }
