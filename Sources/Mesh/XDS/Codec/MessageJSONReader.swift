import Bytes
import JSON
import Protobuf

extension Message {
    /// A message from its JSON form (the proto3 mapping): names as in the API or in lower camel case, enums by name or
    /// number, durations as `1.5s`, wrappers as plain values, `Any` as an object with `@type`.
    ///
    /// Read as Envoy reads its files, so beyond the mapping enums may be in any case, one value may stand for a list of one,
    /// and a duration may be an object.
    ///
    /// - Parameter path: Where the value stands, for errors.
    /// - Throws: The place and the reason of the first thing that does not fit. Unknown fields are such a thing, unless
    ///   `ignoringUnknown`.
    public init(json: JSONValue, type: MessageType, at path: ConfigPath = ConfigPath(), ignoringUnknown: Bool = false)
        throws(ConfigError)
    {
        var reader = MessageJSONReader(schema: type.schema, path: path.steps, ignoresUnknown: ignoringUnknown)
        self = try reader.message(json, type)
    }
}

extension FieldKind {
    /// Whether null in JSON is one of its values.
    fileprivate var isNullable: Bool {
        switch self {
        case .value: true
        case .enumeration(let type): type.isNullValue
        default: false
        }
    }
}

/// JSON to messages. The path is kept while descending, so that an error knows where it is and success allocates nothing
/// for it.
private struct MessageJSONReader {
    let schema: ProtoSchema
    var path: [ConfigPath.Step]
    let ignoresUnknown: Bool

    mutating func message(_ json: JSONValue, _ type: MessageType) throws(ConfigError) -> Message {
        if let wellKnown = type.wellKnown { return try wellKnownMessage(json, type, wellKnown) }
        guard case .object(let object) = json else { throw expected("an object", json) }
        return try message(object, type, skipping: nil)
    }

    private mutating func message(_ object: JSONObject, _ type: MessageType, skipping: String?) throws(ConfigError)
        -> Message
    {
        var message = Message(type)
        for index in 0..<object.count {
            let (key, value) = object[index]
            if key == skipping { continue }
            guard let position = type.position(named: key) else {
                if ignoresUnknown { continue }
                throw ConfigError(ConfigPath(path), "unknown field \"\(key)\"", member: key)
            }
            let field = type.fields[position]
            if value.isNull {
                // Null is absent, but where it is a value itself.
                guard field.cardinality == .single, field.kind.isNullable else { continue }
            }
            path.append(.field(field.name))
            if message[position] != nil { throw error("is there twice") }
            if let oneof = field.oneof,
                let other = message.entries.first(where: { type.fields[$0.position].oneof == oneof })
            {
                throw error("excludes \"\(type.fields[other.position].name)\": only one of them may be set")
            }
            message[position] = try fieldValue(value, field)
            path.removeLast()
        }
        return message
    }

    private mutating func fieldValue(_ json: JSONValue, _ field: FieldType) throws(ConfigError) -> FieldValue {
        switch field.cardinality {
        case .single: return try single(json, field.kind)
        case .list:
            // Envoy takes one value for a list of one.
            let elements = json.array ?? [json]
            var values: [FieldValue] = []
            values.reserveCapacity(elements.count)
            for (index, element) in elements.enumerated() {
                path.append(.element(index))
                values.append(try single(element, field.kind))
                path.removeLast()
            }
            return .list(values)
        case .map(let keyType):
            guard case .object(let object) = json else { throw expected("an object", json) }
            var entries: [MapEntry] = []
            entries.reserveCapacity(object.count)
            for index in 0..<object.count {
                let (key, value) = object[index]
                path.append(.key(key))
                entries.append(MapEntry(key: try mapKey(key, keyType), value: try single(value, field.kind)))
                path.removeLast()
            }
            entries.normalize()
            return .map(entries)
        }
    }

    private func mapKey(_ key: String, _ type: ScalarType) throws(ConfigError) -> FieldValue {
        switch (type, key) {
        case (.string, _): .string(key)
        case (.bool, "true"): .bool(true)
        case (.bool, "false"): .bool(false)
        case (.bool, _): throw error("is no bool")
        default: try scalar(.string(key), type)
        }
    }

