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

    /// A key whose desired and actual value differ.
    @usableFromInline
    struct Difference {
        @usableFromInline var desired: Value?
        @usableFromInline var actual: Value?

        @usableFromInline
        init(desired: Value?, actual: Value?) {
            self.desired = desired
            self.actual = actual
        }
    }

    /// What is as it should be: nearly everything, nearly always, so that it is kept once.
    @usableFromInline var settled: [Key: Value] = [:]
    @usableFromInline var differences: [Key: Difference] = [:]
    @usableFromInline var desiredTotal = 0
    @usableFromInline var actualTotal = 0

    @inlinable public var desiredCount: Int { desiredTotal }
    @inlinable public var actualCount: Int { actualTotal }

    public init() {}

    public mutating func reserveCapacity(_ count: Int) { settled.reserveCapacity(count) }

    // MARK: What should be

    @inlinable
    public func desired(_ key: Key) -> Value? {
        if let difference = differences[key] { difference.desired } else { settled[key] }
    }

    @inlinable
    public mutating func desire(_ key: Key, _ value: Value) { setDesired(key, value) }

    @inlinable
    public mutating func abandon(_ key: Key) { setDesired(key, nil) }

    /// Wants nothing any more; what is there becomes a removal.
    @inlinable
    public mutating func abandonAll() {
        for key in Array(settled.keys) + Array(differences.keys) { setDesired(key, nil) }
    }

    // MARK: What is

    @inlinable
    public func actual(_ key: Key) -> Value? {
        if let difference = differences[key] { difference.actual } else { settled[key] }
    }

    /// One thing as the world has it; nil when it is gone.
    @inlinable
    public mutating func observe(_ key: Key, _ value: Value?) { setActual(key, value) }

    /// All that is there: what is not among them is gone.
    @inlinable
    public mutating func observeAll(_ present: some Sequence<(Key, Value)>) {
        var missing = Set<Key>(minimumCapacity: actualCount)
        for (key, _) in allActual { missing.insert(key) }
        for (key, value) in present {
            setActual(key, value)
            missing.remove(key)
        }
        for key in missing { setActual(key, nil) }
    }

    /// The change was carried out.
    @inlinable
    public mutating func confirm(_ change: Change) {
        switch change {
        case .add(let key, let value), .replace(let key, _, let value): setActual(key, value)
        case .remove(let key, _): setActual(key, nil)
        }
    }

    // MARK: What to do

    @inlinable public var isSettled: Bool { differences.isEmpty }
    @inlinable public var pendingCount: Int { differences.count }

    /// One per differing key, in no order; costs nothing for keys that agree.
    @inlinable
    public var changes: some Sequence<Change> {
        differences.lazy.map { key, difference in
            switch (difference.desired, difference.actual) {
            case (let desired?, nil): return Change.add(key, desired)
            case (let desired?, let actual?): return Change.replace(key, actual, with: desired)
            case (nil, let actual?): return Change.remove(key, actual)
            case (nil, nil): preconditionFailure("a key without values differs from nothing")
            }
        }
    }

    /// Everything desired, in no order.
    @inlinable
    public var allDesired: some Sequence<(key: Key, value: Value)> {
        let open = differences.lazy.compactMap { key, difference in
            difference.desired.map { (key: key, value: $0) }
        }
        return settled.map { (key: $0.key, value: $0.value) } + open
    }

    /// Everything that is there, in no order.
    @inlinable
    public var allActual: some Sequence<(key: Key, value: Value)> {
        let open = differences.lazy.compactMap { key, difference in
            difference.actual.map { (key: key, value: $0) }
        }
        return settled.map { (key: $0.key, value: $0.value) } + open
    }

    // MARK: -

    @inlinable
    mutating func setDesired(_ key: Key, _ value: Value?) {
        let now = current(key)
        desiredTotal += (value == nil ? 0 : 1) - (now.desired == nil ? 0 : 1)
        store(key, Difference(desired: value, actual: now.actual), before: now)
    }

    @inlinable
    mutating func setActual(_ key: Key, _ value: Value?) {
        let now = current(key)
        actualTotal += (value == nil ? 0 : 1) - (now.actual == nil ? 0 : 1)
        store(key, Difference(desired: now.desired, actual: value), before: now)
    }

    @inlinable
    func current(_ key: Key) -> Difference {
        if let difference = differences[key] { return difference }
        let value = settled[key]
        return Difference(desired: value, actual: value)
    }

    /// A difference is never between two nils, nor between two equals.
    @inlinable
    mutating func store(_ key: Key, _ now: Difference, before: Difference) {
        if now.desired == now.actual {
            if before.desired != before.actual { differences.removeValue(forKey: key) }
            settled[key] = now.desired
            // What a first sync needed is given back.
            if differences.isEmpty, differences.capacity > 1024 { differences = [:] }
        } else {
            if before.desired == before.actual, before.desired != nil { settled.removeValue(forKey: key) }
            differences[key] = now
        }
    }
}

extension DeltaTracker.Difference: Sendable where Key: Sendable, Value: Sendable {}
extension DeltaTracker: Sendable where Key: Sendable, Value: Sendable {}
extension DeltaTracker.Change: Sendable where Key: Sendable, Value: Sendable {}
