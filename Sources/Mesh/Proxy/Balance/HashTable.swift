import Bytes

/// A host as ring hash and Maglev place it: by key, and by its share of all weights.
struct HashTarget: Hashable, Sendable {
    var key: String
    /// 0…1; all targets of a table together 1.
    var weight: Double
}

/// Which target a hash belongs to: a ring of points or a Maglev table. Made off the loops, shared by all workers and by all
/// snapshots whose targets are the same.
final class HashTable: Sendable {
    let targets: [HashTarget]
    /// Ascending; the points of a ring, empty in a Maglev table.
    let points: Flat<UInt64>
    /// The target of each point or slot.
    let owners: Flat<UInt32>
    /// How many points or slots the target with the fewest and the most has: `ring_hash_lb.*` and `maglev_lb.*`.
    let fewest: UInt64
    let most: UInt64

    init(targets: [HashTarget], points: [UInt64], owners: [UInt32]) {
        self.targets = targets
        self.points = Flat(points)
        self.owners = Flat(owners)
        var counts = Array(repeating: UInt64(0), count: targets.count)
        for owner in owners { counts[Int(owner)] += 1 }
        fewest = counts.min() ?? 0
        most = counts.max() ?? 0
    }

    /// nil for a policy that does not hash.
    static func make(_ policy: BalancePolicy, _ targets: [HashTarget]) -> HashTable? {
        switch policy {
        case .ringHash(let ring): HashTable(ring: ring, targets)
        case .maglev(let maglev): HashTable(maglev: maglev, targets)
        default: nil
        }
    }

    var view: HashView {
        HashView(points: points.pointer, pointCount: points.count, owners: owners.pointer, size: owners.count)
    }
}

extension HashTable {
    /// The ring as Envoy builds it: `key_0`, `key_1`, … are hashed to points, as many as make the lightest target's number
    /// whole, within the sizes.
    convenience init(ring: RingHash, _ targets: [HashTarget]) {
        guard let lightest = targets.map(\.weight).min(), lightest > 0 else {
            self.init(targets: targets, points: [], owners: [])
            return
        }
        let scale = min(
            (lightest * Double(ring.minimumSize)).rounded(.up) / lightest, Double(ring.maximumSize))
        var entries: [(point: UInt64, owner: UInt32)] = []
        entries.reserveCapacity(Int(scale.rounded(.up)))
        // Running sums over all targets, so that a fraction that one does not get goes to the next.
        var wanted = 0.0
        var made = 0.0
        var name: [UInt8] = []
        for (owner, target) in targets.enumerated() {
            name.removeAll(keepingCapacity: true)
            name.append(contentsOf: target.key.utf8)
            name.append(UInt8(ascii: "_"))
            let stem = name.count
            wanted += scale * target.weight
            var number = 0
            while made < wanted {
                name.removeSubrange(stem...)
                name.append(contentsOf: String(number).utf8)
                let point = name.withUnsafeBytes { bytes in
                    switch ring.function {
                    case .xxHash: XXHash64.hash(bytes)
                    case .murmurHash2: MurmurHash64A.hash(bytes)
                    }
                }
                entries.append((point, UInt32(owner)))
                number += 1
                made += 1
            }
        }
        entries.sort { $0.point < $1.point }
        self.init(targets: targets, points: entries.map(\.point), owners: entries.map(\.owner))
    }

    /// Maglev's table (section 3.4 of the paper), as Envoy fills it: targets in the order of their keys, a lighter one
    /// skipping rounds in proportion.
    convenience init(maglev: Maglev, _ targets: [HashTarget]) {
        guard let heaviest = targets.map(\.weight).max(), heaviest > 0 else {
            self.init(targets: targets, points: [], owners: [])
            return
        }
        struct Filling {
            var owner: UInt32
            var weight: Double
            var slot: UInt64
            var skip: UInt64
            /// What the round's number times the weight must reach for the next slot.
            var threshold = 0.0
        }
        let size = maglev.tableSize
        var fillings = targets.enumerated().sorted { a, b in
            a.element.key == b.element.key
                ? a.offset < b.offset : a.element.key.utf8.lexicographicallyPrecedes(b.element.key.utf8)
        }.map { owner, target in
            Filling(
                owner: UInt32(owner), weight: target.weight, slot: XXHash64.hash(target.key) % size,
                skip: XXHash64.hash(target.key, seed: 1) % (size - 1) + 1)
        }
        let free = UInt32.max
        var owners = Array(repeating: free, count: Int(size))
        var left = size
        var round = 1.0
        while left > 0 {
            for i in fillings.indices where left > 0 {
                if round * fillings[i].weight < fillings[i].threshold { continue }
                fillings[i].threshold += heaviest
                while owners[Int(fillings[i].slot)] != free {
                    fillings[i].slot = (fillings[i].slot + fillings[i].skip) % size
                }
                owners[Int(fillings[i].slot)] = fillings[i].owner
                left -= 1
            }
            round += 1
        }
        self.init(targets: targets, points: [], owners: owners)
    }
}

/// A table's memory, for picking.
struct HashView: Sendable, BitwiseCopyable {
    // Both belong to a `HashTable` that the host set keeps.
    nonisolated(unsafe) var points: UnsafePointer<UInt64>
    var pointCount: Int
    nonisolated(unsafe) var owners: UnsafePointer<UInt32>
    var size: Int

    /// The target of a hash, as a number into the table's targets; nil for an empty table. `attempt` 1 and above ask for
    /// another one than before, which may turn out to be the same.
    @inline(__always)
    func target(_ hash: UInt64, attempt: UInt32) -> Int? {
        if size == 0 { return nil }
        if pointCount > 0 {
            var index = firstPoint(atLeast: hash)
            if attempt > 0 { index = (index + Int(attempt)) % size }
            return Int(owners[index])
        }
        // High bits, so that a retry lands far from where it was.
        let hash = attempt > 0 ? hash ^ (0 &- UInt64(attempt)) : hash
        return Int(owners[Int(truncatingIfNeeded: hash % UInt64(truncatingIfNeeded: size))])
    }

    @inline(__always)
    private func firstPoint(atLeast hash: UInt64) -> Int {
        var low = 0
        var count = pointCount
        while count > 0 {
            let half = count >> 1
            if points[low &+ half] < hash {
                low = low &+ half &+ 1
                count = count &- half &- 1
            } else {
                count = half
            }
        }
        return low == pointCount ? 0 : low
    }
}
