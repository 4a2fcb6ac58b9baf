public import Bytes
public import JSON

// Plain values.
extension ConfigNode {
    /// Whether a field with presence is set, or a list or map is not empty. Does not count as reading it.
    public func has(_ name: String) -> Bool { message.value(name) != nil }

    /// Whether this field is set and no other. Does not count as reading it.
    public func saysOnly(_ name: String) -> Bool { message.entries.count == 1 && has(name) }

    /// The name of the member of a oneof that is set; nil for none. The member itself is still to be read.
    public func choice(_ oneof: String) -> String? {
        guard let position = message.type.position(ofOneof: oneof) else {
            assertionFailure("\(typeName) has no oneof \(oneof)")
            return nil
        }
        for entry in message.entries where message.type.fields[entry.position].oneof == position {
            return message.type.fields[entry.position].name
        }
        return nil
    }

    public func string(_ name: String) -> String { stringIfSet(name) ?? "" }
    public func stringIfSet(_ name: String) -> String? {
        guard case .string(let value)? = value(name, of: [.string]) else { return nil }
        return value
    }

    public func bool(_ name: String) -> Bool { boolIfSet(name) ?? false }
    public func bool(_ name: String, default absent: Bool) -> Bool { boolIfSet(known(name)) ?? absent }
    public func boolIfSet(_ name: String) -> Bool? {
        guard case .bool(let value)? = value(name, of: [.bool]) else { return nil }
        return value
    }

    public func uint32(_ name: String) -> UInt32 { uint32IfSet(name) ?? 0 }
    public func uint32(_ name: String, default absent: UInt32) -> UInt32 { uint32IfSet(known(name)) ?? absent }
    public func uint32IfSet(_ name: String) -> UInt32? {
        guard case .uint(let value)? = value(name, of: [.uint32, .fixed32]) else { return nil }
        return UInt32(truncatingIfNeeded: value)
    }

    public func uint64(_ name: String) -> UInt64 { uint64IfSet(name) ?? 0 }
    public func uint64(_ name: String, default absent: UInt64) -> UInt64 { uint64IfSet(known(name)) ?? absent }
    public func uint64IfSet(_ name: String) -> UInt64? {
        guard case .uint(let value)? = value(name, of: [.uint64, .fixed64]) else { return nil }
        return value
    }

    public func int32(_ name: String) -> Int32 { int32IfSet(name) ?? 0 }
    public func int32IfSet(_ name: String) -> Int32? {
        guard case .int(let value)? = value(name, of: [.int32, .sint32, .sfixed32]) else { return nil }
        return Int32(truncatingIfNeeded: value)
    }

    public func int64(_ name: String) -> Int64 { int64IfSet(name) ?? 0 }
    public func int64IfSet(_ name: String) -> Int64? {
        guard case .int(let value)? = value(name, of: [.int64, .sint64, .sfixed64]) else { return nil }
        return value
    }

    public func double(_ name: String) -> Double { doubleIfSet(name) ?? 0 }
    public func double(_ name: String, default absent: Double) -> Double { doubleIfSet(known(name)) ?? absent }
    public func doubleIfSet(_ name: String) -> Double? {
        guard case .double(let value)? = value(name, of: [.double, .float]) else { return nil }
        return value
    }

    public func bytes(_ name: String) -> [UInt8] { bytesIfSet(name) ?? [] }
    public func bytesIfSet(_ name: String) -> [UInt8]? {
        guard case .bytes(let value)? = value(name, of: [.bytes]) else { return nil }
        return value
    }

    /// Nil when absent. May be negative where the API's rules allow it.
    public func duration(_ name: String) -> Duration? {
        guard let value = value(name) else { return nil }
        guard case .duration(let duration) = value else { return mismatch(name) }
        return duration
    }

    public func duration(_ name: String, default absent: Duration) -> Duration { duration(name) ?? absent }

    public func timestamp(_ name: String) -> Timestamp? {
        guard let value = value(name) else { return nil }
        guard case .timestamp(let timestamp) = value else { return mismatch(name) }
        return timestamp
    }

    /// The object of a `Struct`; nil when absent.
    public func structure(_ name: String) -> JSONObject? { json(name)?.object }

    /// A `Struct`, `Value` or `ListValue`; nil when absent.
    public func json(_ name: String) -> JSONValue? {
        guard let value = value(name) else { return nil }
        guard case .json(let json) = value else { return mismatch(name) }
        return json
    }

    /// An enum's value as one of those that the program supports; the API's zero when absent.
    /// - Throws: For values that `E` does not have, by their names.
    public func enumeration<E: ConfigEnum>(_ name: String, as type: E.Type = E.self) throws(ConfigError) -> E {
        let found = enumName(name)
        checkCases(of: type, name)
        if let value = E(rawValue: found) { return value }
        throw error(name, unsupportedValue(found, of: name))
    }

