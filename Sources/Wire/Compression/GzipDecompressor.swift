import CZlib

/// A gzip stream (RFC 1952) that is being read.
public final class GzipDecompressor {
    private var stream = z_stream()
    private var hasEnded = false

    /// Bytes that one byte of input may become: what is beyond is an attack.
    public static let largestRatio = 100

    /// - Parameter windowBits: 9 … 15; a stream made with a larger window cannot be read.
    /// - Returns: nil when there is no memory.
    public init?(windowBits: Int32 = 15) {
        guard weft_inflate_init(&stream, windowBits) == Z_OK else { return nil }
    }

    deinit { inflateEnd(&stream) }

    /// Decompresses `bytes` and shows what came of them.
    ///
    /// - Parameter maximumRatio: of bytes out to bytes in over the whole stream.
    /// - Returns: false when the bytes are no gzip stream, or grow beyond the ratio: nothing of the rest can be made out.
    public func write(
        _ bytes: UnsafeRawBufferPointer, maximumRatio: Int = GzipDecompressor.largestRatio,
        _ output: (UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        stream.next_in = UnsafeMutablePointer(mutating: bytes.bindMemory(to: UInt8.self).baseAddress)
        stream.avail_in = UInt32(bytes.count)
        return withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 16) { room in
            while !hasEnded {
                stream.next_out = room.bindMemory(to: UInt8.self).baseAddress
                stream.avail_out = UInt32(room.count)
                let result = inflate(&stream, Z_SYNC_FLUSH)
                let count = room.count - Int(stream.avail_out)
                if count > 0 { output(UnsafeRawBufferPointer(rebasing: room[..<count])) }
                guard result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR else { return false }
                if result == Z_STREAM_END { hasEnded = true }
                guard stream.total_out <= stream.total_in &* UInt(maximumRatio) else { return false }
                if stream.avail_out > 0 { break }
            }
            return true
        }
    }
}
