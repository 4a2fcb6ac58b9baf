/// The verdict on one request: an `ERROR` message (0 means done), or a `DONE` with its status.
struct NetlinkAcknowledgement: Equatable {
    /// 0, or a positive errno.
    var errno: CInt
    var text = ""
    var offset: UInt32?

    /// nil when the message is no verdict or too short to be one.
    init?(_ message: NetlinkMessage) {
        let payload = message.payload
        switch message.type {
        case NetlinkMessage.Control.error:
            guard payload.count >= 4 else { return nil }
        case NetlinkMessage.Control.done:
            // Some families send DONE without a status.
            guard payload.count >= 4 else {
                errno = 0
                return
            }
        default: return nil
        }
        let status = payload.loadUnaligned(as: Int32.self)
        errno = status == .min ? .max : abs(status)
        guard message.flags.contains(.extendedAck) else { return }
        var start = 4
        if message.type == NetlinkMessage.Control.error {
            // The request's header is repeated, and unless capped, all of it.
            start += NetlinkMessage.headerSize
            if !message.flags.contains(.capped), payload.count >= 8 {
                let length = Int(payload.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
                start = 4 + (max(length, NetlinkMessage.headerSize) + 3) & ~3
            }
        }
        guard start <= payload.count else { return }
        for attribute in NetlinkAttributes(UnsafeRawBufferPointer(rebasing: payload[start...])) {
            switch attribute.type {
            case 1: text = attribute.string ?? ""  // NLMSGERR_ATTR_MSG
            case 2: offset = attribute.u32  // NLMSGERR_ATTR_OFFS
            default: break
            }
        }
    }

    func error(_ subject: String) -> NetlinkError? {
        errno == 0 ? nil : NetlinkError(errno: errno, subject: subject, text: text, offset: offset)
    }
}
