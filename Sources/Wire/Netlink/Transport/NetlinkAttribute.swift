public import Bytes

/// One attribute of a message, in place: valid as long as the buffer that it was read from.
///
/// Integers are nil when the value has another size, so a malformed attribute counts as absent.
public struct NetlinkAttribute {
    /// Without the nest and byte-order bits.
    public let type: UInt16
    public let value: UnsafeRawBufferPointer

    public var u8: UInt8? { integer() }
    public var u16: UInt16? { integer() }
    public var u32: UInt32? { integer() }
    public var u64: UInt64? { integer() }
    public var i32: Int32? { integer() }
    public var u16BigEndian: UInt16? { integer().map(UInt16.init(bigEndian:)) }
    public var u32BigEndian: UInt32? { integer().map(UInt32.init(bigEndian:)) }
    public var u64BigEndian: UInt64? { integer().map(UInt64.init(bigEndian:)) }

    /// Up to the first zero byte; nil when it is not UTF-8.
    public var string: String? {
        let text = value.prefix { $0 != 0 }
        return String(validating: text, as: UTF8.self)
    }

    public var bytes: [UInt8] { Array(value) }
    public var address: IPAddress? { value.count == 4 || value.count == 16 ? IPAddress(bytes: value) : nil }
    public var nested: NetlinkAttributes { NetlinkAttributes(value) }

    private func integer<I: FixedWidthInteger & BitwiseCopyable>() -> I? {
        value.count == MemoryLayout<I>.size ? value.loadUnaligned(as: I.self) : nil
    }
}

/// The attributes of a message or nest, one after the other. Ends at the first that does not fit into the buffer.
public struct NetlinkAttributes: Sequence {
    public let buffer: UnsafeRawBufferPointer

    public init(_ buffer: UnsafeRawBufferPointer) { self.buffer = buffer }

    /// The first attribute of a type; nil for none.
    public func first(_ type: UInt16) -> NetlinkAttribute? { first { $0.type == type } }

    public struct Iterator: IteratorProtocol {
        let buffer: UnsafeRawBufferPointer
        var offset = 0

        public mutating func next() -> NetlinkAttribute? {
            guard buffer.count - offset >= 4 else { return nil }
            let length = Int(buffer.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            guard length >= 4, length <= buffer.count - offset else { return nil }
            let type = buffer.loadUnaligned(fromByteOffset: offset + 2, as: UInt16.self) & 0x3FFF
            let value = UnsafeRawBufferPointer(rebasing: buffer[(offset + 4)..<(offset + length)])
            offset = Swift.min(offset + (length + 3) & ~3, buffer.count)
            return NetlinkAttribute(type: type, value: value)
        }
    }

    public func makeIterator() -> Iterator { Iterator(buffer: buffer) }
}
