import COpenSSL

/// The key schedule's functions of TLS 1.3 (RFC 5869, RFC 8446 §7.1), without an allocation.
enum LabelledHKDF {
    case sha256, sha384

    /// A digest, and a secret, in bytes.
    var size: Int { self == .sha256 ? 32 : 48 }

    private static let longestSize = 48
    /// Length, label and context of RFC 8446's `HkdfLabel`, at their longest.
    private static let longestLabel = 2 + 1 + 255 + 1 + 255

    /// HKDF-Expand-Label; `label` with its prefix. False: what is asked for is longer than HKDF allows.
    func expand(
        _ secret: UnsafeRawBufferPointer, _ label: UnsafeRawBufferPointer, _ context: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard label.count <= 255, context.count <= 255, output.count <= 255 * size else { return false }
        return withUnsafeTemporaryAllocation(byteCount: Self.longestSize + Self.longestLabel + 1, alignment: 8) {
            info in
            // A block is made of the one before, the label and its own number; the first has none before it.
            let start = size
            var end = start
            func add(_ byte: UInt8) {
                info[end] = byte
                end += 1
            }
            func add(_ bytes: UnsafeRawBufferPointer) {
                add(UInt8(bytes.count))
                UnsafeMutableRawBufferPointer(rebasing: info[end...]).copyMemory(from: bytes)
                end += bytes.count
            }
            add(UInt8(output.count >> 8))
            add(UInt8(output.count & 255))
            add(label)
            add(context)
            var block = (0 as UInt64, 0 as UInt64, 0 as UInt64, 0 as UInt64, 0 as UInt64, 0 as UInt64)
            return withUnsafeMutableBytes(of: &block) { block in
                defer { OPENSSL_cleanse(block.baseAddress, block.count) }
                var done = 0
                var number: UInt8 = 1
                while done < output.count {
                    info[end] = number
                    let from = number == 1 ? start : 0
                    authenticate(secret, UnsafeRawBufferPointer(rebasing: info[from...end]), into: block)
                    let part = min(size, output.count - done)
                    UnsafeMutableRawBufferPointer(rebasing: output[done..<done + part])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: block[..<part]))
                    UnsafeMutableRawBufferPointer(rebasing: info[..<size])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: block[..<size]))
                    done += part
                    number &+= 1
                }
                OPENSSL_cleanse(info.baseAddress, size)
                return true
            }
        }
    }

    /// The next stage's secret (RFC 8446 §7.1): of the present one by way of "derived", and of what is mixed in. Empty stands
    /// for zeros; at the first stage there is no secret before.
    func stage(
        after secret: UnsafeRawBufferPointer, derived label: UnsafeRawBufferPointer,
        mixing input: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard output.count == size else { return false }
        return withUnsafeTemporaryAllocation(byteCount: 2 * Self.longestSize, alignment: 8) { room in
            room.initializeMemory(as: UInt8.self, repeating: 0)
            let salt = UnsafeMutableRawBufferPointer(rebasing: room[..<size])
            let zeros = UnsafeRawBufferPointer(rebasing: room[size..<2 * size])
            defer { OPENSSL_cleanse(room.baseAddress, room.count) }
            if !secret.isEmpty {
                let isDone = withUnsafeBytes(of: self == .sha256 ? Self.emptySHA256 : Self.emptySHA384) {
                    expand(secret, label, UnsafeRawBufferPointer(rebasing: $0[..<size]), into: salt)
                }
                guard isDone else { return false }
            }
            authenticate(UnsafeRawBufferPointer(salt), input.isEmpty ? zeros : input, into: output)
            return true
        }
    }

    private func authenticate(
        _ key: UnsafeRawBufferPointer, _ bytes: UnsafeRawBufferPointer, into mac: UnsafeMutableRawBufferPointer
    ) {
        let mac = mac.baseAddress?.assumingMemoryBound(to: UInt8.self)
        switch self {
        case .sha256: weft_hmac_sha256(key.baseAddress, key.count, bytes.baseAddress, bytes.count, mac)
        case .sha384: weft_hmac_sha384(key.baseAddress, key.count, bytes.baseAddress, bytes.count, mac)
        }
    }

    private typealias Words = (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64)
    /// Digests of no bytes at all, as they stand in memory.
    private static let emptySHA256: Words = words(of: EVP_sha256())
    private static let emptySHA384: Words = words(of: EVP_sha384())

    private static func words(of digest: OpaquePointer?) -> Words {
        var words: Words = (0, 0, 0, 0, 0, 0)
        let done = withUnsafeMutableBytes(of: &words) {
            EVP_Digest(nil, 0, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), nil, digest, nil)
        }
        precondition(done == 1, "the digest is always available")
        return words
    }
}
