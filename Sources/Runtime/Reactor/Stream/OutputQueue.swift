import CLinux
import Glibc

/// Bytes that a peer has not taken yet: pooled blocks and shared arrays, in order. Empty, it owns no memory.
struct OutputQueue {
    private enum Storage {
        case block(BufferPool.Block)
        /// Kept by reference: a frame that many peers wait for is stored once.
        case shared([UInt8])
    }

    private struct Segment {
        var storage: Storage
        var start: Int
        var end: Int
    }

    /// Segments that one system call takes at most.
    private static let maximumVectors = 32

    private(set) var count = 0
    private var segments: [Segment] = []
    private var head = 0

    var isEmpty: Bool { count == 0 }

    mutating func append(copying bytes: UnsafeRawBufferPointer, _ pool: BufferPool) {
        var rest = bytes
        count += bytes.count
        if let last = segments.indices.last, last >= head, case .block(let block) = segments[last].storage {
            let room = min(block.capacity - segments[last].end, rest.count)
            if room > 0 {
                (block.base + segments[last].end).copyMemory(from: rest.baseAddress!, byteCount: room)
                segments[last].end += room
                rest = UnsafeRawBufferPointer(rebasing: rest[room...])
            }
        }
        while rest.count > 0 {
            let block = pool.take(atLeast: min(rest.count, BufferPool.largest))
            let part = min(block.capacity, rest.count)
            block.base.copyMemory(from: rest.baseAddress!, byteCount: part)
            segments.append(Segment(storage: .block(block), start: 0, end: part))
            rest = UnsafeRawBufferPointer(rebasing: rest[part...])
        }
    }

    mutating func append(sharing bytes: [UInt8], from start: Int) {
        count += bytes.count - start
        segments.append(Segment(storage: .shared(bytes), start: start, end: bytes.count))
    }

    /// Writes as much as the kernel takes. Answers the error number that ended it: 0 when all is written, `EAGAIN` when
    /// the peer must read first.
    mutating func write(to fd: CInt, isSocket: Bool, _ pool: BufferPool) -> CInt {
        while count > 0 {
            let written = withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.maximumVectors) { vectors in
                var used = 0
                while used < vectors.count, head + used < segments.count {
                    let segment = segments[head + used]
                    let base: UnsafeMutableRawPointer? =
                        switch segment.storage {
                        case .block(let block): block.base
                        // The array lives in `segments` and is not touched until the call returns.
                        case .shared(let bytes):
                            bytes.withUnsafeBytes { UnsafeMutableRawPointer(mutating: $0.baseAddress) }
                        }
                    vectors[used] = iovec(
                        iov_base: base.map { $0 + segment.start }, iov_len: segment.end - segment.start)
                    used += 1
                }
                guard isSocket else { return writev(fd, vectors.baseAddress, CInt(used)) }
                var message = msghdr()
                message.msg_iov = vectors.baseAddress
                message.msg_iovlen = used
                return sendmsg(fd, &message, CInt(MSG_NOSIGNAL_))
            }
            if written < 0 {
                if errno == EINTR { continue }
                return errno
            }
            consume(written, pool)
        }
        return 0
    }

    private mutating func consume(_ written: Int, _ pool: BufferPool) {
        count -= written
        var rest = written
        while rest > 0 {
            let part = min(rest, segments[head].end - segments[head].start)
            segments[head].start += part
            rest -= part
            guard segments[head].start == segments[head].end else { break }
            if case .block(let block) = segments[head].storage { pool.give(back: block) }
            segments[head].storage = .shared([])
            head += 1
        }
        if head == segments.count {
            segments = []
            head = 0
        } else if head >= 64 {
            segments.removeFirst(head)
            head = 0
        }
    }

    mutating func removeAll(_ pool: BufferPool) {
        for segment in segments[head...] {
            if case .block(let block) = segment.storage { pool.give(back: block) }
        }
        segments = []
        head = 0
        count = 0
    }
}
