import Bytes
import JSON
import Protobuf

/// A protobuf message to an object of the schema.
///
/// Go writes every field that is no pointer, set or not. So a zero is dropped where the Go type has `omitempty` and
/// no pointer, and so is an empty message: what is left is what Go's own JSON shows as set.
struct ProtobufDecoder {
    let schema: Schema
    private var depth = 0
    /// Values of the fields of the messages that are being read, innermost last; one stack instead of an array a message.
    private var slots: [JSONValue?] = []

    /// Messages within messages at most; only JSON schemas nest without a bound of their own.
    static let depthLimit = 128

    init(schema: Schema) { self.schema = schema }

    mutating func message(
        _ bytes: UnsafeRawBufferPointer, _ type: Int, apiVersion: String? = nil, kind: String? = nil
    ) throws(CodecError) -> JSONValue {
        guard depth < Self.depthLimit else { throw CodecError("nested deeper than \(Self.depthLimit) messages") }
        depth += 1
        let base = slots.count
        let fields = schema.typeCodes[type].fields
        slots.append(contentsOf: repeatElement(nil, count: fields.count))
        try read(bytes, type, base, carrier: 0, inner: 0)
        var members: [JSONObject.Member] = []
        members.reserveCapacity(fields.count < 8 ? fields.count : 8)
        for offset in 0..<fields.count {
            if let value = slots[base + offset] {
                members.append(JSONObject.Member(key: schema.fieldNames[fields.lowerBound + offset], value: value))
            } else if let apiVersion, let kind, schema.fieldCodes[fields.lowerBound + offset].number == 0 {
                let name = schema.fieldNames[fields.lowerBound + offset]
                if name == "apiVersion" { members.append(JSONObject.Member(key: name, value: .string(apiVersion))) }
                if name == "kind" { members.append(JSONObject.Member(key: name, value: .string(kind))) }
            }
        }
        slots.removeLast(fields.count)
        depth -= 1
        return .object(JSONObject(ascending: members))
    }

    /// Fields of the message itself, or of one that is embedded in it and shares its slots.
    private mutating func read(
        _ bytes: UnsafeRawBufferPointer, _ type: Int, _ base: Int, carrier: UInt8, inner: UInt8
    ) throws(CodecError) {
        var reader = ProtobufReader(bytes)
        var hint = schema.typeCodes[type].wireOrder.lowerBound
        while let part = try reader.next() {
            guard let position = find(part.number, type, carrier, inner, from: &hint) else {
                // A field of a newer version.
                continue
            }
            let offset = Int(schema.wireOrder[position])
            let field = schema.fieldCodes[schema.typeCodes[type].fields.lowerBound + offset]
            let isEmbedded = carrier == 0 ? field.carrier != 0 : inner == 0 && field.innerCarrier != 0
            do throws(CodecError) {
                if isEmbedded {
                    guard part.wire == .bytes else { throw CodecError(malformed: "an embedded message") }
                    if carrier == 0 {
                        try read(part.bytes, type, base, carrier: field.carrier, inner: 0)
                    } else {
                        try read(part.bytes, type, base, carrier: carrier, inner: field.innerCarrier)
                    }
                } else {
                    try set(field, part, base + offset)
                }
            } catch { throw isEmbedded ? error : error.within(schema.name(of: field)) }
        }
    }

    /// The position in wire order of the field with this number, or of any field of the embedded message with it.
    /// Fields mostly arrive in order, so the search begins behind the last one found.
    private func find(_ number: Int, _ type: Int, _ carrier: UInt8, _ inner: UInt8, from hint: inout Int) -> Int? {
        let order = schema.typeCodes[type].wireOrder
        let first = schema.typeCodes[type].fields.lowerBound
        for step in 0..<order.count {
            var position = hint + step
            if position >= order.upperBound { position -= order.count }
            let field = schema.fieldCodes[first + Int(schema.wireOrder[position])]
            let path = (field.carrier, field.innerCarrier)
            let matches =
                if carrier == 0 {
                    path.0 == 0 ? Int(field.number) == number : Int(path.0) == number
                } else if path.0 != carrier {
                    false
                } else if inner == 0 {
                    path.1 == 0 ? Int(field.number) == number : Int(path.1) == number
                } else {
                    path.1 == inner && Int(field.number) == number
                }
            if matches {
                hint = position
                return position
            }
        }
        return nil
    }

