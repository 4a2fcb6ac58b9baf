import Bytes
import COpenSSL

/// The two ends of a session's BIO: the caller's input, shown while `receive` runs, and a growing output.
struct Ends {
    var input = UnsafeRawBufferPointer(start: nil, count: 0)
    var taken = 0
    var output = GrowingBytes()
    /// Why the peer was not let in, for the session to tell.
    var refusal: Refusal?
    var logsKeys = true
    /// Of a server's handshake, until it is done.
    var secrets = TrafficSecrets()
}

/// A BIO over `Ends`: no copy between a socket's buffer and OpenSSL's but the one that OpenSSL makes.
/// Made once and never freed; OpenSSL only reads it.
nonisolated(unsafe) let bufferBIO: OpaquePointer? = {
    let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft buffers")
    BIO_meth_set_read(method) { bio, buffer, count in
        guard let bio, let buffer, count > 0 else { return 0 }
        weft_bio_clear_retry(bio)
        let ends = BIO_get_data(bio).assumingMemoryBound(to: Ends.self)
        let left = ends.pointee.input.count - ends.pointee.taken
        guard left > 0, let input = ends.pointee.input.baseAddress else {
            weft_bio_set_retry_read(bio)
            return -1
        }
        let take = min(left, Int(count))
        UnsafeMutableRawPointer(buffer).copyMemory(from: input + ends.pointee.taken, byteCount: take)
        ends.pointee.taken += take
        return CInt(take)
    }
    BIO_meth_set_write(method) { bio, buffer, count in
        guard let bio, let buffer, count > 0 else { return 0 }
        let ends = BIO_get_data(bio).assumingMemoryBound(to: Ends.self)
        ends.pointee.output.append(UnsafeRawBufferPointer(start: buffer, count: Int(count)))
        return count
    }
    BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
    return method
}()
