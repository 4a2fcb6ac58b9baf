import Synchronization

/// A value that runtime layers may set while the proxy works, by name. All who name a key share it; it is read without a lock.
///
/// Given out once for each name that configuration ever mentioned, and never taken back.
final class RuntimeKey: Sendable, Hashable {
    let name: String
    private let number: Atomic<Int64>

    private static let unset = Int64.min
    private struct Known {
        var keys: [String: RuntimeKey] = [:]
        var values: [String: Int64] = [:]
    }
    private static let known = Mutex(Known())

    private init(_ name: String, _ value: Int64?) {
        self.name = name
        number = Atomic(value ?? Self.unset)
    }

    /// nil for the empty name, which is none.
    static func named(_ name: String) -> RuntimeKey? {
        guard !name.isEmpty else { return nil }
        return known.withLock { known in
            if let key = known.keys[name] { return key }
            let key = RuntimeKey(name, known.values[name])
            known.keys[name] = key
            return key
        }
    }

    /// What layers say; nil while they say nothing of it.
    @inline(__always)
    var value: Int64? {
        let found = number.load(ordering: .relaxed)
        return found == Self.unset ? nil : found
    }

    /// Takes what layers say now, of all keys.
    static func set(_ values: [String: Int64]) {
        known.withLock { known in
            known.values = values
            for (name, key) in known.keys { key.number.store(values[name] ?? unset, ordering: .relaxed) }
        }
    }

    static func == (a: RuntimeKey, b: RuntimeKey) -> Bool { a === b }
    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
