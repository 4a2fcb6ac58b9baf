/// What a worker keeps for each object of a configuration, for as long as somebody holds the object: configurations come and go,
/// and workers stay.
struct ConfigurationCache<Key: AnyObject, Value> {
    private struct Entry {
        weak let key: Key?
        let value: Value
    }

    private var entries: [ObjectIdentifier: Entry] = [:]
    /// So many entries, and those without an object are looked for.
    private var limit = leastLimit

    private static var leastLimit: Int { 16 }

    /// What is kept for the object; `make` makes it when it is asked for first.
    mutating func value(for key: Key, or make: () -> Value) -> Value {
        // Another object may be where one was that is gone.
        if let known = entries[ObjectIdentifier(key)], known.key === key { return known.value }
        if entries.count >= limit { sweep() }
        let value = make()
        entries[ObjectIdentifier(key)] = Entry(key: key, value: value)
        return value
    }

    var count: Int { entries.count }

    private mutating func sweep() {
        entries = entries.filter { $0.value.key != nil }
        limit = max(2 * entries.count, Self.leastLimit)
    }
}
