import Bytes
public import JSON

/// Brings an object that a client sent into the shape that Kubernetes keeps: unknown members and nulls go, every value
/// has the type that the schema says, zeros that mean "not set" are left out, quantities and times are in canonical
/// form, lists that clients rely on are there even if empty.
///
/// So one object has one form, whether it came as JSON, YAML or protobuf, and equality means that nothing changed.
/// Conforming what conforms returns it as it is.
public struct Conformance: Sendable {
    public static let shared = Conformance(schema: .shared)

    let schema: Schema

    public init(schema: Schema) { self.schema = schema }

    /// - Parameter kind: must be in the schema; objects of other kinds (custom resources) are returned as they are.
    /// - Returns: the object, and the members that it lost as kube-apiserver words them: `unknown field "spec.foo"`.
    /// - Throws: the first value of another type, in the words of Go's decoder, which the server answers with 400.
    public func conform(
        _ object: JSONValue, to kind: GroupVersionKind
    ) throws(CodecError) -> (object: JSONValue, unknown: [String]) {
        guard let type = schema.typeIndex(of: kind) else { return (object, []) }
        var pass = ConformancePass(schema: schema)
        guard case .object(let members) = object else {
            throw CodecError(
                "json: cannot unmarshal \(object.kindName) into Go value of type \(schema.table[type].goName)")
        }
        let changed = try pass.message(members, type)
        return (changed.map { .object($0) } ?? object, pass.unknown)
    }

    /// How kube-apiserver words a member that is there twice; `path` as `JSONValue.parse` tells it.
    public static func duplicateMessage(_ path: String) -> String { "duplicate field \"\(path)\"" }

    /// The members that OpenAPI calls required and that are absent, as paths (`spec.template`). Upstream does not check
    /// them by schema; this is for kinds that have no rules of their own. Run after defaulting.
    public func missingRequiredFields(in object: JSONValue, of kind: GroupVersionKind) -> [String] {
        guard let type = schema.typeIndex(of: kind) else { return [] }
        var search = MissingSearch(schema: schema)
        search.visit(object, type)
        return search.missing
    }
}

/// Looks for required members that are absent; nothing is allocated for an object that has them all.
private struct MissingSearch {
    let schema: Schema
    var missing: [String] = []
    private var path: [FieldStep] = []

    init(schema: Schema) { self.schema = schema }

    mutating func visit(_ value: JSONValue, _ type: Int) {
        guard case .object(let object) = value else { return }
        let fields = schema.typeCodes[type].fields
        var cursor = fields.lowerBound
        for member in object.members {
            // Both are sorted by name; a member that is no field is passed over.
            var candidate = cursor
            while candidate < fields.upperBound, schema.fieldNames[candidate] != member.key { candidate += 1 }
            if candidate == fields.upperBound { continue }
            note(cursor..<candidate)
            if schema.fieldCodes[candidate].shape == .message { visit(schema.fieldCodes[candidate], member) }
            cursor = candidate + 1
        }
        note(cursor..<fields.upperBound)
    }

    private mutating func note(_ absent: Range<Int>) {
        for index in absent where schema.fieldCodes[index].isRequired {
            missing.append(FieldStep.text(path + [.member(schema.fieldNames[index])]))
        }
    }

    private mutating func visit(_ field: FieldCode, _ member: JSONObject.Member) {
        path.append(.member(member.key))
        switch (field.container, member.value) {
        case (.map, .object(let entries)):
            for entry in entries.members {
                path.append(.entry(entry.key))
                visit(entry.value, Int(field.message))
                path.removeLast()
            }
        case (.list, .array(let elements)):
            for index in elements.indices {
                path.append(.element(index))
                visit(elements[index], Int(field.message))
                path.removeLast()
            }
        default: visit(member.value, Int(field.message))
        }
        path.removeLast()
    }
}

/// One step from an object to a value within it.
private enum FieldStep {
    case member(String)
    case element(Int)
    /// An entry of a map of objects.
    case entry(String)

    /// As `spec.containers[0].name`.
    static func text(_ path: [FieldStep]) -> String {
        var text = ""
        for step in path {
            switch step {
            case .member(let name): text += text.isEmpty ? name : ".\(name)"
            case .element(let index): text += "[\(index)]"
            case .entry(let key): text += "[\(key)]"
            }
        }
        return text
    }
}

