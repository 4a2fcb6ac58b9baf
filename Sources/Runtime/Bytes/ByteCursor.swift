/// Reads forward over bytes that somebody else owns; every read answers nil, and moves nothing, when too little is left.
///
/// Plain and cheap: a pointer and two words. Valid only as long as the buffer; never store it.
public struct ByteCursor {
    public let buffer: UnsafeRawBufferPointer
    @usableFromInline var offset: Int

    @inlinable
    public init(_ buffer: UnsafeRawBufferPointer) {
        self.buffer = buffer
        self.offset = 0
    }

    /// How many bytes were read: 0…buffer.count.
    @inlinable public var position: Int { offset }
    @inlinable public var remaining: Int { buffer.count &- offset }
    @inlinable public var isAtEnd: Bool { offset == buffer.count }

    /// What was not read yet.
    @inlinable
    public var rest: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: buffer[offset...]) }

    /// Moves to an absolute position; false, and stays, when outside of the buffer.
    @inlinable
    public mutating func seek(to position: Int) -> Bool {
        guard position >= 0, position <= buffer.count else { return false }
        offset = position
        return true
    }

    @inlinable
    public mutating func skip(_ count: Int) -> Bool {
        guard count >= 0, count <= remaining else { return false }
        offset &+= count
        return true
    }

    /// The next `count` bytes in place, without a copy.
    @inlinable
    public mutating func readBytes(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, count <= remaining else { return nil }
        let slice = UnsafeRawBufferPointer(rebasing: buffer[offset..<(offset &+ count)])
        offset &+= count
        return slice
    }

    @inlinable
    public func peekUInt8() -> UInt8? { offset < buffer.count ? buffer[offset] : nil }

    @inlinable
    public mutating func readUInt8() -> UInt8? { readInteger(UInt8.self) }

    /// Network order, as all of these without a suffix.
    @inlinable
    public mutating func readUInt16() -> UInt16? { readInteger(UInt16.self).map { UInt16(bigEndian: $0) } }
    @inlinable
    public mutating func readUInt32() -> UInt32? { readInteger(UInt32.self).map { UInt32(bigEndian: $0) } }
    @inlinable
    public mutating func readUInt64() -> UInt64? { readInteger(UInt64.self).map { UInt64(bigEndian: $0) } }

    @inlinable
    public mutating func readUInt16LE() -> UInt16? { readInteger(UInt16.self).map { UInt16(littleEndian: $0) } }
    @inlinable
    public mutating func readUInt32LE() -> UInt32? { readInteger(UInt32.self).map { UInt32(littleEndian: $0) } }
    @inlinable
    public mutating func readUInt64LE() -> UInt64? { readInteger(UInt64.self).map { UInt64(littleEndian: $0) } }

    /// An integer as this machine stores it, aligned or not: netlink headers.
    @inlinable
    public mutating func readInteger<I: FixedWidthInteger & BitwiseCopyable>(_ type: I.Type) -> I? {
        guard MemoryLayout<I>.size <= remaining else { return nil }
        let value = buffer.loadUnaligned(fromByteOffset: offset, as: I.self)
        offset &+= MemoryLayout<I>.size
        return value
    }
}
