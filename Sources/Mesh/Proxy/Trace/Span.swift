import Bytes
import HTTP
import Protobuf
import TLS

/// Writes spans as OpenTelemetry's `Span` messages. Fields and attributes go in last to first, so each reads from the bottom up.
enum Span {
    enum Kind: UInt64 { case server = 2, client = 3 }

    /// What a span's own fields say.
    struct Facts {
        var context: TraceContext
        /// The span above it; 0 for none.
        var parent: UInt64
        var parentIsRemote: Bool
        var kind: Kind
        /// Nanoseconds of the wall clock.
        var began: UInt64
        var ended: UInt64
        /// Its status, as far as that says that it failed.
        var isError: Bool
    }

    /// A `Span` field of `ScopeSpans`: what `attributes` has prepended since there were `mark` bytes, and `facts` before that.
    static func close(
        _ facts: Facts, name: UnsafeRawBufferPointer, state: UnsafeRawBufferPointer, since mark: Int,
        _ buffer: inout ReverseBuffer
    ) {
        buffer.prepend(fixed64: facts.ended)
        buffer.prepend(field: 8, .fixed64)
        buffer.prepend(fixed64: facts.began)
        buffer.prepend(field: 7, .fixed64)
        buffer.prepend(field: 6, varint: facts.kind.rawValue)
        buffer.prepend(field: 5, bytes: name)
        // Sampled; that it is known whether the parent is elsewhere; and that it is.
        buffer.prepend(fixed32: 0x101 | (facts.parentIsRemote ? 0x200 : 0))
        buffer.prepend(field: 16, .fixed32)
        if facts.parent != 0 { prepend(identity: facts.parent, field: 4, to: &buffer) }
        buffer.prepend(field: 3, bytes: state)
        prepend(identity: facts.context.span, field: 2, to: &buffer)
        let trace = buffer.count
        withUnsafeBytes(of: facts.context.low.bigEndian) { buffer.prepend($0) }
        withUnsafeBytes(of: facts.context.high.bigEndian) { buffer.prepend($0) }
        buffer.close(field: 1, since: trace)
        buffer.close(field: 2, since: mark)
    }

    /// Before anything else of a span: its status stands behind all.
    static func prependStatus(isError: Bool, to buffer: inout ReverseBuffer) {
        guard isError else { return }
        buffer.prepend(field: 15) { $0.prepend(field: 3, varint: 2) }
    }

    static func prepend(event name: StaticString, at time: UInt64, to buffer: inout ReverseBuffer) {
        buffer.prepend(field: 11) { event in
            event.prepend(field: 2, bytes: name.bytes)
            event.prepend(fixed64: time)
            event.prepend(field: 1, .fixed64)
        }
    }

    private static func prepend(identity: UInt64, field: Int, to buffer: inout ReverseBuffer) {
        withUnsafeBytes(of: identity.bigEndian) { buffer.prepend(field: field, bytes: $0) }
    }

    // MARK: Attributes

    static func prepend(
        _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, field: Int = 9, to buffer: inout ReverseBuffer
    ) {
        let mark = buffer.count
        // Of a oneof, also the empty text is there.
        buffer.prepend(value)
        buffer.close(field: 1, since: mark)
        buffer.close(field: 2, since: mark)
        buffer.prepend(field: 1, bytes: key)
        buffer.close(field: field, since: mark)
    }

    /// A value of another type than text, where it reads as one of that.
    static func prepend(
        _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, as type: CustomTag.ValueType,
        to buffer: inout ReverseBuffer
    ) {
        let mark = buffer.count
        switch type {
        case .bool where value.elementsEqual(StaticString("true").bytes): buffer.prepend(varint: 1)
        case .bool where value.elementsEqual(StaticString("false").bytes): buffer.prepend(varint: 0)
        case .int:
            guard let number = value.decimal else { return prepend(key, value, to: &buffer) }
            buffer.prepend(varint: UInt64(bitPattern: number))
        case .double:
            guard let number = Double(String(decoding: value, as: UTF8.self)) else {
                return prepend(key, value, to: &buffer)
            }
            buffer.prepend(fixed64: number.bitPattern)
        default: return prepend(key, value, to: &buffer)
        }
        // The members of an `AnyValue`.
        switch type {
        case .bool: buffer.prepend(field: 2, .varint)
        case .int: buffer.prepend(field: 3, .varint)
        default: buffer.prepend(field: 4, .fixed64)
        }
        buffer.close(field: 2, since: mark)
        buffer.prepend(field: 1, bytes: key)
        buffer.close(field: 9, since: mark)
    }

    static func prepend(_ key: StaticString, _ value: UnsafeRawBufferPointer, to buffer: inout ReverseBuffer) {
        prepend(key.bytes, value, to: &buffer)
    }

    static func prepend(_ key: StaticString, _ value: StaticString, to buffer: inout ReverseBuffer) {
        prepend(key.bytes, value.bytes, to: &buffer)
    }

    static func prepend(_ key: StaticString, decimal value: Int, to buffer: inout ReverseBuffer) {
        withDecimal(value) { prepend(key.bytes, $0, to: &buffer) }
    }

    static func prepend(_ key: String, _ value: String, field: Int, to buffer: inout ReverseBuffer) {
        var (key, value) = (key, value)
        key.withUTF8 { key in
            value.withUTF8 {
                prepend(UnsafeRawBufferPointer(key), UnsafeRawBufferPointer($0), field: field, to: &buffer)
            }
        }
    }
}