/// One object's way through the schema.
private struct ConformancePass {
    let schema: Schema
    var unknown: [String] = []
    /// Where in the object we are.
    private var path: [FieldStep] = []

    /// What becomes of a value.
    private enum Outcome {
        case keep
        case drop
        case replace(JSONValue)
    }

    init(schema: Schema) { self.schema = schema }

    /// Nil where nothing changes.
    mutating func message(_ object: JSONObject, _ type: Int) throws(CodecError) -> JSONObject? {
        let fields = schema.typeCodes[type].fields
        var changed: [JSONObject.Member]?
        var cursor = fields.lowerBound
        for index in 0..<object.count {
            let (key, value) = object[index]
            var candidate = cursor
            while candidate < fields.upperBound, schema.fieldNames[candidate] != key { candidate += 1 }
            let outcome: Outcome
            if candidate == fields.upperBound {
                unknown.append("unknown field \"\(pathText(key))\"")
                outcome = .drop
            } else {
                cursor = candidate + 1
                outcome = try field(schema.fieldCodes[candidate], value, type)
            }
            switch outcome {
            case .keep: changed?.append(JSONObject.Member(key: key, value: value))
            case .drop: if changed == nil { changed = Array(object.members[..<index]) }
            case .replace(let new):
                if changed == nil { changed = Array(object.members[..<index]) }
                changed?.append(JSONObject.Member(key: key, value: new))
            }
        }
        var result = changed.map { JSONObject(ascending: $0) }
        for position in schema.typeCodes[type].alwaysWrittenLists {
            let name = schema.fieldNames[fields.lowerBound + Int(schema.alwaysWrittenLists[position])]
            if (result ?? object)[name] == nil {
                if result == nil { result = object }
                result?[name] = []
            }
        }
        return result
    }

    private mutating func field(_ field: FieldCode, _ value: JSONValue, _ type: Int) throws(CodecError) -> Outcome {
        if case .null = value { return .drop }
        let isKept = field.keepsZero
        switch field.container {
        case .single: return try element(field, value, keepsZero: isKept, type)
        case .list:
            guard case .array(let elements) = value else { throw mismatch(field, value, type) }
            if elements.isEmpty, !isKept { return .drop }
            if field.shape == .message || field.shape == .string || field.shape == .quantity {
                return try list(field, elements, type)
            }
            for element in elements { _ = try self.element(field, element, keepsZero: true, type) }
            return .keep
        case .map:
            guard case .object(let entries) = value else { throw mismatch(field, value, type) }
            if entries.isEmpty, !isKept { return .drop }
            return try map(field, entries, type)
        case .mapOfLists:
            guard case .object(let entries) = value else { throw mismatch(field, value, type) }
            if entries.isEmpty, !isKept { return .drop }
            for (_, entry) in entries {
                guard case .array(let elements) = entry, elements.allSatisfy({ $0.string != nil }) else {
                    throw mismatch(field, entry, type)
                }
            }
            return .keep
        }
    }

    private mutating func list(_ field: FieldCode, _ elements: [JSONValue], _ type: Int) throws(CodecError) -> Outcome {
        var changed: [JSONValue]?
        path.append(.member(schema.name(of: field)))
        for index in elements.indices {
            path.append(.element(index))
            let outcome =
                try held(field, elements[index], type)
            path.removeLast()
            if case .replace(let new) = outcome {
                if changed == nil { changed = elements }
                changed?[index] = new
            }
        }
        path.removeLast()
        return changed.map { .replace(.array($0)) } ?? .keep
    }

    /// An element or an entry. Go has a zero where the text says null.
    private mutating func held(_ field: FieldCode, _ value: JSONValue, _ type: Int) throws(CodecError) -> Outcome {
        guard value.isNull, field.shape != .json else { return try element(field, value, keepsZero: true, type) }
        let zero = field.zero
        if case .replace(let conformed) = try element(field, zero, keepsZero: true, type) { return .replace(conformed) }
        return .replace(zero)
    }