    /// The name of an enum's value, or its number as text when it has no name.
    public func enumName(_ name: String) -> String {
        guard let position = field(name) else { return "" }
        guard case .enumeration(let type) = message.type.fields[position].kind else { return mismatch(name) ?? "" }
        guard case .int(let number)? = message[position] else { return type.name(of: 0) ?? "0" }
        return type.name(of: number) ?? "\(number)"
    }

    /// The number of an enum's value, for enums that are numbers with names (HTTP status codes); 0 when absent.
    public func enumNumber(_ name: String) -> Int {
        guard let position = field(name) else { return 0 }
        guard case .enumeration = message.type.fields[position].kind else { return mismatch(name) ?? 0 }
        guard case .int(let number)? = message[position] else { return 0 }
        return Int(number)
    }

    // MARK: Lists and maps of plain values

    public func strings(_ name: String) -> [String] {
        elements(name).compactMap { if case .string(let value) = $0 { value } else { mismatch(name) } }
    }

    public func bytesList(_ name: String) -> [[UInt8]] {
        elements(name).compactMap { if case .bytes(let value) = $0 { value } else { mismatch(name) } }
    }

    public func uint32s(_ name: String) -> [UInt32] {
        elements(name).compactMap { value in
            if case .uint(let value) = value { UInt32(truncatingIfNeeded: value) } else { mismatch(name) }
        }
    }

    public func doubles(_ name: String) -> [Double] {
        elements(name).compactMap { if case .double(let value) = $0 { value } else { mismatch(name) } }
    }

    public func enumerations<E: ConfigEnum>(_ name: String, as type: E.Type = E.self) throws(ConfigError) -> [E] {
        guard let position = field(name) else { return [] }
        guard case .enumeration(let names) = message.type.fields[position].kind else { return mismatch(name) ?? [] }
        checkCases(of: type, name)
        var values: [E] = []
        for case .int(let number) in elements(name) {
            let found = names.name(of: number) ?? "\(number)"
            guard let value = E(rawValue: found) else { throw error(name, unsupportedValue(found, of: name)) }
            values.append(value)
        }
        return values
    }

    /// In the order of the keys.
    public func stringMap(_ name: String) -> [(key: String, value: String)] {
        entries(name).compactMap { entry in
            if case (.string(let key), .string(let value)) = (entry.key, entry.value) {
                (key, value)
            } else {
                mismatch(name)
            }
        }
    }

    /// Free structures by key.
    public func structureMap(_ name: String) -> [(key: String, value: JSONObject)] {
        entries(name).compactMap { entry in
            if case (.string(let key), .json(.object(let value))) = (entry.key, entry.value) {
                (key, value)
            } else {
                mismatch(name)
            }
        }
    }

    // MARK: Within

    func elements(_ name: String) -> [FieldValue] {
        guard let value = value(name) else { return [] }
        guard case .list(let elements) = value else { return mismatch(name) ?? [] }
        return elements
    }

    func entries(_ name: String) -> [MapEntry] {
        guard let value = value(name) else { return [] }
        guard case .map(let entries) = value else { return mismatch(name) ?? [] }
        return entries
    }

    /// A program that asks for the wrong type is wrong, whatever the configuration.
    func mismatch<T>(_ name: String) -> T? {
        assertionFailure("\(typeName).\(name) is of another type")
        return nil
    }

    private func value(_ name: String, of scalars: [ScalarType]) -> FieldValue? {
        guard let position = field(name) else { return nil }
        let field = message.type.fields[position]
        switch field.kind {
        case .scalar(let scalar) where scalars.contains(scalar), .wrapper(let scalar) where scalars.contains(scalar):
            return message[position]
        default: return mismatch(name)
        }
    }

    /// A default is only for fields that know of being absent.
    private func known(_ name: String) -> String {
        assert(
            message.type.position(named: name).map { message.type.fields[$0].hasPresence } ?? true,
            "\(typeName).\(name) cannot be told from zero")
        return name
    }

    private func unsupportedValue(_ found: String, of name: String) -> String { "unsupported value \(found)" }

    private func checkCases<E: ConfigEnum>(of type: E.Type, _ name: String) {
        assert(
            {
                guard let position = message.type.position(named: name),
                    case .enumeration(let values) = message.type.fields[position].kind
                else { return false }
                return E.allCases.allSatisfy { values.number(named: $0.rawValue) != nil }
            }(), "\(E.self) has values that \(typeName).\(name) does not have")
    }
}