    private mutating func single(_ json: JSONValue, _ kind: FieldKind) throws(ConfigError) -> FieldValue {
        switch kind {
        case .scalar(let type), .wrapper(let type): return try scalar(json, type)
        case .enumeration(let type): return .int(try enumeration(json, type))
        case .duration: return .duration(try duration(json))
        case .timestamp: return .timestamp(try timestamp(json))
        case .any: return .any(try any(json))
        case .structure:
            guard case .object = json else { throw expected("an object", json) }
            return .json(json)
        case .listValue:
            guard case .array = json else { throw expected("a list", json) }
            return .json(json)
        case .value: return .json(json)
        case .message(let number): return .message(try message(json, schema.message(at: number)))
        }
    }

    // MARK: Plain values

    private func scalar(_ json: JSONValue, _ type: ScalarType) throws(ConfigError) -> FieldValue {
        switch type {
        case .bool:
            guard case .bool(let value) = json else { throw expected("true or false", json) }
            return .bool(value)
        case .string:
            guard case .string(let value) = json else { throw expected("a string", json) }
            return .string(value)
        case .bytes:
            guard case .string(let text) = json, let bytes = Self.base64(text) else { throw expected("base64", json) }
            return .bytes(bytes)
        case .double, .float:
            guard let value = Self.double(json) else { throw expected("a number", json) }
            guard type == .float else { return .double(value) }
            let float = Float(value)
            guard float.isFinite || !value.isFinite else { throw expected("a number of single precision", json) }
            return .double(Double(float))
        case .int32, .sint32, .sfixed32: return .int(Int64(try integer(json, Int32.self)))
        case .int64, .sint64, .sfixed64: return .int(try integer(json, Int64.self))
        case .uint32, .fixed32: return .uint(UInt64(try integer(json, UInt32.self)))
        case .uint64, .fixed64: return .uint(try integer(json, UInt64.self))
        }
    }

    private func integer<I: FixedWidthInteger>(_ json: JSONValue, _ type: I.Type) throws(ConfigError) -> I {
        let value: I? =
            switch json {
            case .int(let value): I(exactly: value)
            case .double(let value): I(exactly: value)
            case .string(let text): I(text) ?? Double(text).flatMap { I(exactly: $0) }
            default: nil
            }
        guard let value else { throw expected("a whole number from \(I.min) to \(I.max)", json) }
        return value
    }

    private static func double(_ json: JSONValue) -> Double? {
        switch json {
        case .string("NaN"): .nan
        case .string("Infinity"): .infinity
        case .string("-Infinity"): -.infinity
        case .string(let text): Double(text).flatMap { $0.isFinite ? $0 : nil }
        default: json.double
        }
    }

    /// Either alphabet, with or without padding.
    private static func base64(_ text: String) -> [UInt8]? {
        var body = text.utf8[...]
        while body.last == UInt8(ascii: "=") { body.removeLast() }
        let urlSafe = body.map { byte in
            switch byte {
            case UInt8(ascii: "+"): UInt8(ascii: "-")
            case UInt8(ascii: "/"): UInt8(ascii: "_")
            default: byte
            }
        }
        return Base64.decodeURLSafe(String(decoding: urlSafe, as: UTF8.self))
    }

    private func enumeration(_ json: JSONValue, _ type: EnumType) throws(ConfigError) -> Int64 {
        if case .string(let name) = json, let number = type.number(inAnyCase: name) {
            return Int64(number)
        }
        if json.isNull, type.isNullValue { return 0 }
        if let number = json.int, let number = Int32(exactly: number) { return Int64(number) }
        throw expected("one of \(type.valueNames.joined(separator: ", "))", json)
    }