    private mutating func map(_ field: FieldCode, _ entries: JSONObject, _ type: Int) throws(CodecError) -> Outcome {
        var changed: JSONObject?
        path.append(.member(schema.name(of: field)))
        for index in 0..<entries.count {
            let (key, value) = entries[index]
            path.append(.member(key))
            let outcome = try held(field, value, type)
            path.removeLast()
            if case .replace(let new) = outcome {
                if changed == nil { changed = entries }
                changed?[key] = new
            }
        }
        path.removeLast()
        return changed.map { .replace(.object($0)) } ?? .keep
    }

    private mutating func element(
        _ field: FieldCode, _ value: JSONValue, keepsZero: Bool, _ type: Int
    ) throws(CodecError) -> Outcome {
        switch (field.shape, value) {
        case (.string, .string(let text)): return text.isEmpty && !keepsZero ? .drop : .keep
        case (.bool, .bool(let flag)): return flag || keepsZero ? .keep : .drop
        case (.int32, .int(let integer)):
            guard Int32(exactly: integer) != nil else { throw mismatch(field, value, type) }
            return integer == 0 && !keepsZero ? .drop : .keep
        case (.int64, .int(let integer)): return integer == 0 && !keepsZero ? .drop : .keep
        case (.double, .int(let integer)): return integer == 0 && !keepsZero ? .drop : .keep
        case (.double, .double): return .keep
        case (.message, .object(let object)):
            // The elements of a container are on the path already.
            if field.container == .single { path.append(.member(schema.name(of: field))) }
            let changed = try message(object, Int(field.message))
            if field.container == .single { path.removeLast() }
            // Lists that are only there because they always are do not make a message that somebody set.
            if !keepsZero, (changed ?? object).members.allSatisfy({ $0.value.array?.isEmpty == true }) { return .drop }
            return changed.map { .replace(.object($0)) } ?? .keep
        case (.bytes, .string(let text)):
            if text.isEmpty { return keepsZero ? .keep : .drop }
            if text.isCanonicalBase64 { return .keep }
            guard let canonical = text.canonicalBase64 else { throw invalid(field, "illegal base64 data") }
            return .replace(.string(canonical))
        case (.quantity, _):
            guard let quantity = Quantity(json: value) else {
                if [.bool(true), .bool(false)].contains(value) || value.object != nil || value.array != nil {
                    throw mismatch(field, value, type)
                }
                throw invalid(
                    field,
                    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
            }
            let canonical = quantity.description
            return value.string == canonical ? .keep : .replace(.string(canonical))
        case (.time, .string(let text)), (.microTime, .string(let text)):
            guard let time = Timestamp(rfc3339: text) else {
                throw invalid(
                    field, "parsing time \(quoted(text)) as \"2006-01-02T15:04:05Z07:00\": not an RFC 3339 time")
            }
            let canonical = field.shape == .time ? time.rfc3339 : time.rfc3339Micro
            return canonical == text ? .keep : .replace(.string(canonical))
        case (.intOrString, .int(let integer)):
            guard Int32(exactly: integer) != nil else { throw mismatch(field, value, type) }
            return integer == 0 && !keepsZero ? .drop : .keep
        case (.intOrString, .string): return .keep
        case (.raw, .object), (.json, _): return .keep
        case (.propsOrBool, .bool): return .keep
        case (.propsOrArray, .array(let elements)):
            for element in elements { _ = try props(element, field, type) }
            return .keep
        case (.propsOrStrings, .array(let elements)) where elements.allSatisfy { $0.string != nil }: return .keep
        case (.propsOrBool, .object), (.propsOrArray, .object), (.propsOrStrings, .object):
            return try props(value, field, type)
        default: throw mismatch(field, value, type)
        }
    }

    private mutating func props(_ value: JSONValue, _ field: FieldCode, _ type: Int) throws(CodecError) -> Outcome {
        guard let props = schema.typeIndex(named: "apiextensions.v1.JSONSchemaProps"), case .object(let object) = value
        else {
            throw mismatch(field, value, type)
        }
        path.append(.member(schema.name(of: field)))
        let changed = try message(object, props)
        path.removeLast()
        return changed.map { .replace(.object($0)) } ?? .keep
    }

    // MARK: What went wrong

    private func pathText(_ last: String) -> String { FieldStep.text(path + [.member(last)]) }

    /// Whether the path ends within the field's container, at an element or an entry.
    private func isWithin(_ field: FieldCode) -> Bool {
        guard field.container != .single, case .member(schema.name(of: field))? = path.dropLast().last else {
            return false
        }
        return true
    }

    private func place(_ field: FieldCode) -> String {
        isWithin(field) ? FieldStep.text(path) : pathText(schema.name(of: field))
    }

    /// Go names the innermost struct, and the members on the way without indexes.
    private func mismatch(_ field: FieldCode, _ value: JSONValue, _ type: Int) -> CodecError {
        var found = value.kindName
        // Go shows a number that has the right kind but does not fit.
        if found == "number", [.int32, .int64, .intOrString].contains(field.shape) { found += " \(value)" }
        var way: [String] = []
        for step in isWithin(field) ? path.dropLast() : path { if case .member(let name) = step { way.append(name) } }
        if !isWithin(field) { way.append(schema.name(of: field)) }
        let target = schema.table[type].goName.split(separator: ".").last ?? ""
        return CodecError(
            path: place(field),
            "json: cannot unmarshal \(found) into Go struct field \(target).\(way.joined(separator: ".")) of type "
                + field.goType(schema, ofElement: isWithin(field)))
    }

    private func invalid(_ field: FieldCode, _ message: String) -> CodecError {
        CodecError(path: place(field), message)
    }
}

extension FieldCode {
    /// What Go has where the text says null.
    fileprivate var zero: JSONValue {
        switch shape {
        case .string, .bytes: ""
        case .bool: false
        case .int32, .int64, .double, .intOrString: 0
        case .quantity: "0"
        case .message: [:]
        case .time, .microTime, .raw, .json, .propsOrBool, .propsOrArray, .propsOrStrings: .null
        }
    }

