import Bytes
import JSON
import Protobuf

extension Message {
    /// Bytes of one message at most; xDS itself puts no bound, and a mesh's biggest cluster list is far below.
    public static let binarySizeLimit = 256 << 20
    /// Messages within messages at most, as in other implementations. Packed messages count for themselves.
    public static let binaryDepthLimit = 100

    /// A message from its bytes. Fields that are not in the schema are passed over.
    /// - Throws: When the bytes are cut off or malformed, beyond a limit, or hold text that is no UTF-8.
    public init(binary bytes: [UInt8], type: MessageType, at path: ConfigPath = ConfigPath()) throws(ConfigError) {
        var unknown = 0
        try self.init(binary: bytes, type: type, at: path, countingUnknown: &unknown)
    }

    /// - Parameter unknown: Grows by the number of fields that were passed over.
    public init(
        binary bytes: [UInt8], type: MessageType, at path: ConfigPath = ConfigPath(), countingUnknown unknown: inout Int
    ) throws(ConfigError) {
        guard bytes.count <= Self.binarySizeLimit else {
            throw ConfigError(path, "message of \(bytes.count) bytes is over the limit of \(Self.binarySizeLimit)")
        }
        var count = 0
        let result = bytes.withUnsafeBytes { buffer in
            Result { () throws(ConfigError) in
                var message = Message(type)
                var reader = MessageBinaryReader(schema: type.schema, path: path.steps)
                defer { count = reader.unknown }
                try reader.read(buffer, into: &message)
                return message
            }
        }
        unknown += count
        self = try result.get()
    }
}

extension ConfigError: ProtobufFailure {
    public init(malformed what: String) { self.init(ConfigPath(), "malformed protobuf: \(what)") }
}

/// Bytes to messages. What comes twice is merged, as the wire format asks for.
private struct MessageBinaryReader {
    let schema: ProtoSchema
    var path: [ConfigPath.Step]
    var unknown = 0
    private var depth = 0

    typealias Reader = ProtobufReader<ConfigError>

    init(schema: ProtoSchema, path: [ConfigPath.Step]) {
        self.schema = schema
        self.path = path
    }

    mutating func read(_ bytes: UnsafeRawBufferPointer, into message: inout Message) throws(ConfigError) {
        try enter()
        var reader = Reader(bytes)
        while let part = try next(&reader) {
            guard let position = message.type.position(number: part.number) else {
                unknown += 1
                continue
            }
            let field = message.type.fields[position]
            var value = message.take(position)
            path.append(.field(field.name))
            try merge(part, into: &value, field)
            path.removeLast()
            message[position] = value
        }
        // Once at the end, and not for each entry: their order is the sender's choice.
        message.sortMaps()
        depth -= 1
    }

    /// Puts one more part of a field to what there is of it; a part of another wire type is passed over.
    private mutating func merge(_ part: Reader.Field, into value: inout FieldValue?, _ field: FieldType)
        throws(ConfigError)
    {
        switch field.cardinality {
        case .single:
            if let new = try single(value, part, field.kind) { value = new } else { unknown += 1 }
        case .list:
            var elements: [FieldValue] = []
            if case .list(let held)? = value { elements = held }
            // Lets go, so that appending does not copy.
            value = nil
            try append(part, to: &elements, field)
            value = .list(elements)
        case .map(let keyType):
            guard part.wire == .bytes else { return unknown += 1 }
            var entries: [MapEntry] = []
            if case .map(let held)? = value { entries = held }
            value = nil
            entries.append(try mapEntry(part.bytes, keyType, field.kind))
            value = .map(entries)
        }
    }

    private mutating func append(_ part: Reader.Field, to elements: inout [FieldValue], _ field: FieldType)
        throws(ConfigError)
    {
        guard part.wire == .bytes, let wire = field.kind.packedWire else {
            path.append(.element(elements.count))
            if let value = try single(nil, part, field.kind) { elements.append(value) } else { unknown += 1 }
            path.removeLast()
            return
        }
        var reader = Reader(part.bytes)
        while !reader.isAtEnd {
            var element = Reader.Field(number: part.number, wire: wire)
            do throws(ConfigError) {
                element.scalar =
                    switch wire {
                    case .fixed32: UInt64(try reader.fixed32())
                    case .fixed64: try reader.fixed64()
                    default: try reader.varint()
                    }
            } catch { throw located(error) }
            if let value = try single(nil, element, field.kind) { elements.append(value) }
        }
    }

