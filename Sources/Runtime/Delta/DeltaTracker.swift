/// What should be there and what is there, for one kind of thing: finds what to do in time proportional to the change.
///
/// The life of a change: `desire` or `abandon` says what should be; `changes` is what to do about it; when the world
/// has taken it, `confirm` says so. What the world tells of itself (a dump after a start, a foreign deletion) goes in
/// through `observe`. A change that failed stays pending until it is confirmed, desired otherwise, or observed.
///
/// A value; not tied to a thread.
public struct DeltaTracker<Key: Hashable, Value: Equatable> {
    public enum Change: Equatable {
        /// Not there: make it so.
        case add(Key, Value)
        /// There, but with another value, the first.
        case replace(Key, Value, with: Value)
        /// There, and not wanted.
        case remove(Key, Value)

        public var key: Key {
            switch self {
            case .add(let key, _), .replace(let key, _, _), .remove(let key, _): key
            }
        }
    }

    fileprivate struct Entry {
        var desired: Value?
        var actual: Value?
    }

    private var entries: [Key: Entry]
    /// The keys whose desired and actual value differ.
    private var differing: Set<Key> = []
    public private(set) var desiredCount = 0
    public private(set) var actualCount = 0

    public init() { entries = [:] }

    public mutating func reserveCapacity(_ count: Int) { entries.reserveCapacity(count) }

    // MARK: What should be

    public func desired(_ key: Key) -> Value? { entries[key]?.desired }

    public mutating func desire(_ key: Key, _ value: Value) { setDesired(key, value) }

    public mutating func abandon(_ key: Key) { setDesired(key, nil) }

    /// Wants nothing any more; what is there becomes a removal.
    public mutating func abandonAll() {
        for key in Array(entries.keys) { setDesired(key, nil) }
    }

    // MARK: What is

    public func actual(_ key: Key) -> Value? { entries[key]?.actual }

    /// One thing as the world has it; nil when it is gone.
    public mutating func observe(_ key: Key, _ value: Value?) { setActual(key, value) }

    /// All that is there: what is not among them is gone.
    public mutating func observeAll(_ present: some Sequence<(Key, Value)>) {
        var missing = Set<Key>(minimumCapacity: actualCount)
        for (key, entry) in entries where entry.actual != nil { missing.insert(key) }
        for (key, value) in present {
            setActual(key, value)
            missing.remove(key)
        }
        for key in missing { setActual(key, nil) }
    }

    /// The change was carried out.
    public mutating func confirm(_ change: Change) {
        switch change {
        case .add(let key, let value), .replace(let key, _, let value): setActual(key, value)
        case .remove(let key, _): setActual(key, nil)
        }
    }

    // MARK: What to do

    public var isSettled: Bool { differing.isEmpty }
    public var pendingCount: Int { differing.count }

    /// One per differing key, in no order; costs nothing for keys that agree.
    public var changes: some Sequence<Change> {
        differing.lazy.map { key in
            let entry = entries[key]
            switch (entry?.desired, entry?.actual) {
            case (let desired?, nil): return Change.add(key, desired)
            case (let desired?, let actual?): return Change.replace(key, actual, with: desired)
            case (nil, let actual?): return Change.remove(key, actual)
            case (nil, nil): preconditionFailure("a key without values differs from nothing")
            }
        }
    }

    /// Everything desired, in no order.
    public var allDesired: some Sequence<(key: Key, value: Value)> {
        entries.lazy.compactMap { key, entry in entry.desired.map { (key: key, value: $0) } }
    }

    /// Everything that is there, in no order.
    public var allActual: some Sequence<(key: Key, value: Value)> {
        entries.lazy.compactMap { key, entry in entry.actual.map { (key: key, value: $0) } }
    }

    // MARK: -

    private mutating func setDesired(_ key: Key, _ value: Value?) {
        let had = modify(key) { entry in
            defer { entry.desired = value }
            return entry.desired != nil
        }
        desiredCount += (value == nil ? 0 : 1) - (had ? 1 : 0)
    }

    private mutating func setActual(_ key: Key, _ value: Value?) {
        let had = modify(key) { entry in
            defer { entry.actual = value }
            return entry.actual != nil
        }
        actualCount += (value == nil ? 0 : 1) - (had ? 1 : 0)
    }

    private mutating func modify(_ key: Key, _ body: (inout Entry) -> Bool) -> Bool {
        var entry = entries[key] ?? Entry()
        let had = body(&entry)
        if entry.desired == nil, entry.actual == nil {
            entries[key] = nil
            differing.remove(key)
        } else {
            let agrees = entry.desired == entry.actual
            entries[key] = entry
            if agrees { differing.remove(key) } else { differing.insert(key) }
        }
        return had
    }
}

extension DeltaTracker.Entry: Sendable where Key: Sendable, Value: Sendable {}
extension DeltaTracker: Sendable where Key: Sendable, Value: Sendable {}
extension DeltaTracker.Change: Sendable where Key: Sendable, Value: Sendable {}
