import Bytes

/// A document that was encoded once, ready to be sent.
public struct EncodedDocument: Sendable {
    public var bytes: [UInt8]
    public var contentType: String
    /// Changes when the bytes do; the value for `ETag`, quotes included.
    public var etag: String

    init(bytes: [UInt8], contentType: String) {
        self.bytes = bytes
        self.contentType = contentType
        etag = "\"\(contentHash(bytes))\""
    }
}

/// A short name for some bytes, for caches to compare: 64 bits of FNV-1a in hexadecimal. No defence against forgery.
func contentHash(_ bytes: [UInt8]) -> String {
    let hash = FNV1a.hash64(bytes)
    let text = String(hash, radix: 16, uppercase: true)
    return String(repeating: "0", count: 16 - text.count) + text
}
