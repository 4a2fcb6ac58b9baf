import Bytes
import COpenSSL

/// One direction of a TLS 1.3 connection after its handshake: the key under which records are sealed or opened, and how many
/// there were (RFC 8446 §5.2, §5.3, §7.3). Owned by one session.
///
/// Why not OpenSSL's own: an `SSL` of OpenSSL 3.0 holds 13.7 KB for as long as it lives, nearly all of it for the handshake;
/// two of these hold 2.5 KB.
struct RecordProtection: ~Copyable {
    enum ContentType {
        static let alert: UInt8 = 21
        static let handshake: UInt8 = 22
        static let data: UInt8 = 23
    }

    static let headerSize = 5
    static let tagSize = 16
    /// Plaintext of a record.
    static let recordSize = 16 << 10
    /// What a record may hold behind its header. RFC 8446 §5.2 allows for ciphers that add 256 bytes; ours add a type and a
    /// tag, and padding counts as plaintext (§5.4): more would open to more than is allowed.
    static let largestCiphertext = recordSize + 1 + tagSize
    /// RFC 8446 §5.5: well below the number of records after which a key of AES-GCM is worn.
    static let recordsOfAKey: UInt64 = 1 << 24

    private let suite: Suite
    private let cipher: OpaquePointer
    private let isSealing: Bool
    private var secret: Secret
    private var nonce: (low: UInt64, high: UInt32) = (0, 0)
    private(set) var sequence: UInt64

    /// - Parameter sequence: how many records the handshake has sealed under this key already.
    /// - Returns: nil when the secret is not one of the suite's, or the library failed.
    static func make(_ suite: Suite, secret: Secret, sealing: Bool, sequence: UInt64) -> RecordProtection? {
        guard secret.count == suite.secretSize, let cipher = EVP_CIPHER_CTX_new() else { return nil }
        var made = RecordProtection(suite, cipher, secret, sealing, sequence)
        guard EVP_CipherInit_ex(cipher, suite.cipher, nil, nil, nil, sealing ? 1 : 0) == 1, made.useSecret() else {
            return nil
        }
        return made
    }

    private init(_ suite: Suite, _ cipher: OpaquePointer, _ secret: Secret, _ isSealing: Bool, _ sequence: UInt64) {
        self.suite = suite
        self.cipher = cipher
        self.isSealing = isSealing
        self.secret = secret
        self.sequence = sequence
    }

    deinit { EVP_CIPHER_CTX_free(cipher) }

    private mutating func useSecret() -> Bool {
        let key = suite.expand(secret, "tls13 key", suite.keySize)
        return suite.expand(secret, "tls13 iv", 12).withBytes { iv in
            nonce = (
                UInt64(bigEndian: iv.loadUnaligned(fromByteOffset: 4, as: UInt64.self)),
                UInt32(bigEndian: iv.loadUnaligned(as: UInt32.self))
            )
            return key.withBytes {
                EVP_CipherInit_ex(
                    cipher, nil, nil, $0.assumingMemoryBound(to: UInt8.self).baseAddress,
                    iv.assumingMemoryBound(to: UInt8.self).baseAddress, isSealing ? 1 : 0) == 1
            }
        }
    }

    /// The next key, for KeyUpdate (RFC 8446 §7.2).
    mutating func update() -> Bool {
        secret = suite.expand(secret, "tls13 traffic upd", suite.secretSize)
        sequence = 0
        return useSecret()
    }

    private mutating func startRecord(_ header: UnsafeRawPointer) -> Bool {
        let low = (nonce.low ^ sequence).bigEndian
        let high = nonce.high.bigEndian
        sequence &+= 1
        return withUnsafeTemporaryAllocation(byteCount: 12, alignment: 4) { iv in
            iv.storeBytes(of: high, as: UInt32.self)
            iv.storeBytes(of: low, toByteOffset: 4, as: UInt64.self)
            var count: CInt = 0
            return EVP_CipherInit_ex(cipher, nil, nil, nil, iv.baseAddress?.assumingMemoryBound(to: UInt8.self), -1)
                == 1
                && EVP_CipherUpdate(
                    cipher, nil, &count, header.assumingMemoryBound(to: UInt8.self), CInt(Self.headerSize)) == 1
        }
    }

    /// Seals at most `recordSize` bytes as one record at the end of `output`. False: the library failed, and nothing was added.
    mutating func seal(_ plaintext: UnsafeRawBufferPointer, _ type: UInt8, into output: inout GrowingBytes) -> Bool {
        let length = plaintext.count + 1 + Self.tagSize
        let record = output.extend(by: Self.headerSize + length)
        record.storeBytes(of: ContentType.data, as: UInt8.self)
        record.storeBytes(of: UInt16(0x0303).bigEndian, toByteOffset: 1, as: UInt16.self)
        record.storeBytes(of: UInt16(length).bigEndian, toByteOffset: 3, as: UInt16.self)
        guard startRecord(record), finishRecord(record + Self.headerSize, plaintext, type) else {
            output.removeLast(Self.headerSize + length)
            return false
        }
        return true
    }

