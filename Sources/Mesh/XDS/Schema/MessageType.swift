/// What a message consists of. One object for each message, shared by all that is of this type.
public final class MessageType: Sendable {
    /// The full name: `envoy.config.cluster.v3.Cluster`.
    public let name: String
    /// In the order of their numbers.
    let fields: [FieldType]
    public let oneofs: [OneofType]
    /// Positions of fields that have rules also for being absent.
    let checkedWhenAbsent: [Int]
    /// Positions of fields by both names that JSON may use.
    private let positions: [String: Int]
    /// What the types of this one's fields are found in.
    unowned let schema: ProtoSchema
    let wellKnown: WellKnownType?

    init(_ lines: [SchemaTable.Columns], schema: ProtoSchema, enumeration: (Int) -> EnumType) {
        name = String(lines[0].text(0).dropFirst())
        self.schema = schema
        wellKnown = WellKnownType.byName.first { [name] in $0.0 == name }?.1
        var fields: [FieldType] = []
        var oneofs: [OneofType] = []
        var positions: [String: Int] = [:]
        for line in lines.dropFirst() {
            if line.first == UInt8(ascii: "?") {
                oneofs.append(
                    OneofType(name: String(line.text(0).dropFirst()), isRequired: !line.bytes(1).isEmpty))
                continue
            }
            let field = FieldType(line, schema: schema, enumeration: enumeration)
            positions[field.name] = fields.count
            positions[field.jsonName] = fields.count
            fields.append(field)
        }
        self.fields = fields
        self.oneofs = oneofs
        self.positions = positions
        checkedWhenAbsent = fields.indices.filter { fields[$0].isCheckedWhenAbsent }
    }

    /// The names of its fields, in the order of their numbers.
    public var fieldNames: [String] { fields.map(\.name) }

    /// The position of the field of this name, as in the API (`lb_policy`) or as JSON also writes it (`lbPolicy`).
    func position(named name: String) -> Int? { positions[name] }

    /// The position of the field of this number. Most messages number their fields without many gaps, so the search
    /// begins where the field is when there are none.
    func position(number: Int) -> Int? {
        guard let last = fields.indices.last, number > 0 else { return nil }
        var position = min(number - 1, last)
        while position >= 0 {
            let found = Int(fields[position].number)
            if found == number { return position }
            if found < number { return nil }
            position -= 1
        }
        return nil
    }

    func position(ofOneof name: String) -> Int? { oneofs.firstIndex { $0.name == name } }
}

extension MessageType: Hashable {
    public static func == (a: MessageType, b: MessageType) -> Bool { a === b }
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

/// A group of fields of which at most one is set.
public struct OneofType: Sendable {
    public let name: String
    /// One of them must be set.
    public let isRequired: Bool
}