    private func duration(_ json: JSONValue) throws(ConfigError) -> Duration {
        // As the message that it is, which Envoy reads too.
        if case .object(let object) = json,
            object.keys.allSatisfy({ $0 == "seconds" || $0 == "nanos" }),
            let duration = Duration(
                seconds: try integer(object["seconds"] ?? 0, Int64.self),
                nanoseconds: Int64(try integer(object["nanos"] ?? 0, Int32.self)))
        {
            return duration
        }
        guard case .string(let text) = json, let duration = Duration(protobufJSON: text) else {
            throw expected("a duration such as \"1.5s\"", json)
        }
        return duration
    }

    private func timestamp(_ json: JSONValue) throws(ConfigError) -> Timestamp {
        guard case .string(let text) = json, let timestamp = Timestamp(rfc3339: text) else {
            throw expected("a time such as \"2026-11-24T10:00:00Z\"", json)
        }
        return timestamp
    }

    // MARK: Any

    private mutating func any(_ json: JSONValue) throws(ConfigError) -> PackedMessage {
        guard case .object(let object) = json else { throw expected("an object with @type", json) }
        guard case .string(let url)? = object["@type"] else {
            if object.isEmpty { return PackedMessage(typeURL: "", .bytes([])) }
            throw error("has no @type")
        }
        guard let name = PackedMessage.typeName(ofURL: url) else {
            throw error("@type \"\(url)\" is no type URL: it must contain a slash")
        }
        guard let type = schema.message(name) else { throw error("unknown type \"\(url)\"") }
        guard let wellKnown = type.wellKnown else {
            return PackedMessage(typeURL: url, .message(try message(object, type, skipping: "@type")))
        }
        for key in object.keys where key != "@type" && key != "value" {
            throw ConfigError(ConfigPath(path), "unknown field \"\(key)\"", member: key)
        }
        let value = object["value"] ?? .null
        return PackedMessage(typeURL: url, .message(try wellKnownMessage(value, type, wellKnown)))
    }

    /// A message that has a form of its own in JSON, as a message: within `Any`.
    private mutating func wellKnownMessage(_ json: JSONValue, _ type: MessageType, _ wellKnown: WellKnownType)
        throws(ConfigError) -> Message
    {
        var message = Message(type)
        switch wellKnown {
        case .any:
            let inner = try any(json)
            message[0] = .string(inner.typeURL)
            message[1] = .bytes(inner.binary())
        case .wrapper(let scalar): message[0] = try self.scalar(json, scalar)
        case .duration:
            let (seconds, nanoseconds) = try duration(json).protobufParts
            message[0] = .int(seconds)
            message[1] = .int(nanoseconds)
        case .timestamp:
            let timestamp = try timestamp(json)
            message[0] = .int(timestamp.seconds)
            message[1] = .int(Int64(timestamp.nanoseconds))
        case .structure:
            guard case .object(let object) = json else { throw expected("an object", json) }
            message[0] = .map(object.map { MapEntry(key: .string($0.key), value: .json($0.value)) })
        case .listValue:
            guard case .array(let elements) = json else { throw expected("a list", json) }
            message[0] = .list(elements.map(FieldValue.json))
        case .value:
            // The positions of the members of its oneof.
            switch json {
            case .null: message[0] = .int(0)
            case .int(let value): message[1] = .double(Double(value))
            case .double(let value): message[1] = .double(value)
            case .string(let value): message[2] = .string(value)
            case .bool(let value): message[3] = .bool(value)
            case .object: message[4] = .json(json)
            case .array: message[5] = .json(json)
            }
        case .fieldMask:
            guard case .string(let text) = json else { throw expected("names separated by commas", json) }
            message[0] = .list(text.split(separator: ",").map { .string(Self.snake(String($0))) })
        }
        return message
    }

    private static func snake(_ name: String) -> String {
        var text = ""
        for character in name { text += character.isUppercase ? "_" + character.lowercased() : String(character) }
        return text
    }

    // MARK: Errors

    private func error(_ reason: String) -> ConfigError { ConfigError(ConfigPath(path), reason) }

    private func expected(_ what: String, _ found: JSONValue) -> ConfigError {
        let text: String =
            switch found {
            case .object: "an object"
            case .array: "a list"
            case .null: "null"
            default: found.encodedString()
            }
        return error("expected \(what), found \(text.prefix(80))")
    }
}
