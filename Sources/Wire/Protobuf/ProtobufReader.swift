// Protocol buffers on the wire: fields in, fields out. No schema, no I/O: who knows what a field means uses these.

/// The fields of one message, in the order of the wire. Never reads beyond its bytes.
///
/// Generic over the error of the codec that uses it, so that errors pass through without being caught and wrapped.
public struct ProtobufReader<Failure: ProtobufFailure> {
    @usableFromInline var at: UnsafeRawPointer
    @usableFromInline let end: UnsafeRawPointer

    /// One field's number and what stands behind it.
    public struct Field {
        public var number: Int
        public var wire: WireType
        /// The value of a varint or fixed field.
        public var scalar: UInt64 = 0
        /// The value of a field with a length, without the length; the fields of a group.
        public var bytes = UnsafeRawBufferPointer(start: nil, count: 0)

        @inlinable
        public init(number: Int, wire: WireType, scalar: UInt64 = 0) {
            self.number = number
            self.wire = wire
            self.scalar = scalar
        }
    }

    /// The bytes must outlive the reader.
    @inlinable
    public init(_ bytes: UnsafeRawBufferPointer) {
        // An empty buffer may have no address; it is never read then.
        at = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
        end = at + bytes.count
    }

    /// Nil at the end of the message.
    @inlinable
    public mutating func next() throws(Failure) -> Field? {
        guard at < end else { return nil }
        let tag = try varint()
        guard tag >> 3 > 0, tag >> 3 < 1 << 29 else { throw Self.malformed("a field number") }
        guard let wire = WireType(rawValue: UInt8(tag & 7)) else { throw Self.malformed("a wire type") }
        var field = Field(number: Int(tag >> 3), wire: wire)
        switch wire {
        case .varint: field.scalar = try varint()
        case .fixed64: field.scalar = UInt64(littleEndian: try take(8).loadUnaligned(as: UInt64.self))
        case .fixed32: field.scalar = UInt64(UInt32(littleEndian: try take(4).loadUnaligned(as: UInt32.self)))
        case .bytes:
            guard let length = Int(exactly: try varint()) else { throw Self.malformed("a length") }
            field.bytes = try take(length)
        case .group: field.bytes = try group(field.number)
        case .endGroup: throw Self.malformed("the end of a group")
        }
        return field
    }

    @inlinable public var isAtEnd: Bool { at >= end }

    /// A number by itself: the elements of a packed field.
    @inlinable
    public mutating func varint() throws(Failure) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while at < end {
            let byte = at.load(as: UInt8.self)
            at += 1
            if shift == 63, byte > 1 { throw Self.malformed("a number") }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
            if shift > 63 { throw Self.malformed("a number") }
        }
        throw Self.malformed("the end")
    }

    /// Four bytes by themselves: the elements of a packed field.
    @inlinable
    public mutating func fixed32() throws(Failure) -> UInt32 {
        UInt32(littleEndian: try take(4).loadUnaligned(as: UInt32.self))
    }

    @inlinable
    public mutating func fixed64() throws(Failure) -> UInt64 {
        UInt64(littleEndian: try take(8).loadUnaligned(as: UInt64.self))
    }

    @inlinable
    mutating func take(_ count: Int) throws(Failure) -> UnsafeRawBufferPointer {
        guard count <= end - at else { throw Self.malformed("the end") }
        defer { at += count }
        return UnsafeRawBufferPointer(start: at, count: count)
    }

    /// Groups are a way of proto2 that nobody sends any more; they are passed over with all that is in them.
    @inlinable
    mutating func group(_ number: Int) throws(Failure) -> UnsafeRawBufferPointer {
        let start = at
        // The groups that are open. Each costs its opener at least two bytes, so the input bounds the stack.
        var open = [UInt64(number)]
        var last = at
        while let innermost = open.last {
            last = at
            let tag = try varint()
            guard let wire = WireType(rawValue: UInt8(tag & 7)) else { throw Self.malformed("a wire type") }
            switch wire {
            case .varint: _ = try varint()
            case .fixed64: _ = try take(8)
            case .fixed32: _ = try take(4)
            case .bytes:
                guard let length = Int(exactly: try varint()) else { throw Self.malformed("a length") }
                _ = try take(length)
            case .group: open.append(tag >> 3)
            case .endGroup:
                guard tag >> 3 == innermost else { throw Self.malformed("the end of a group") }
                open.removeLast()
            }
        }
        return UnsafeRawBufferPointer(start: start, count: last - start)
    }

    @inlinable
    static func malformed(_ what: String) -> Failure { Failure(malformed: what) }
}

/// What a codec throws, as far as the wire is concerned.
public protocol ProtobufFailure: Error {
    /// - Parameter what: What the bytes were not: `a number`, `the end`.
    init(malformed what: String)
}