    private mutating func mapEntry(_ bytes: UnsafeRawBufferPointer, _ keyType: ScalarType, _ kind: FieldKind)
        throws(ConfigError) -> MapEntry
    {
        var key: FieldValue?
        var value: FieldValue?
        var reader = Reader(bytes)
        while let part = try next(&reader) {
            switch part.number {
            case 1: key = try single(nil, part, .scalar(keyType))
            case 2: value = try single(value, part, kind)
            default: unknown += 1
            }
        }
        return MapEntry(key: key ?? keyType.zero, value: value ?? zero(kind))
    }

    /// Nil when the part is of another wire type than the field.
    private mutating func single(_ held: FieldValue?, _ part: Reader.Field, _ kind: FieldKind) throws(ConfigError)
        -> FieldValue?
    {
        switch kind {
        case .scalar(let type): return part.wire == type.wire ? try scalar(part, type) : nil
        case .enumeration:
            return part.wire == .varint ? .int(Int64(Int32(truncatingIfNeeded: Int64(bitPattern: part.scalar)))) : nil
        case _ where part.wire != .bytes: return nil
        case .wrapper(let type):
            var value = held ?? type.zero
            var reader = Reader(part.bytes)
            while let inner = try next(&reader) {
                guard inner.number == 1, inner.wire == type.wire else {
                    unknown += 1
                    continue
                }
                value = try scalar(inner, type)
            }
            return value
        case .duration:
            var (seconds, nanoseconds): (Int64, Int64) = (0, 0)
            if case .duration(let held)? = held { (seconds, nanoseconds) = held.protobufParts }
            try readTime(part.bytes, &seconds, &nanoseconds)
            guard let duration = Duration(seconds: seconds, nanoseconds: nanoseconds) else {
                throw error("a duration out of range")
            }
            return .duration(duration)
        case .timestamp:
            var (seconds, nanoseconds): (Int64, Int64) = (0, 0)
            if case .timestamp(let held)? = held { (seconds, nanoseconds) = (held.seconds, Int64(held.nanoseconds)) }
            try readTime(part.bytes, &seconds, &nanoseconds)
            guard (0..<1_000_000_000).contains(nanoseconds) else { throw error("a time out of range") }
            return .timestamp(Timestamp(seconds: seconds, nanoseconds: Int32(nanoseconds)))
        case .any: return .any(try any(part.bytes))
        case .structure:
            var object = JSONObject()
            if case .json(.object(let held))? = held { object = held }
            try readStructure(part.bytes, into: &object)
            return .json(.object(object))
        case .value: return .json(try jsonValue(part.bytes))
        case .listValue: return .json(.array(try jsonList(part.bytes)))
        case .message(let number):
            var message = Message(schema.message(at: number))
            if case .message(let held)? = held { message = held }
            try read(part.bytes, into: &message)
            return .message(message)
        }
    }

    private func scalar(_ part: Reader.Field, _ type: ScalarType) throws(ConfigError) -> FieldValue {
        switch type {
        case .bool: return .bool(part.scalar != 0)
        case .int32: return .int(Int64(Int32(truncatingIfNeeded: part.scalar)))
        case .int64, .sfixed64: return .int(Int64(bitPattern: part.scalar))
        case .uint32, .fixed32: return .uint(UInt64(UInt32(truncatingIfNeeded: part.scalar)))
        case .uint64, .fixed64: return .uint(part.scalar)
        case .sint32:
            let value = UInt32(truncatingIfNeeded: part.scalar)
            return .int(Int64(Int32(bitPattern: value >> 1) ^ -Int32(bitPattern: value & 1)))
        case .sint64: return .int(Int64(bitPattern: part.scalar >> 1) ^ -Int64(bitPattern: part.scalar & 1))
        case .sfixed32: return .int(Int64(Int32(bitPattern: UInt32(truncatingIfNeeded: part.scalar))))
        case .float: return .double(Double(Float(bitPattern: UInt32(truncatingIfNeeded: part.scalar))))
        case .double: return .double(Double(bitPattern: part.scalar))
        case .string: return .string(try text(part.bytes))
        case .bytes: return .bytes(Array(part.bytes))
        }
    }

    private func text(_ bytes: UnsafeRawBufferPointer) throws(ConfigError) -> String {
        guard let text = String(validUTF8: bytes) else { throw error("text that is no UTF-8") }
        return text
    }

    /// What stands in a map for a value that was left out.
    private func zero(_ kind: FieldKind) -> FieldValue {
        switch kind {
        case .scalar(let type), .wrapper(let type): type.zero
        case .enumeration: .int(0)
        case .duration: .duration(.zero)
        case .timestamp: .timestamp(.epoch)
        case .any: .any(PackedMessage(typeURL: "", .bytes([])))
        case .structure: .json([:])
        case .listValue: .json([])
        case .value: .json(.null)
        case .message(let number): .message(Message(schema.message(at: number)))
        }
    }

    // MARK: Messages that mean one value

