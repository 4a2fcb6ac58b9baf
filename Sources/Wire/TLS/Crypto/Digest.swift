import COpenSSL

/// One-shot digests. Use them for whole values; nothing here streams.
public enum Digest {
    /// SHA-256, 32 bytes.
    public static func sha256(_ bytes: some Collection<UInt8>) -> [UInt8] { digest(bytes, EVP_sha256(), length: 32) }

    /// SHA-1, 20 bytes: only for protocols that fix it (the WebSocket handshake), never for security.
    public static func sha1(_ bytes: some Collection<UInt8>) -> [UInt8] { digest(bytes, EVP_sha1(), length: 20) }

    /// MD5, 16 bytes: only for formats that fix it (JA3 fingerprints), never for security.
    public static func md5(_ bytes: some Collection<UInt8>) -> [UInt8] { digest(bytes, EVP_md5(), length: 16) }

    /// HMAC with SHA-256, 32 bytes.
    public static func hmacSHA256(key: [UInt8], _ bytes: some Collection<UInt8>) -> [UInt8] {
        withContiguousBytes(bytes) { input in
            [UInt8](unsafeUninitializedCapacity: 32) { output, count in
                var written: UInt32 = 0
                let result = HMAC(
                    EVP_sha256(), key, CInt(truncatingIfNeeded: key.count),
                    input.baseAddress?.assumingMemoryBound(to: UInt8.self), input.count, output.baseAddress, &written)
                precondition(result != nil && written == 32, "HMAC-SHA256 is always available")
                count = 32
            }
        }
    }

    /// Whether two byte strings are equal, in time that does not depend on where they differ.
    public static func equalInConstantTime(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        a.count == b.count && CRYPTO_memcmp(a, b, a.count) == 0
    }

    private static func digest(_ bytes: some Collection<UInt8>, _ kind: OpaquePointer?, length: Int) -> [UInt8] {
        withContiguousBytes(bytes) { input in
            [UInt8](unsafeUninitializedCapacity: length) { output, count in
                let done = EVP_Digest(input.baseAddress, input.count, output.baseAddress, nil, kind, nil)
                precondition(done == 1, "the digest is always available")
                count = length
            }
        }
    }
}

func withContiguousBytes<R>(_ bytes: some Collection<UInt8>, _ body: (UnsafeRawBufferPointer) -> R) -> R {
    if let result = bytes.withContiguousStorageIfAvailable({ body(UnsafeRawBufferPointer($0)) }) { return result }
    return [UInt8](bytes).withUnsafeBytes(body)
}
