import DNSMessage

/// Names to nodes: an immutable table whose copies share all but what changed.
///
/// Names are spread over shards by their hash; a change copies one shard and the list of shards, so its cost does not grow
/// with the zone while shards stay small. Look-ups compare bytes in place and allocate nothing.
struct NameTable: Sendable {
    private struct Entry: Sendable {
        var hash: UInt64
        var name: [UInt8]
        var node: ZoneNode
    }

    private final class Shard: Sendable {
        /// Sorted by hash.
        let entries: [Entry]
        init(_ entries: [Entry]) { self.entries = entries }
    }

    static let shardCount = 512
    private static let emptyShard = Shard([])
    private var shards = [Shard](repeating: emptyShard, count: shardCount)
    private(set) var count = 0

    init() {}

    /// - Parameter name: a name's wire form; A–Z match a–z.
    func find(_ name: UnsafeRawBufferPointer) -> ZoneNode? {
        let hash = Self.hash(name)
        let entries = shards[Int(hash % UInt64(Self.shardCount))].entries
        var low = Self.lowerBound(entries, hash)
        while low < entries.count, entries[low].hash == hash {
            if Self.isEqual(entries[low].name, name) { return entries[low].node }
            low += 1
        }
        return nil
    }

    func find(_ name: DNSName) -> ZoneNode? { name.wire.withUnsafeBytes { find($0) } }

    /// Puts, replaces or (with nil) removes names.
    mutating func update(_ changes: [(name: DNSName, node: ZoneNode?)]) {
        var touched: [Int: [Entry]] = [:]
        for (name, node) in changes {
            let hash = name.wire.withUnsafeBytes { Self.hash($0) }
            let index = Int(hash % UInt64(Self.shardCount))
            var entries = touched.removeValue(forKey: index) ?? shards[index].entries
            var at = Self.lowerBound(entries, hash)
            while at < entries.count, entries[at].hash == hash, entries[at].name != name.wire { at += 1 }
            let exists = at < entries.count && entries[at].hash == hash
            switch (exists, node) {
            case (true, let node?): entries[at].node = node
            case (true, nil):
                entries.remove(at: at)
                count -= 1
            case (false, let node?):
                entries.insert(Entry(hash: hash, name: name.wire, node: node), at: at)
                count += 1
            case (false, nil): break
            }
            touched[index] = entries
        }
        for (index, entries) in touched { shards[index] = Shard(entries) }
    }

    private static func lowerBound(_ entries: [Entry], _ hash: UInt64) -> Int {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].hash < hash { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// FNV-1a of the lower-case bytes.
    private static func hash(_ name: UnsafeRawBufferPointer) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name { hash = (hash ^ UInt64(lowercased(byte))) &* 0x100_0000_01B3 }
        // The low bits choose the shard: fold the high ones in.
        return hash ^ hash >> 29
    }

    private static func isEqual(_ stored: [UInt8], _ asked: UnsafeRawBufferPointer) -> Bool {
        guard stored.count == asked.count else { return false }
        for i in 0..<stored.count where stored[i] != lowercased(asked[i]) { return false }
        return true
    }
}
