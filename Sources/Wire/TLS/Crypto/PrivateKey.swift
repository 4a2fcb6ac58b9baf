import COpenSSL

/// A private key, P-256 or RSA, that signs certificates and tokens. Immutable and shared freely between threads.
public struct PrivateKey: Sendable {
    public enum Algorithm: Hashable, Sendable {
        case p256
        /// Modulus size in bits, 2048 … 8192.
        case rsa(bits: Int)
    }

    let handle: KeyHandle

    /// Makes a new key; RSA takes some tenths of a second.
    public static func generate(_ algorithm: Algorithm = .p256) throws(TLSError) -> PrivateKey {
        let key: OpaquePointer?
        switch algorithm {
        case .p256: key = weft_generate_p256()
        case .rsa(let bits):
            guard (2048...8192).contains(bits) else {
                throw TLSError(.configuration, "an RSA key has 2048 to 8192 bits, not \(bits)")
            }
            key = weft_generate_rsa(bits)
        }
        guard let key else { throw .fromQueue(.library, "cannot generate a \(algorithm) key") }
        return PrivateKey(handle: KeyHandle(owning: key))
    }

    /// Reads the first private key (PKCS#8, SEC 1 or PKCS#1) in PEM text; an encrypted one needs its password.
    public init(pem: String, password: String? = nil) throws(TLSError) {
        let key: OpaquePointer?
        if let password {
            // Without a callback OpenSSL takes the argument for the password itself.
            key = password.withCString { password in
                withMemoryBIO(reading: pem) {
                    PEM_read_bio_PrivateKey($0, nil, nil, UnsafeMutableRawPointer(mutating: password))
                }
            }
        } else {
            key = withMemoryBIO(reading: pem) { PEM_read_bio_PrivateKey($0, nil, refusePassphrase, nil) }
        }
        guard let key else { throw .fromQueue(.configuration, "no usable private key in the PEM text") }
        handle = KeyHandle(owning: key)
    }

    init(handle: KeyHandle) { self.handle = handle }

    /// PKCS#8, unencrypted.
    public var pem: String {
        collectMemoryBIO { PEM_write_bio_PrivateKey($0, handle.raw, nil, nil, 0, nil, nil) }
    }

    /// PKCS#8, encrypted with a key that is derived from the passphrase (PBES2: PBKDF2 with SHA-256, AES-256-CBC).
    public func pem(encryptedWith passphrase: String) throws(TLSError) -> String {
        let bytes = passphrase.utf8.map { CChar(bitPattern: $0) }
        // OpenSSL would take no passphrase for the wish to ask a terminal.
        guard !bytes.isEmpty else {
            throw TLSError(.configuration, "a key cannot be encrypted with an empty passphrase")
        }
        let count = try int32(bytes.count)
        let text = collectMemoryBIO {
            PEM_write_bio_PKCS8PrivateKey($0, handle.raw, EVP_aes_256_cbc(), bytes, count, nil, nil)
        }
        guard !text.isEmpty else { throw .fromQueue(.library, "cannot encrypt a private key") }
        return text
    }

    /// Whether PEM text holds a key that needs a password.
    public static func isEncrypted(pem: String) -> Bool {
        pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED")
    }

    public var publicKey: PublicKey { PublicKey(handle: handle) }

    /// Signs with SHA-256: ECDSA as a DER sequence for P-256, PKCS#1 v1.5 for RSA.
    public func sign(_ message: [UInt8]) throws(TLSError) -> [UInt8] {
        guard let context = EVP_MD_CTX_new() else { throw .fromQueue(.library, "cannot sign") }
        defer { EVP_MD_CTX_free(context) }
        var length = 0
        guard EVP_DigestSignInit(context, nil, EVP_sha256(), nil, handle.raw) == 1,
            EVP_DigestSign(context, nil, &length, message, message.count) == 1
        else { throw .fromQueue(.library, "cannot sign") }
        var signature = [UInt8](repeating: 0, count: length)
        guard EVP_DigestSign(context, &signature, &length, message, message.count) == 1 else {
            throw .fromQueue(.library, "cannot sign")
        }
        signature.removeLast(signature.count - length)
        return signature
    }
}

/// The public half of a key: verifies signatures, pins peers, and describes itself to token verifiers.
public struct PublicKey: Sendable, Hashable {
    let handle: KeyHandle

