/// The fields of one message, in the order of the wire. Never reads beyond its bytes.
struct ProtobufReader {
    private var at: UnsafeRawPointer
    private let end: UnsafeRawPointer

    /// One field's number and what stands behind it.
    struct Field {
        var number: Int
        var wire: WireType
        /// The value of a varint or fixed field.
        var scalar: UInt64 = 0
        /// The value of a field with a length.
        var bytes = UnsafeRawBufferPointer(start: nil, count: 0)
    }

    /// The bytes must outlive the reader.
    init(_ bytes: UnsafeRawBufferPointer) {
        // An empty buffer may have no address; it is never read then.
        at = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
        end = at + bytes.count
    }

    /// Nil at the end of the message.
    mutating func next() throws(CodecError) -> Field? {
        guard at < end else { return nil }
        let tag = try varint()
        guard let number = Int(exactly: tag >> 3), number > 0, number < 1 << 29 else {
            throw Self.malformed("a field number")
        }
        guard let wire = WireType(rawValue: UInt8(tag & 7)) else { throw Self.malformed("a wire type") }
        var field = Field(number: number, wire: wire)
        switch wire {
        case .varint: field.scalar = try varint()
        case .fixed64: field.scalar = UInt64(littleEndian: try take(8).loadUnaligned(as: UInt64.self))
        case .fixed32: field.scalar = UInt64(UInt32(littleEndian: try take(4).loadUnaligned(as: UInt32.self)))
        case .bytes:
            guard let length = Int(exactly: try varint()) else { throw Self.malformed("a length") }
            field.bytes = try take(length)
        }
        return field
    }

    var isAtEnd: Bool { at >= end }

    mutating func varint() throws(CodecError) -> UInt64 {
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

    private mutating func take(_ count: Int) throws(CodecError) -> UnsafeRawBufferPointer {
        guard count <= end - at else { throw Self.malformed("the end") }
        defer { at += count }
        return UnsafeRawBufferPointer(start: at, count: count)
    }

    static func malformed(_ what: String) -> CodecError { CodecError("malformed protobuf: \(what)") }
}
