import Bytes
import JSON
import Protobuf

/// One object of the schema to a protobuf message, written back to front.
struct ProtobufEncoder: ~Copyable {
    private let schema: Schema
    private var out = ReverseBuffer()

    init(schema: Schema) { self.schema = schema }

    var bytes: [UInt8] { out.bytes }

    /// The envelope with the object in it.
    mutating func envelope(_ object: JSONValue, type: Int, apiVersion: String, kind: String) throws(CodecError) {
        // Content encoding and type are always there and empty, as Go writes them.
        out.prepend(field: 4, text: "")
        out.prepend(field: 3, text: "")
        let raw = out.count
        try message(object, type)
        out.close(field: 2, since: raw)
        let meta = out.count
        out.prepend(field: 2, text: kind)
        out.prepend(field: 1, text: apiVersion)
        out.close(field: 1, since: meta)
        out.prepend(ProtobufCodec.magic)
    }

    // MARK: Messages

    private mutating func message(_ value: JSONValue, _ type: Int) throws(CodecError) {
        guard case .object(let object) = value else { throw Self.mismatch("object", value) }
        let fields = schema.typeCodes[type].fields
        // Which member fills which field. Both are sorted by name.
        var members = [Int32](repeating: -1, count: fields.count)
        var cursor = 0
        for index in 0..<object.count {
            let (key, value) = object[index]
            if value.isNull { continue }
            var candidate = cursor
            while candidate < fields.count, schema.fieldNames[fields.lowerBound + candidate] != key { candidate += 1 }
            // Not in the schema: nothing to write, and the search goes on where it was.
            if candidate == fields.count { continue }
            members[candidate] = Int32(index)
            cursor = candidate + 1
        }
        var carrier = Carrier()
        for position in schema.typeCodes[type].wireOrder.reversed() {
            let offset = Int(schema.wireOrder[position])
            let index = members[offset]
            if index < 0 { continue }
            let field = schema.fieldCodes[fields.lowerBound + offset]
            move(&carrier, to: field)
            let (key, value) = object[Int(index)]
            do {
                try self.field(field, value)
            } catch {
                throw error.within(key)
            }
        }
        close(&carrier)
    }

    /// The embedded messages that are open, by field number; the fields of one stand together in wire order.
    private struct Carrier {
        var outer: UInt8 = 0
        var outerMark = 0
        var inner: UInt8 = 0
        var innerMark = 0
    }

    private mutating func move(_ carrier: inout Carrier, to field: FieldCode) {
        if carrier.inner != 0, carrier.inner != field.innerCarrier || carrier.outer != field.carrier {
            out.close(field: Int(carrier.inner), since: carrier.innerMark)
            carrier.inner = 0
        }
        if carrier.outer != 0, carrier.outer != field.carrier {
            out.close(field: Int(carrier.outer), since: carrier.outerMark)
            carrier.outer = 0
        }
        if field.carrier != 0, carrier.outer == 0 { (carrier.outer, carrier.outerMark) = (field.carrier, out.count) }
        if field.innerCarrier != 0, carrier.inner == 0 {
            (carrier.inner, carrier.innerMark) = (field.innerCarrier, out.count)
        }
    }

    private mutating func close(_ carrier: inout Carrier) {
        if carrier.inner != 0 { out.close(field: Int(carrier.inner), since: carrier.innerMark) }
        if carrier.outer != 0 { out.close(field: Int(carrier.outer), since: carrier.outerMark) }
        carrier = Carrier()
    }

    // MARK: Fields

    private mutating func field(_ field: FieldCode, _ value: JSONValue) throws(CodecError) {
        let number = Int(field.number)
        switch field.container {
        case .single: try element(field, number, value)
        case .list:
            guard case .array(let elements) = value else { throw Self.mismatch("array", value) }
            var index = elements.count
            while index > 0 {
                index -= 1
                do { try element(field, number, elements[index]) } catch { throw error.within(index) }
            }
        case .map, .mapOfLists:
            guard case .object(let entries) = value else { throw Self.mismatch("object", value) }
            for index in entries.indices.reversed() {
                let (key, value) = entries[index]
                let mark = out.count
                do {
                    if field.container == .mapOfLists { try strings(value) } else { try element(field, 2, value) }
                } catch { throw error.within(key) }
                out.prepend(field: 1, text: key)
                out.close(field: number, since: mark)
            }
        }
    }

    /// The value of a map of lists is a message whose only field repeats.
    private mutating func strings(_ value: JSONValue) throws(CodecError) {
        guard case .array(let elements) = value else { throw Self.mismatch("array", value) }
        let mark = out.count
        for element in elements.reversed() {
            guard let text = element.string else { throw Self.mismatch("string", element) }
            out.prepend(field: 1, text: text)
        }
        out.close(field: 2, since: mark)
    }