    // MARK: Fields

    private mutating func set(_ field: FieldCode, _ part: ProtobufReader.Field, _ slot: Int) throws(CodecError) {
        switch field.container {
        case .single:
            if let value = try element(field, part, keepsZero: field.keepsZero) { slots[slot] = value }
        case .list:
            var elements: [JSONValue] = []
            if case .array(let held)? = slots[slot] { elements = held }
            // The slot lets go, so that appending does not copy.
            slots[slot] = nil
            if part.wire == .bytes, field.shape == .int32 || field.shape == .int64 || field.shape == .bool {
                // Packed; Go does not write it so, but has to be able to read it.
                var reader = ProtobufReader(part.bytes)
                while !reader.isAtEnd {
                    let scalar = ProtobufReader.Field(number: part.number, wire: .varint, scalar: try reader.varint())
                    if let value = try element(field, scalar, keepsZero: true) { elements.append(value) }
                }
            } else if let value = try element(field, part, keepsZero: true) {
                elements.append(value)
            }
            slots[slot] = .array(elements)
        case .map, .mapOfLists:
            guard part.wire == .bytes else { throw CodecError(malformed: "a map entry") }
            let (key, value) = try mapEntry(field, part.bytes)
            var entries = JSONObject()
            if case .object(let held)? = slots[slot] { entries = held }
            slots[slot] = nil
            entries[key] = value
            slots[slot] = .object(entries)
        }
    }

    private mutating func mapEntry(
        _ field: FieldCode, _ bytes: UnsafeRawBufferPointer
    ) throws(CodecError) -> (String, JSONValue) {
        var key = ""
        var value: JSONValue?
        var reader = ProtobufReader(bytes)
        while let part = try reader.next() {
            switch part.number {
            case 1: key = try text(part)
            case 2 where field.container == .mapOfLists:
                var elements: [JSONValue] = []
                var list = ProtobufReader(part.bytes)
                while let item = try list.next() { elements.append(.string(try text(item))) }
                value = .array(elements)
            case 2: value = try element(field, part, keepsZero: true)
            default: break
            }
        }
        if let value { return (key, value) }
        if field.container == .mapOfLists { return (key, []) }
        // Absent is zero.
        let wire: WireType = [.bool, .int32, .int64].contains(field.shape) ? .varint : .bytes
        return (key, try element(field, ProtobufReader.Field(number: 2, wire: wire), keepsZero: true) ?? .null)
    }

    /// Nil for a zero that nobody set.
    private mutating func element(
        _ field: FieldCode, _ part: ProtobufReader.Field, keepsZero: Bool
    ) throws(CodecError) -> JSONValue? {
        switch field.shape {
        case .bool, .int32, .int64:
            guard part.wire == .varint else { throw CodecError(malformed: "a number") }
            if part.scalar == 0, !keepsZero { return nil }
            if field.shape == .bool { return .bool(part.scalar != 0) }
            let integer = Int64(bitPattern: part.scalar)
            return .int(field.shape == .int32 ? Int64(Int32(truncatingIfNeeded: integer)) : integer)
        case .double:
            guard part.wire == .fixed64 else { throw CodecError(malformed: "a number") }
            let double = Double(bitPattern: part.scalar)
            if double == 0, !keepsZero { return nil }
            return Int64(exactly: double).map { .int($0) } ?? .double(double)
        case _ where part.wire != .bytes: throw CodecError(malformed: "a value without length")
        case .string:
            if part.bytes.isEmpty, !keepsZero { return nil }
            return .string(try text(part))
        case .bytes:
            if part.bytes.isEmpty, !keepsZero { return nil }
            return .string(Base64.encode(part.bytes))
        case .quantity: return .string(Quantity(try string(1, of: part.bytes) ?? "0")?.description ?? "0")
        case .time, .microTime: return try time(part.bytes, isMicro: field.shape == .microTime)
        case .intOrString:
            let value = try intOrString(part.bytes)
            return value == .int(0) && !keepsZero ? nil : value
        case .raw, .json: return try embedded(part.bytes, isOptional: keepsZero)
        case .propsOrBool, .propsOrArray, .propsOrStrings: return try props(field.shape, part.bytes)
        case .message:
            let value = try message(part.bytes, Int(field.message))
            if !keepsZero, case .object(let object) = value, object.isEmpty { return nil }
            return value
        }
    }