    /// Reads a `PUBLIC KEY` block; a private key or certificate is accepted too, as kube-apiserver does.
    public init(pem: String) throws(TLSError) {
        if let key = withMemoryBIO(reading: pem, { PEM_read_bio_PUBKEY($0, nil, refusePassphrase, nil) }) {
            handle = KeyHandle(owning: key)
        } else if let key = try? PrivateKey(pem: pem) {
            handle = key.handle
        } else if let certificate = try? Certificate(pem: pem) {
            handle = certificate.publicKey.handle
        } else {
            throw .fromQueue(.configuration, "no usable public key in the PEM text")
        }
        ERR_clear_error()
    }

    init(handle: KeyHandle) { self.handle = handle }

    public var pem: String { collectMemoryBIO { PEM_write_bio_PUBKEY($0, handle.raw) } }

    /// SubjectPublicKeyInfo in DER; its SHA-256 is what pins compare.
    public var der: [UInt8] { derBytes { i2d_PUBKEY(handle.raw, $0) } }

    /// SHA-256 of the SubjectPublicKeyInfo.
    public var pin: [UInt8] { Digest.sha256(der) }

    public var isEllipticCurve: Bool { EVP_PKEY_get_base_id(handle.raw) == EVP_PKEY_EC }

    /// Whether `signature` is this key's over `message` with SHA-256 (see `PrivateKey.sign`).
    public func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        guard let context = EVP_MD_CTX_new() else { return false }
        defer {
            EVP_MD_CTX_free(context)
            ERR_clear_error()
        }
        return EVP_DigestVerifyInit(context, nil, EVP_sha256(), nil, handle.raw) == 1
            && EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }

    /// An unsigned big-endian component ("n", "e", "qx", "qy"), left-padded to `width` bytes where given.
    func component(_ name: String, width: Int? = nil) -> [UInt8]? {
        var number: OpaquePointer?
        guard EVP_PKEY_get_bn_param(handle.raw, name, &number) == 1, let number else { return nil }
        defer { BN_clear_free(number) }
        let count = width ?? Int(BN_num_bits(number) + 7) / 8
        var bytes = [UInt8](repeating: 0, count: count)
        return BN_bn2binpad(number, &bytes, CInt(truncatingIfNeeded: count)) == CInt(truncatingIfNeeded: count)
            ? bytes : nil
    }

    public static func == (a: PublicKey, b: PublicKey) -> Bool { EVP_PKEY_eq(a.handle.raw, b.handle.raw) == 1 }
    public func hash(into hasher: inout Hasher) { hasher.combine(der) }
}

/// Owns one `EVP_PKEY`. The object is never changed after it is made and OpenSSL counts its references atomically,
/// so threads may share it.
final class KeyHandle: @unchecked Sendable {
    let raw: OpaquePointer
    init(owning raw: OpaquePointer) { self.raw = raw }
    deinit { EVP_PKEY_free(raw) }
}

/// Answers OpenSSL's wish for a passphrase with "none", so that an encrypted key fails instead of asking a terminal.
let refusePassphrase: @convention(c) (UnsafeMutablePointer<CChar>?, CInt, CInt, UnsafeMutableRawPointer?) -> CInt = {
    _, _, _, _ in -1
}

func withMemoryBIO<R>(reading text: String, _ body: (OpaquePointer) -> R?) -> R? {
    var text = text
    return text.withUTF8 { bytes in
        guard bytes.count <= maximumPEMBytes, let bio = BIO_new_mem_buf(bytes.baseAddress, CInt(bytes.count)) else {
            return nil
        }
        defer { BIO_free(bio) }
        return body(bio)
    }
}

/// Longest PEM text that is looked at; a longer one is treated as holding nothing.
let maximumPEMBytes = 4 << 20

func collectMemoryBIO(_ body: (OpaquePointer) -> CInt) -> String {
    guard let bio = BIO_new(BIO_s_mem()) else { return "" }
    defer { BIO_free(bio) }
    guard body(bio) == 1 else { return "" }
    var data: UnsafeMutablePointer<CChar>?
    let count = weft_bio_memory(bio, &data)
    guard let data, count > 0 else { return "" }
    return String(decoding: UnsafeRawBufferPointer(start: data, count: count), as: UTF8.self)
}

/// Runs one of OpenSSL's `i2d_…` functions twice: once for the size, once for the bytes.
func derBytes(_ encode: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?) -> CInt) -> [UInt8] {
    let count = Int(encode(nil))
    guard count > 0 else { return [] }
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        var cursor = buffer.baseAddress
        filled = encode(&cursor) == CInt(count) ? count : 0
    }
}