    private mutating func element(_ field: FieldCode, _ number: Int, _ value: JSONValue) throws(CodecError) {
        let mark = out.count
        switch field.shape {
        case .string:
            guard case .string(let text) = value else { throw Self.mismatch("string", value) }
            _ = out.prepend(text)
        case .bytes:
            guard case .string(let text) = value, let bytes = Base64.decode(text) else {
                throw Self.mismatch("base64 text", value)
            }
            out.prepend(bytes)
        case .bool:
            guard case .bool(let flag) = value else { throw Self.mismatch("boolean", value) }
            out.prepend(flag ? 1 : 0)
            return out.prepend(field: number, .varint)
        case .int32, .int64:
            guard let integer = value.int else { throw Self.mismatch("integer", value) }
            out.prepend(varint: UInt64(bitPattern: integer))
            return out.prepend(field: number, .varint)
        case .double:
            guard let double = value.double else { throw Self.mismatch("number", value) }
            out.prepend(fixed64: double.bitPattern)
            return out.prepend(field: number, .fixed64)
        case .quantity:
            guard let text = value.string ?? Quantity(json: value)?.description else {
                throw Self.mismatch("quantity", value)
            }
            out.prepend(field: 1, text: text)
        case .time, .microTime:
            guard case .string(let text) = value, let time = Timestamp(rfc3339: text) else {
                throw Self.mismatch("RFC 3339 time", value)
            }
            out.prepend(varint: UInt64(field.shape == .time ? 0 : time.nanoseconds))
            out.prepend(field: 2, .varint)
            out.prepend(varint: UInt64(bitPattern: time.seconds))
            out.prepend(field: 1, .varint)
        case .intOrString: try intOrString(value)
        case .raw, .json:
            let inner = out.count
            out.prepend(value.encoded())
            out.close(field: 1, since: inner)
        case .propsOrBool, .propsOrArray, .propsOrStrings: try props(field.shape, value)
        case .message: try message(value, Int(field.message))
        }
        out.close(field: number, since: mark)
    }

    /// All three fields, as Go writes them.
    private mutating func intOrString(_ value: JSONValue) throws(CodecError) {
        if case .string(let text) = value {
            out.prepend(field: 3, text: text)
            out.prepend(0)
            out.prepend(field: 2, .varint)
            out.prepend(1)
        } else if let integer = value.int {
            out.prepend(field: 3, text: "")
            out.prepend(varint: UInt64(bitPattern: integer))
            out.prepend(field: 2, .varint)
            out.prepend(0)
        } else {
            throw Self.mismatch("integer or string", value)
        }
        out.prepend(field: 1, .varint)
    }

    private mutating func props(_ shape: FieldCode.Shape, _ value: JSONValue) throws(CodecError) {
        guard let type = schema.typeIndex(named: "apiextensions.v1.JSONSchemaProps") else { return }
        let mark = out.count
        switch (shape, value) {
        case (.propsOrBool, .bool(let allows)):
            out.prepend(allows ? 1 : 0)
            out.prepend(field: 1, .varint)
        case (.propsOrArray, .array(let elements)):
            for element in elements.reversed() {
                let inner = out.count
                try message(element, type)
                out.close(field: 2, since: inner)
            }
        case (.propsOrStrings, .array(let elements)):
            for element in elements.reversed() {
                guard let text = element.string else { throw Self.mismatch("string", element) }
                out.prepend(field: 2, text: text)
            }
        default:
            try message(value, type)
            if shape == .propsOrBool {
                out.close(field: 2, since: mark)
                // A schema allows what it describes; Go says so too.
                out.prepend(1)
                out.prepend(field: 1, .varint)
            } else {
                out.close(field: 1, since: mark)
            }
        }
    }

    private static func mismatch(_ wanted: String, _ value: JSONValue) -> CodecError {
        CodecError("expected \(wanted), found \(value.kindName)")
    }
}

extension CodecError {
    /// The same error seen from the member's object.
    func within(_ key: String) -> CodecError {
        CodecError(path: path.isEmpty ? key : path.hasPrefix("[") ? key + path : "\(key).\(path)", message)
    }

    /// The same error seen from the element's list.
    func within(_ index: Int) -> CodecError {
        CodecError(path: path.isEmpty || path.hasPrefix("[") ? "[\(index)]\(path)" : "[\(index)].\(path)", message)
    }
}

extension JSONValue {
    /// In the words that Go's decoder uses.
    var kindName: String {
        switch self {
        case .null: "null"
        case .bool: "bool"
        case .int, .double: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}
