import Store

/// What the store should be, written so that it is plainly right: every write ever, and scans over all of them.
struct StoreModel {
    struct Write {
        var key: String
        var value: [UInt8]?
        var revision: Int64
        var created: Int64
        var version: Int64
    }

    var writes: [Write] = []
    var compacted: Int64 = 0
    var revision: Int64 { 1 + Int64(writes.count) }

    func at(_ revision: Int64) -> [String: Write] {
        var state: [String: Write] = [:]
        for write in writes where write.revision <= revision { state[write.key] = write.value == nil ? nil : write }
        return state
    }

    func stored(_ write: Write) -> StoredValue {
        StoredValue(
            key: write.key, value: write.value ?? [], created: Revision(rawValue: write.created),
            modified: Revision(rawValue: write.revision), version: write.version)
    }

    mutating func put(_ key: String, _ value: [UInt8]) -> StoredValue {
        let before = at(revision)[key]
        let write = Write(
            key: key, value: value, revision: revision + 1, created: before?.created ?? revision + 1,
            version: (before?.version ?? 0) + 1)
        writes.append(write)
        return stored(write)
    }

    mutating func remove(_ key: String) {
        writes.append(Write(key: key, value: nil, revision: revision + 1, created: 0, version: 0))
    }

    func range(_ prefix: String, after: String?, limit: Int?, at revision: Int64) -> (values: [StoredValue], rest: Int)
    {
        let all = at(revision).values.filter { $0.key.hasPrefix(prefix) && $0.key > (after ?? "") }
            .sorted { $0.key < $1.key }
        return (all.prefix(limit ?? .max).map(stored), max(0, all.count - (limit ?? .max)))
    }

    func events(_ prefix: String, after: Int64) -> [StoreEvent] {
        writes.filter { $0.revision > after && $0.key.hasPrefix(prefix) }.map { write in
            let before = at(write.revision - 1)[write.key].map(stored)
            return write.value == nil
                ? .delete(key: write.key, revision: Revision(rawValue: write.revision), previous: before!)
                : .put(stored(write), previous: before)
        }
    }
}

/// A generator whose draws a printed seed repeats.
struct Seeded: RandomNumberGenerator {
    var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
