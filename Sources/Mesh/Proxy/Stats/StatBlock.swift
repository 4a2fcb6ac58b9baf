/// The statistics that belong to one thing: a filter, a listener. A case is one of them; each worker counts it as a plain
/// integer, in a row with the others of its block.
///
///     enum FaultStat: Int, StatBlock {
///         case aborts, delays
///         var leaf: String { ["fault.aborts_injected", "fault.delays_injected"][rawValue] }
///     }
///     let stats = context.stats(FaultStat.self, .http(prefix))    // while configuration is read
///     worker.count(stats, .aborts)                                // while it works
package protocol StatBlock: CaseIterable, RawRepresentable, Sendable where RawValue == Int {
    /// The last part of the name in Envoy.
    var leaf: String { get }
    var kind: StatSample.Kind { get }
}

extension StatBlock {
    package var kind: StatSample.Kind { .counter }
}

/// Where the integers of a block stand in each worker.
package struct StatBlockID<Block: StatBlock>: Sendable, Hashable {
    let first: Int
}

/// The names of the statistics that blocks were asked for, in the order of their places in the workers. The same block of
/// the same scope is one, whoever asks. On the main loop only.
final class StatNames {
    private struct Key: Hashable {
        var scope: StatScope
        var block: ObjectIdentifier
    }
    private var known: [Key: Int] = [:]
    private(set) var entries: [(scope: StatScope, leaf: String, kind: StatSample.Kind)] = []

    func id<Block: StatBlock>(_ block: Block.Type, _ scope: StatScope) -> StatBlockID<Block> {
        let key = Key(scope: scope, block: ObjectIdentifier(block))
        if let first = known[key] { return StatBlockID(first: first) }
        let first = entries.count
        known[key] = first
        for stat in Block.allCases {
            assert(stat.rawValue == entries.count - first, "a block's cases count from 0")
            entries.append((scope, stat.leaf, stat.kind))
        }
        return StatBlockID(first: first)
    }
}

/// The integers of all blocks on one worker, made as they are touched.
struct StatRow: ~Copyable {
    private var values: UnsafeMutablePointer<Int64>?
    private var capacity = 0

    deinit { values?.deallocate() }

    @inline(__always)
    mutating func add(_ index: Int, _ amount: Int64) {
        if index >= capacity { grow(index) }
        values.unsafelyUnwrapped[index] &+= amount
    }

    private mutating func grow(_ index: Int) {
        let size = max(64, (index + 1) * 2)
        let fresh = UnsafeMutablePointer<Int64>.allocate(capacity: size)
        fresh.initialize(repeating: 0, count: size)
        if let values {
            fresh.update(from: values, count: capacity)
            values.deallocate()
        }
        values = fresh
        capacity = size
    }

    var all: [Int64] { Array(UnsafeBufferPointer(start: values, count: values == nil ? 0 : capacity)) }
}
