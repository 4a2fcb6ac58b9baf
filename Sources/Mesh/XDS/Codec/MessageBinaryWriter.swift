import Bytes
import JSON
import Protobuf

extension Message {
    /// The message's bytes. Equal messages have equal bytes: fields go in the order of their numbers, maps in that of
    /// their keys, numbers in lists are packed.
    public func binary() -> [UInt8] {
        var writer = MessageBinaryWriter()
        writer.write(self)
        return writer.out.bytes
    }
}

extension PackedMessage {
    func binary() -> [UInt8] {
        switch contents {
        case .bytes(let bytes): bytes
        case .message(let message): message.binary()
        }
    }
}

/// Messages to bytes, back to front.
private struct MessageBinaryWriter: ~Copyable {
    var out = ReverseBuffer()

    mutating func write(_ message: Message) {
        for entry in message.entries.reversed() {
            let field = message.type.fields[entry.position]
            let number = Int(field.number)
            switch (field.cardinality, entry.value) {
            case (.list, .list(let elements)):
                guard let wire = field.kind.packedWire else {
                    for element in elements.reversed() { write(number, element, field.kind) }
                    continue
                }
                let mark = out.count
                for element in elements.reversed() { writeScalar(element, field.kind, wire) }
                out.close(field: number, since: mark)
            case (.map(let key), .map(let entries)):
                for entry in entries.reversed() {
                    let mark = out.count
                    write(2, entry.value, field.kind)
                    write(1, entry.key, .scalar(key))
                    out.close(field: number, since: mark)
                }
            case (_, let value): write(number, value, field.kind)
            }
        }
    }

    private mutating func write(_ number: Int, _ value: FieldValue, _ kind: FieldKind) {
        if case .wrapper(let scalar) = kind {
            let mark = out.count
            if !value.isZero { write(1, value, .scalar(scalar)) }
            return out.close(field: number, since: mark)
        }
        let mark = out.count
        switch value {
        case .bool, .int, .uint, .double:
            let wire = kind.packedWire ?? .varint
            writeScalar(value, kind, wire)
            return out.prepend(field: number, wire)
        case .string(let text): _ = out.prepend(text)
        case .bytes(let bytes): out.prepend(bytes)
        case .duration(let duration):
            let (seconds, nanoseconds) = duration.protobufParts
            write(seconds: seconds, nanoseconds: nanoseconds)
        case .timestamp(let timestamp):
            write(seconds: timestamp.seconds, nanoseconds: Int64(timestamp.nanoseconds))
        case .json(let json):
            switch (kind, json) {
            case (.structure, .object(let object)): write(object)
            case (.listValue, .array(let elements)): write(elements)
            default: write(json)
            }
        case .any(let packed):
            let contents = packed.binary()
            if !contents.isEmpty {
                let mark = out.count
                out.prepend(contents)
                out.close(field: 2, since: mark)
            }
            if !packed.typeURL.isEmpty { out.prepend(field: 1, text: packed.typeURL) }
        case .message(let message): write(message)
        case .list, .map: preconditionFailure("a list within a list")
        }
        out.close(field: number, since: mark)
    }

    private mutating func writeScalar(_ value: FieldValue, _ kind: FieldKind, _ wire: WireType) {
        var bits: UInt64 =
            switch value {
            case .bool(let value): value ? 1 : 0
            case .int(let value): UInt64(bitPattern: value)
            case .uint(let value): value
            case .double(let value): value.bitPattern
            default: 0
            }
        if case .scalar(let type) = kind {
            switch type {
            case .float: if case .double(let value) = value { bits = UInt64(Float(value).bitPattern) }
            case .sint32, .sint64:
                let value = Int64(bitPattern: bits)
                bits = UInt64(bitPattern: value << 1 ^ value >> 63)
            default: break
            }
        }
        switch wire {
        case .fixed32: out.prepend(fixed32: UInt32(truncatingIfNeeded: bits))
        case .fixed64: out.prepend(fixed64: bits)
        default: out.prepend(varint: bits)
        }
    }

    private mutating func write(seconds: Int64, nanoseconds: Int64) {
        if nanoseconds != 0 {
            out.prepend(varint: UInt64(bitPattern: nanoseconds))
            out.prepend(field: 2, .varint)
        }
        if seconds != 0 {
            out.prepend(varint: UInt64(bitPattern: seconds))
            out.prepend(field: 1, .varint)
        }
    }

    // MARK: Free JSON

    private mutating func write(_ object: JSONObject) {
        for member in object.members.reversed() {
            let entry = out.count
            let value = out.count
            write(member.value)
            out.close(field: 2, since: value)
            if !member.key.isEmpty { out.prepend(field: 1, text: member.key) }
            out.close(field: 1, since: entry)
        }
    }

    private mutating func write(_ elements: [JSONValue]) {
        for element in elements.reversed() {
            let mark = out.count
            write(element)
            out.close(field: 1, since: mark)
        }
    }

    private mutating func write(_ json: JSONValue) {
        let mark = out.count
        switch json {
        case .null:
            out.prepend(varint: 0)
            out.prepend(field: 1, .varint)
        case .int, .double:
            out.prepend(fixed64: (json.double ?? 0).bitPattern)
            out.prepend(field: 2, .fixed64)
        case .string(let text): out.prepend(field: 3, text: text)
        case .bool(let value):
            out.prepend(varint: value ? 1 : 0)
            out.prepend(field: 4, .varint)
        case .object(let object):
            write(object)
            out.close(field: 5, since: mark)
        case .array(let elements):
            write(elements)
            out.close(field: 6, since: mark)
        }
    }
}