    private func text(_ part: ProtobufReader.Field) throws(CodecError) -> String {
        guard part.wire == .bytes else { throw CodecError(malformed: "a text without length") }
        guard let text = String(validating: part.bytes, as: UTF8.self) else {
            throw CodecError("a string is not UTF-8")
        }
        return text
    }

    private func string(_ number: Int, of bytes: UnsafeRawBufferPointer) throws(CodecError) -> String? {
        var found: String?
        var reader = ProtobufReader(bytes)
        while let part = try reader.next() { if part.number == number { found = try text(part) } }
        return found
    }

    /// Nil for the zero time, which is an empty message.
    private func time(_ bytes: UnsafeRawBufferPointer, isMicro: Bool) throws(CodecError) -> JSONValue? {
        if bytes.isEmpty { return nil }
        var seconds: Int64 = 0
        var nanoseconds: Int64 = 0
        var reader = ProtobufReader(bytes)
        while let part = try reader.next() {
            if part.number == 1 { seconds = Int64(bitPattern: part.scalar) }
            if part.number == 2 { nanoseconds = Int64(bitPattern: part.scalar) }
        }
        // Years 1 to 9999, as RFC 3339 can say.
        guard seconds >= -62_135_596_800, seconds < 253_402_300_800, (0..<1_000_000_000).contains(nanoseconds) else {
            throw CodecError("a time is out of range")
        }
        let time = Timestamp(seconds: seconds, nanoseconds: Int32(nanoseconds))
        return .string(isMicro ? time.rfc3339Micro : time.rfc3339)
    }

    private func intOrString(_ bytes: UnsafeRawBufferPointer) throws(CodecError) -> JSONValue {
        var isString = false
        var integer: Int64 = 0
        var string = ""
        var reader = ProtobufReader(bytes)
        while let part = try reader.next() {
            switch part.number {
            case 1: isString = part.scalar == 1
            case 2: integer = Int64(Int32(truncatingIfNeeded: part.scalar))
            case 3: string = try text(part)
            default: break
            }
        }
        return isString ? .string(string) : .int(integer)
    }

    /// JSON text in field 1; or an object that is itself protobuf.
    private func embedded(_ bytes: UnsafeRawBufferPointer, isOptional: Bool) throws(CodecError) -> JSONValue? {
        var raw = UnsafeRawBufferPointer(start: nil, count: 0)
        var reader = ProtobufReader(bytes)
        while let part = try reader.next() { if part.number == 1, part.wire == .bytes { raw = part.bytes } }
        if raw.isEmpty { return nil }
        if raw.starts(with: ProtobufCodec.magic) { return try ProtobufCodec(schema: schema).decode(raw) }
        do {
            let value = try JSONValue.parse(raw)
            return value.isNull && !isOptional ? nil : value
        } catch { throw CodecError("embedded JSON: \(error)") }
    }

    private mutating func props(
        _ shape: FieldCode.Shape, _ bytes: UnsafeRawBufferPointer
    ) throws(CodecError) -> JSONValue? {
        guard let type = schema.typeIndex(named: "apiextensions.v1.JSONSchemaProps") else { return nil }
        var allows = false
        var single: JSONValue?
        var list: [JSONValue] = []
        var reader = ProtobufReader(bytes)
        while let part = try reader.next() {
            switch (shape, part.number) {
            case (.propsOrBool, 1): allows = part.scalar != 0
            case (.propsOrBool, 2), (.propsOrArray, 1), (.propsOrStrings, 1): single = try message(part.bytes, type)
            case (.propsOrArray, 2): list.append(try message(part.bytes, type))
            case (.propsOrStrings, 2): list.append(.string(try text(part)))
            default: break
            }
        }
        return single ?? (shape == .propsOrBool ? .bool(allows) : .array(list))
    }
}
