/// A message of any type of the schema: a value, immutable to everyone but the codecs.
public struct Message: Hashable, Sendable {
    public let type: MessageType
    /// What is set, in the order of the fields' numbers. Fields without presence are never here with zero.
    private(set) var entries: [Entry] = []

    struct Entry: Hashable, Sendable {
        /// The field's position in the type.
        var position: Int
        var value: FieldValue
    }

    init(_ type: MessageType) { self.type = type }

    /// Nothing is set.
    public var isEmpty: Bool { entries.isEmpty }

    /// An empty message of a type by its full name; nil when there is none.
    public init?(_ name: String, schema: ProtoSchema = .envoy) {
        guard let type = schema.message(name) else { return nil }
        self.init(type)
    }

    /// The value of the field at a position; setting nil or a zero that means absent removes it, and setting a member
    /// of a oneof removes the others.
    subscript(position: Int) -> FieldValue? {
        get { index(of: position).map { entries[$0].value } }
        set {
            let field = type.fields[position]
            if let newValue, field.hasPresence && field.cardinality == .single || !newValue.isZero {
                if let oneof = field.oneof {
                    entries.removeAll { $0.position != position && type.fields[$0.position].oneof == oneof }
                }
                if let last = entries.last, last.position < position {
                    entries.append(Entry(position: position, value: newValue))
                } else if let index = index(of: position) {
                    entries[index].value = newValue
                } else {
                    let place = entries.firstIndex { $0.position > position } ?? entries.count
                    entries.insert(Entry(position: position, value: newValue), at: place)
                }
            } else if let index = index(of: position) {
                entries.remove(at: index)
            }
        }
    }

    /// Takes a value out, so that who changes it has the only reference.
    mutating func take(_ position: Int) -> FieldValue? {
        index(of: position).map { entries.remove(at: $0).value }
    }

    /// Puts the entries of maps into order, of equal keys only the last.
    mutating func sortMaps() {
        for index in entries.indices {
            guard case .map(var map) = entries[index].value else { continue }
            map.normalize()
            entries[index].value = .map(map)
        }
    }

    /// The field's value when it is there.
    func value(_ name: String) -> FieldValue? { type.position(named: name).flatMap { self[$0] } }

    private func index(of position: Int) -> Int? {
        for index in entries.indices {
            if entries[index].position == position { return index }
            if entries[index].position > position { return nil }
        }
        return nil
    }
}
