extension Message {
    /// Lays another message of the same type over this one, as the wire format merges what comes twice: scalars that are set
    /// win, lists are appended, messages are merged, entries of maps win by key, and a member of a oneof replaces the others.
    public mutating func merge(_ other: Message) {
        precondition(type == other.type, "a \(other.type.name) cannot be merged into a \(type.name)")
        for entry in other.entries {
            let held = take(entry.position)
            self[entry.position] = held.map { Self.merged($0, entry.value) } ?? entry.value
        }
    }

    private static func merged(_ old: FieldValue, _ new: FieldValue) -> FieldValue {
        switch (old, new) {
        case (.list(let old), .list(let new)): return .list(old + new)
        case (.map(let old), .map(let new)):
            var entries = old + new
            entries.normalize()
            return .map(entries)
        case (.message(var old), .message(let new)):
            old.merge(new)
            return .message(old)
        case (.json(.object(var old)), .json(.object(let new))):
            for (key, value) in new { old[key] = value }
            return .json(.object(old))
        default: return new
        }
    }
}
