import Bytes
public import JSON

extension Message {
    /// The message's JSON form: names as in the API, as Envoy prints them; zeros left out; numbers of 64 bits as text.
    ///
    /// Packed messages of a type that is not known here keep their bytes, as base64 in `value`.
    public func json() -> JSONValue {
        if let wellKnown = type.wellKnown { return wellKnownJSON(wellKnown) }
        return .object(members())
    }

    private func members() -> JSONObject {
        var object = JSONObject()
        for entry in entries {
            let field = type.fields[entry.position]
            object[field.name] =
                switch entry.value {
                case .list(let elements): .array(elements.map { $0.json(field.kind) })
                case .map(let entries): .object(JSONObject(entries.map { ($0.key.keyText, $0.value.json(field.kind)) }))
                case let value: value.json(field.kind)
                }
        }
        return object
    }

    /// The form within `Any`, and of a root that has one.
    private func wellKnownJSON(_ wellKnown: WellKnownType) -> JSONValue {
        switch wellKnown {
        case .any:
            var url = ""
            var bytes: [UInt8] = []
            if case .string(let text)? = self[0] { url = text }
            if case .bytes(let value)? = self[1] { bytes = value }
            return PackedMessage(typeURL: url, .bytes(bytes)).json(schema: type.schema)
        case .wrapper(let scalar): return (self[0] ?? scalar.zero).json(.scalar(scalar))
        case .duration, .timestamp:
            var (seconds, nanoseconds): (Int64, Int64) = (0, 0)
            if case .int(let value)? = self[0] { seconds = value }
            if case .int(let value)? = self[1] { nanoseconds = value }
            if case .duration = wellKnown {
                return .string((Duration(seconds: seconds, nanoseconds: nanoseconds) ?? .zero).protobufJSON)
            }
            guard (0..<1_000_000_000).contains(nanoseconds) else { return .null }
            return FieldValue.timestamp(Timestamp(seconds: seconds, nanoseconds: Int32(nanoseconds))).json(.timestamp)
        case .structure:
            guard case .map(let entries)? = self[0] else { return [:] }
            return .object(JSONObject(entries.map { ($0.key.keyText, $0.value.json(.value)) }))
        case .listValue:
            guard case .list(let elements)? = self[0] else { return [] }
            return .array(elements.map { $0.json(.value) })
        case .value:
            guard let entry = entries.first, entry.position > 0 else { return .null }
            return entry.value.json(type.fields[entry.position].kind)
        case .fieldMask:
            guard case .list(let elements)? = self[0] else { return "" }
            let paths = elements.compactMap {
                if case .string(let path) = $0 { FieldType.lowerCamel(path) } else { nil }
            }
            return .string(paths.joined(separator: ","))
        }
    }
}

extension PackedMessage {
    func json(schema: ProtoSchema) -> JSONValue {
        if typeURL.isEmpty { return [:] }
        guard let message = try? message(schema: schema, path: ConfigPath()) else {
            return ["@type": .string(typeURL), "value": .string(Base64.encode(binary()))]
        }
        if message.type.wellKnown != nil { return ["@type": .string(typeURL), "value": message.json()] }
        var json = message.json()
        json["@type"] = .string(typeURL)
        return json
    }
}

extension FieldValue {
    fileprivate func json(_ kind: FieldKind) -> JSONValue {
        switch self {
        case .bool(let value): return .bool(value)
        case .int(let value):
            switch kind {
            case .enumeration(let type):
                if type.isNullValue { return .null }
                return type.name(of: value).map(JSONValue.string) ?? .int(value)
            case .scalar(.int64), .scalar(.sint64), .scalar(.sfixed64), .wrapper(.int64): return .string("\(value)")
            default: return .int(value)
            }
        case .uint(let value):
            switch kind {
            case .scalar(.uint64), .scalar(.fixed64), .wrapper(.uint64): return .string("\(value)")
            default: return .int(Int64(clamping: value))
            }
        case .double(let value):
            if value.isNaN { return "NaN" }
            if value.isInfinite { return .string(value < 0 ? "-Infinity" : "Infinity") }
            var shortest = value
            switch kind {
            case .scalar(.float), .wrapper(.float): shortest = Double("\(Float(value))") ?? value
            default: break
            }
            return Int64(exactly: shortest).map(JSONValue.int) ?? .double(shortest)
        case .string(let value): return .string(value)
        case .bytes(let value): return .string(Base64.encode(value))
        case .duration(let value): return .string(value.protobufJSON)
        case .timestamp(let value): return .string(Self.text(value))
        case .json(let value): return value
        case .any(let packed): return packed.json(schema: .envoy)
        case .message(let message): return message.json()
        // Neither is within another.
        case .list, .map: return .null
        }
    }

    /// With no, three, six or nine digits behind the point, as the mapping asks for.
    private static func text(_ time: Timestamp) -> String {
        var digits = 9
        var rest = time.nanoseconds
        while digits > 0, rest % 1000 == 0 { (digits, rest) = (digits - 3, rest / 1000) }
        var out: [UInt8] = []
        time.appendRFC3339(to: &out, fraction: digits)
        return String(decoding: out, as: UTF8.self)
    }

    /// A map's key as the name of a member.
    fileprivate var keyText: String {
        switch self {
        case .string(let value): value
        case .int(let value): "\(value)"
        case .uint(let value): "\(value)"
        case .bool(let value): "\(value)"
        default: ""
        }
    }
}