    /// The Go type that messages name.
    fileprivate func goType(_ schema: Schema, ofElement: Bool) -> String {
        let element =
            switch shape {
            case .string: "string"
            case .bytes: "[]uint8"
            case .bool: "bool"
            case .int32: "int32"
            case .int64: "int64"
            case .double: "float64"
            case .quantity: "resource.Quantity"
            case .time: "v1.Time"
            case .microTime: "v1.MicroTime"
            case .intOrString: "intstr.IntOrString"
            case .raw: "runtime.RawExtension"
            case .json, .propsOrBool, .propsOrArray, .propsOrStrings: "v1.JSON"
            case .message: schema.table[Int(message)].goName
            }
        return switch ofElement ? .single : container {
        case .single: element
        case .list: "[]\(element)"
        case .map: "map[string]\(element)"
        case .mapOfLists: "map[string][]\(element)"
        }
    }
}

extension String {
    /// Whether this is what an encoder writes: padded, without line breaks, and with the bits beyond the last byte zero.
    fileprivate var isCanonicalBase64: Bool {
        guard utf8.count % 4 == 0 else { return false }
        var padding = 0
        var last: UInt8 = 0
        for byte in utf8 {
            if byte == UInt8(ascii: "=") {
                padding += 1
            } else {
                guard padding == 0, let value = Self.base64Value(byte) else { return false }
                last = value
            }
        }
        return padding == 0 || padding == 1 && last & 0b11 == 0 || padding == 2 && last & 0b1111 == 0
    }

    /// The same bytes as an encoder writes them. Go's decoder allows line breaks, and does not look at the last bits.
    fileprivate var canonicalBase64: String? {
        var text = Array(utf8.filter { $0 != 0x0A && $0 != 0x0D })
        let padding = text.suffix(2).count { $0 == UInt8(ascii: "=") }
        if padding > 0, text.count > padding {
            let at = text.count - padding - 1
            let unused: UInt8 = padding == 1 ? 0b11 : 0b1111
            guard let value = Self.base64Value(text[at]) else { return nil }
            text[at] = Self.base64Alphabet[Int(value & ~unused)]
        }
        let canonical = String(decoding: text, as: UTF8.self)
        return canonical.isCanonicalBase64 ? canonical : nil
    }

    private static let base64Alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    private static func base64Value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}

extension SchemaType {
    /// `core.v1.Pod` is `v1.Pod` to Go.
    var goName: String { name.split(separator: ".").suffix(2).joined(separator: ".") }
}