    private mutating func readTime(
        _ bytes: UnsafeRawBufferPointer, _ seconds: inout Int64, _ nanoseconds: inout Int64
    ) throws(ConfigError) {
        var reader = Reader(bytes)
        while let part = try next(&reader) {
            switch (part.number, part.wire) {
            case (1, .varint): seconds = Int64(bitPattern: part.scalar)
            case (2, .varint): nanoseconds = Int64(Int32(truncatingIfNeeded: part.scalar))
            default: unknown += 1
            }
        }
    }

    private mutating func any(_ bytes: UnsafeRawBufferPointer) throws(ConfigError) -> PackedMessage {
        var url = ""
        var value: [UInt8] = []
        var reader = Reader(bytes)
        while let part = try next(&reader) {
            switch (part.number, part.wire) {
            case (1, .bytes): url = try text(part.bytes)
            case (2, .bytes): value = Array(part.bytes)
            default: unknown += 1
            }
        }
        return PackedMessage(typeURL: url, .bytes(value))
    }

    private mutating func readStructure(_ bytes: UnsafeRawBufferPointer, into object: inout JSONObject)
        throws(ConfigError)
    {
        try enter()
        var reader = Reader(bytes)
        while let part = try next(&reader) {
            guard part.number == 1, part.wire == .bytes else {
                unknown += 1
                continue
            }
            var key = ""
            var value = JSONValue.null
            var entry = Reader(part.bytes)
            while let inner = try next(&entry) {
                switch (inner.number, inner.wire) {
                case (1, .bytes): key = try text(inner.bytes)
                case (2, .bytes): value = try jsonValue(inner.bytes)
                default: unknown += 1
                }
            }
            object[key] = value
        }
        depth -= 1
    }

    private mutating func jsonValue(_ bytes: UnsafeRawBufferPointer) throws(ConfigError) -> JSONValue {
        try enter()
        var value = JSONValue.null
        var reader = Reader(bytes)
        while let part = try next(&reader) {
            switch (part.number, part.wire) {
            case (1, .varint): value = .null
            case (2, .fixed64):
                let number = Double(bitPattern: part.scalar)
                guard number.isFinite else { throw error("a number that JSON does not have") }
                value = Int64(exactly: number).map(JSONValue.int) ?? .double(number)
            case (3, .bytes): value = .string(try text(part.bytes))
            case (4, .varint): value = .bool(part.scalar != 0)
            case (5, .bytes):
                var object = JSONObject()
                try readStructure(part.bytes, into: &object)
                value = .object(object)
            case (6, .bytes): value = .array(try jsonList(part.bytes))
            default: unknown += 1
            }
        }
        depth -= 1
        return value
    }

    private mutating func jsonList(_ bytes: UnsafeRawBufferPointer) throws(ConfigError) -> [JSONValue] {
        var elements: [JSONValue] = []
        var reader = Reader(bytes)
        while let part = try next(&reader) {
            guard part.number == 1, part.wire == .bytes else {
                unknown += 1
                continue
            }
            elements.append(try jsonValue(part.bytes))
        }
        return elements
    }

    // MARK: Bounds and errors

    private mutating func enter() throws(ConfigError) {
        guard depth < Message.binaryDepthLimit else {
            throw error("nested deeper than \(Message.binaryDepthLimit) messages")
        }
        depth += 1
    }

    private func next(_ reader: inout Reader) throws(ConfigError) -> Reader.Field? {
        do throws(ConfigError) { return try reader.next() } catch { throw located(error) }
    }

    /// The wire does not know where it is; the reader of messages does.
    private func located(_ error: ConfigError) -> ConfigError {
        var error = error
        error.path = ConfigPath(path)
        return error
    }

    private func error(_ reason: String) -> ConfigError { ConfigError(ConfigPath(path), reason) }
}

extension ScalarType {
    var wire: WireType {
        switch self {
        case .bool, .int32, .int64, .uint32, .uint64, .sint32, .sint64: .varint
        case .fixed32, .sfixed32, .float: .fixed32
        case .fixed64, .sfixed64, .double: .fixed64
        case .string, .bytes: .bytes
        }
    }

    var zero: FieldValue {
        switch self {
        case .bool: .bool(false)
        case .int32, .int64, .sint32, .sint64, .sfixed32, .sfixed64: .int(0)
        case .uint32, .uint64, .fixed32, .fixed64: .uint(0)
        case .float, .double: .double(0)
        case .string: .string("")
        case .bytes: .bytes([])
        }
    }
}

extension FieldKind {
    /// How elements stand side by side in one field; nil for those that cannot.
    var packedWire: WireType? {
        switch self {
        case .scalar(let type): type.wire == .bytes ? nil : type.wire
        case .enumeration: .varint
        default: nil
        }
    }
}
