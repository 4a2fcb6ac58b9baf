/// One message in place: valid as long as the buffer that it was read from.
public struct NetlinkMessage {
    public static let headerSize = 16

    public let type: UInt16
    public let flags: NetlinkFlags
    public let sequence: UInt32
    /// Whom it is for, or from: 0 is the kernel.
    public let port: UInt32
    public let payload: UnsafeRawBufferPointer

    /// Types below `NLMSG_MIN_TYPE` belong to the transport.
    enum Control {
        static let noop: UInt16 = 1
        static let error: UInt16 = 2
        static let done: UInt16 = 3
        static let overrun: UInt16 = 4
        static let firstOfFamilies: UInt16 = 0x10
    }

    /// The payload behind a fixed header of `size` bytes; empty when there is less.
    public func attributes(after size: Int) -> NetlinkAttributes {
        let start = Swift.min((size + 3) & ~3, payload.count)
        return NetlinkAttributes(UnsafeRawBufferPointer(rebasing: payload[start...]))
    }
}

/// The messages of one datagram. Ends at the first that does not fit into it.
public struct NetlinkMessages: Sequence {
    let buffer: UnsafeRawBufferPointer

    public init(_ buffer: UnsafeRawBufferPointer) { self.buffer = buffer }

    public struct Iterator: IteratorProtocol {
        let buffer: UnsafeRawBufferPointer
        var offset = 0

        public mutating func next() -> NetlinkMessage? {
            guard buffer.count - offset >= NetlinkMessage.headerSize else { return nil }
            let length = Int(buffer.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            guard length >= NetlinkMessage.headerSize, length <= buffer.count - offset else { return nil }
            let message = NetlinkMessage(
                type: buffer.loadUnaligned(fromByteOffset: offset + 4, as: UInt16.self),
                flags: NetlinkFlags(rawValue: buffer.loadUnaligned(fromByteOffset: offset + 6, as: UInt16.self)),
                sequence: buffer.loadUnaligned(fromByteOffset: offset + 8, as: UInt32.self),
                port: buffer.loadUnaligned(fromByteOffset: offset + 12, as: UInt32.self),
                payload: UnsafeRawBufferPointer(
                    rebasing: buffer[(offset + NetlinkMessage.headerSize)..<(offset + length)]))
            offset = Swift.min(offset + (length + 3) & ~3, buffer.count)
            return message
        }
    }

    public func makeIterator() -> Iterator { Iterator(buffer: buffer) }
}
