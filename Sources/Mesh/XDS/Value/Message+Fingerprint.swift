extension Message {
    /// The same for equal messages of one process, and with all but certainty different for others; `without` names fields of
    /// the message itself that do not count.
    public func fingerprint(without fields: Set<String> = []) -> Int {
        var hasher = Hasher()
        for entry in entries where !fields.contains(type.fields[entry.position].name) { hasher.combine(entry) }
        return hasher.finalize()
    }
}
