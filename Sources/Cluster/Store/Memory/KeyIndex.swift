/// All keys in order: short sorted leaves under one sorted table, so that an insertion moves a few hundred pointers at most
/// and a walk touches memory in sequence.
///
/// With a million keys the table has some four thousand leaves; deeper trees gain nothing at the sizes one machine holds.
struct KeyIndex {
    private final class Leaf {
        var keys: [VersionedKey]
        init(_ keys: [VersionedKey]) { self.keys = keys }
    }

    /// A leaf that reaches this splits in two.
    private static let leafLimit = 512

    private var leaves: [Leaf] = []
    private(set) var count = 0

    /// Where a key is, or would be inserted.
    private struct Position {
        var leaf: Int
        var slot: Int
    }

    /// The first position whose key is not less than `key`.
    private func lowerBound(_ key: String) -> Position {
        // The last leaf whose first key is not greater than `key` is the only one that can hold it.
        var low = 0
        var high = leaves.count
        while low < high {
            let middle = (low + high) / 2
            if key < leaves[middle].keys[0].key { high = middle } else { low = middle + 1 }
        }
        guard low > 0 else { return Position(leaf: 0, slot: 0) }
        let leaf = leaves[low - 1].keys
        var from = 0
        var to = leaf.count
        while from < to {
            let middle = (from + to) / 2
            if leaf[middle].key < key { from = middle + 1 } else { to = middle }
        }
        return Position(leaf: low - 1, slot: from)
    }

    subscript(key: String) -> VersionedKey? {
        let position = lowerBound(key)
        guard position.leaf < leaves.count, position.slot < leaves[position.leaf].keys.count else { return nil }
        let found = leaves[position.leaf].keys[position.slot]
        return found.key == key ? found : nil
    }

    /// - Precondition: the key is not in the index.
    mutating func insert(_ key: VersionedKey) {
        count += 1
        guard !leaves.isEmpty else {
            leaves.append(Leaf([key]))
            return
        }
        let position = lowerBound(key.key)
        let leaf = leaves[position.leaf]
        leaf.keys.insert(key, at: position.slot)
        if leaf.keys.count >= Self.leafLimit {
            let half = leaf.keys.count / 2
            leaves.insert(Leaf(Array(leaf.keys[half...])), at: position.leaf + 1)
            leaf.keys.removeSubrange(half...)
        }
    }

    mutating func remove(_ key: String) {
        let position = lowerBound(key)
        guard position.leaf < leaves.count, position.slot < leaves[position.leaf].keys.count,
            leaves[position.leaf].keys[position.slot].key == key
        else { return }
        leaves[position.leaf].keys.remove(at: position.slot)
        if leaves[position.leaf].keys.isEmpty { leaves.remove(at: position.leaf) }
        count -= 1
    }

    /// Visits keys that start with `prefix` and are greater than `start`, in order, until `visit` answers false.
    func walk(prefix: String, after start: String?, _ visit: (VersionedKey) -> Bool) {
        let from = start.map { max($0, prefix) } ?? prefix
        var position = lowerBound(from)
        while position.leaf < leaves.count {
            let keys = leaves[position.leaf].keys
            while position.slot < keys.count {
                let key = keys[position.slot]
                position.slot += 1
                if let start, key.key <= start { continue }
                guard key.key.utf8.starts(with: prefix.utf8) else { return }
                guard visit(key) else { return }
            }
            position = Position(leaf: position.leaf + 1, slot: 0)
        }
    }
}
