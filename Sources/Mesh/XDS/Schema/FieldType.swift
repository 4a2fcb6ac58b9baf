/// One field of a message. An object, so that passing it along copies one reference.
final class FieldType: Sendable {
    /// As in the API: `connect_timeout`.
    let name: String
    /// As JSON may also write it: `connectTimeout`.
    let jsonName: String
    let number: Int32
    let cardinality: Cardinality
    let kind: FieldKind
    /// The position of its oneof within the message.
    let oneof: Int?
    /// Whether zero is something else than absent.
    let hasPresence: Bool
    let rules: FieldRules?

    enum Cardinality: Sendable, Equatable {
        case single, list
        case map(key: ScalarType)
    }

    init(_ line: SchemaTable.Columns, schema: ProtoSchema, enumeration: (Int) -> EnumType) {
        name = line.text(0)
        jsonName = Self.lowerCamel(name)
        number = Int32(line.text(1))!
        var type = line.text(2)[...]
        var hasPresence = false
        switch type.first {
        case "*":
            type.removeFirst()
            cardinality = .list
        case "%":
            type.removeFirst()
            cardinality = .map(key: ScalarType(letter: type.removeFirst()))
        case "^":
            type.removeFirst()
            cardinality = .single
            hasPresence = true
        default: cardinality = .single
        }
        switch type.first {
        case "e": kind = .enumeration(enumeration(Int(type.dropFirst())!))
        case "m":
            let message = Int(type.dropFirst())!
            kind = schema.wellKnown[message].map(FieldKind.init) ?? .message(message)
            hasPresence = true
        default: kind = .scalar(ScalarType(letter: type.first!))
        }
        oneof = Int(line.text(3))
        self.hasPresence = hasPresence || oneof != nil
        rules = FieldRules(line.text(4))
    }

    /// Members of a oneof have rules only when they are the one.
    var isCheckedWhenAbsent: Bool {
        guard let rules, oneof == nil, !rules.ignoresEmpty || rules.isRequired else { return false }
        return rules.isRequired || cardinality != .single || !hasPresence
    }

    static func lowerCamel(_ name: String) -> String {
        var camel = ""
        var isRaised = false
        for character in name {
            if character == "_" {
                isRaised = true
            } else {
                camel += isRaised ? character.uppercased() : String(character)
                isRaised = false
            }
        }
        return camel
    }
}

/// What a value of a field is, or each value of one that repeats.
enum FieldKind: Sendable {
    case scalar(ScalarType)
    case enumeration(EnumType)
    /// A message around one scalar, whose absence means something else than zero.
    case wrapper(ScalarType)
    case duration, timestamp, any
    /// Free JSON: an object, any value, a list.
    case structure, value, listValue
    /// The number of a message.
    case message(Int)

    var isMessage: Bool { if case .message = self { true } else { false } }

    init(_ type: WellKnownType) {
        switch type {
        case .any: self = .any
        case .duration: self = .duration
        case .timestamp: self = .timestamp
        case .structure: self = .structure
        case .value: self = .value
        case .listValue: self = .listValue
        case .wrapper(let scalar): self = .wrapper(scalar)
        // Envoy's configuration has none as a field.
        case .fieldMask: preconditionFailure("a field of type FieldMask")
        }
    }
}

enum ScalarType: Sendable {
    case bool, int32, int64, uint32, uint64, sint32, sint64, fixed32, fixed64, sfixed32, sfixed64, float, double
    case string, bytes

    /// The table's letters.
    init(letter: Character) {
        switch letter {
        case "b": self = .bool
        case "i": self = .int32
        case "l": self = .int64
        case "u": self = .uint32
        case "v": self = .uint64
        case "z": self = .sint32
        case "Z": self = .sint64
        case "U": self = .fixed32
        case "V": self = .fixed64
        case "I": self = .sfixed32
        case "L": self = .sfixed64
        case "f": self = .float
        case "d": self = .double
        case "s": self = .string
        case "y": self = .bytes
        default: preconditionFailure("the schema has a type \(letter)")
        }
    }
}