    private func finishRecord(_ body: UnsafeMutableRawPointer, _ plaintext: UnsafeRawBufferPointer, _ type: UInt8)
        -> Bool
    {
        let body = body.assumingMemoryBound(to: UInt8.self)
        let base = plaintext.baseAddress?.assumingMemoryBound(to: UInt8.self)
        var type = type
        var count: CInt = 0
        return (plaintext.isEmpty || EVP_CipherUpdate(cipher, body, &count, base, CInt(plaintext.count)) == 1)
            && EVP_CipherUpdate(cipher, body + plaintext.count, &count, &type, 1) == 1
            && EVP_CipherFinal_ex(cipher, body + plaintext.count + 1, &count) == 1
            && EVP_CIPHER_CTX_ctrl(
                cipher, EVP_CTRL_AEAD_GET_TAG, CInt(Self.tagSize), body + plaintext.count + 1) == 1
    }

    /// Opens one whole record with its header into `scratch`; the content and its type, or nil when it was not sealed under
    /// this key.
    mutating func open(
        _ record: UnsafeRawBufferPointer, into scratch: UnsafeMutableRawBufferPointer
    ) -> (type: UInt8, content: UnsafeRawBufferPointer)? {
        let length = record.count - Self.headerSize - Self.tagSize
        guard length > 0, length <= scratch.count, let base = record.baseAddress, let room = scratch.baseAddress,
            startRecord(base)
        else { return nil }
        let body = (base + Self.headerSize).assumingMemoryBound(to: UInt8.self)
        let out = room.assumingMemoryBound(to: UInt8.self)
        var count: CInt = 0
        guard EVP_CipherUpdate(cipher, out, &count, body, CInt(length)) == 1,
            EVP_CIPHER_CTX_ctrl(
                cipher, EVP_CTRL_AEAD_SET_TAG, CInt(Self.tagSize), UnsafeMutableRawPointer(mutating: body + length))
                == 1,
            EVP_CipherFinal_ex(cipher, out + length, &count) == 1
        else { return nil }
        // The content's type is the last byte that is not padding (RFC 8446 §5.4).
        var end = length
        while end > 0, out[end - 1] == 0 { end -= 1 }
        guard end > 0 else { return (0, UnsafeRawBufferPointer(start: room, count: 0)) }
        return (out[end - 1], UnsafeRawBufferPointer(start: room, count: end - 1))
    }
}

extension RecordProtection {
    /// A cipher suite of TLS 1.3 that we have the parts of.
    struct Suite {
        let cipher: OpaquePointer
        let digest: LabelledHKDF
        let keySize: Int
        var secretSize: Int { digest.size }

        /// By its number; nil for one that is not known here, which stays OpenSSL's.
        init?(_ number: UInt16) {
            switch number {
            case 0x1301: self.init(Ciphers.aes128, .sha256, 16)
            case 0x1302: self.init(Ciphers.aes256, .sha384, 32)
            case 0x1303: self.init(Ciphers.chacha, .sha256, 32)
            default: return nil
            }
        }

        private init?(_ cipher: OpaquePointer?, _ digest: LabelledHKDF, _ keySize: Int) {
            guard let cipher else { return nil }
            self.cipher = cipher
            self.digest = digest
            self.keySize = keySize
        }

        /// HKDF-Expand-Label with an empty context (RFC 8446 §7.1); `label` with its prefix.
        func expand(_ secret: Secret, _ label: StaticString, _ count: Int) -> Secret {
            let label = UnsafeRawBufferPointer(start: label.utf8Start, count: label.utf8CodeUnitCount)
            return Secret(count: count) { output in
                let isDone = secret.withBytes {
                    digest.expand($0, label, UnsafeRawBufferPointer(start: nil, count: 0), into: output)
                }
                precondition(isDone, "a key is not longer than HKDF allows")
            }
        }
    }

    /// Fetched once: an unfetched one is looked up for every connection.
    private enum Ciphers {
        nonisolated(unsafe) static let aes128 = EVP_CIPHER_fetch(nil, "AES-128-GCM", nil)
        nonisolated(unsafe) static let aes256 = EVP_CIPHER_fetch(nil, "AES-256-GCM", nil)
        nonisolated(unsafe) static let chacha = EVP_CIPHER_fetch(nil, "ChaCha20-Poly1305", nil)
    }
}
