// Compression of byte streams: bytes in, bytes out. No HTTP, no I/O.

import CZlib

/// A gzip stream (RFC 1952) that is being written.
public final class GzipCompressor {
    /// zlib's parameters; the defaults are Envoy's.
    public struct Options: Hashable, Sendable {
        /// 1 … 9, −1 for zlib's default.
        public var level: Int32 = -1
        /// 1 … 9: memory against speed.
        public var memoryLevel: Int32 = 5
        /// 9 … 15: the window's logarithm.
        public var windowBits: Int32 = 12
        public var strategy: Int32 = Z_DEFAULT_STRATEGY
        public init() {}
    }

    private var stream = z_stream()

    /// - Returns: nil when there is no memory.
    public init?(_ options: Options = Options()) {
        guard
            weft_deflate_init(
                &stream, options.level, max(options.windowBits, 9), options.memoryLevel, options.strategy) == Z_OK
        else { return nil }
    }

    deinit { deflateEnd(&stream) }

    /// Compresses `bytes` and shows what came of them, piece by piece, so that the reader can make all of them out. `end`: nothing
    /// follows.
    public func write(_ bytes: UnsafeRawBufferPointer, end: Bool, _ output: (UnsafeRawBufferPointer) -> Void) {
        stream.next_in = UnsafeMutablePointer(mutating: bytes.bindMemory(to: UInt8.self).baseAddress)
        stream.avail_in = UInt32(bytes.count)
        withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 16) { room in
            repeat {
                stream.next_out = room.bindMemory(to: UInt8.self).baseAddress
                stream.avail_out = UInt32(room.count)
                deflate(&stream, end ? Z_FINISH : Z_SYNC_FLUSH)
                let count = room.count - Int(stream.avail_out)
                if count > 0 { output(UnsafeRawBufferPointer(rebasing: room[..<count])) }
            } while stream.avail_out == 0
        }
    }
}
