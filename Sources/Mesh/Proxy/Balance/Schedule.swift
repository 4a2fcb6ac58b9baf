import Bytes

/// Weighted rotation: of members with weights, the one whose turn is due first (earliest deadline first).
///
/// A member's next turn is 1/weight after its last, so that each gets its share and gets it evenly. A pick looks at the top
/// of a heap and moves it down: O(log n), no allocation. Weights may be different at every turn.
struct Schedule {
    struct Entry: BitwiseCopyable {
        var deadline: Double
        /// Between equal deadlines, who was here first.
        var order: UInt32
        var member: UInt32
    }

    private var heap: [Entry] = []
    private var order: UInt32 = 0

    /// Above this, time starts anew before fractions are lost to it.
    private static let longestTime = 4e9

    /// Everybody's first turn falls anywhere in their first interval, so that many workers do not begin with the same host.
    /// Members with weight 0 have no turn. `deadline` tells when a member was due in an earlier schedule, counted from its
    /// time; whoever has none joins.
    init(
        _ count: Int, weight: (Int) -> Double, deadline: (Int) -> Double? = { _ in nil },
        random: inout some RandomSource
    ) {
        heap.reserveCapacity(count)
        for member in 0..<count {
            let weight = weight(member)
            guard weight > 0 else { continue }
            let interval = 1 / weight
            let first =
                deadline(member).map { min($0, interval) } ?? interval * Double.random(in: 0..<1, using: &random)
            heap.append(Entry(deadline: first, order: order, member: UInt32(member)))
            order &+= 1
        }
        for i in stride(from: heap.count / 2 - 1, through: 0, by: -1) { sink(from: i) }
    }

    var isEmpty: Bool { heap.isEmpty }

    /// Whose turn it is.
    var next: Int { Int(heap[0].member) }

    /// How long from the last turn to each member's next.
    var deadlines: some Sequence<(member: Int, deadline: Double)> {
        let now = heap.isEmpty ? 0 : time
        return heap.lazy.map { (Int($0.member), max(0, $0.deadline - now)) }
    }

    /// When the last turn was due.
    private(set) var time = 0.0

    /// Takes the turn of `next`, whose weight now is `weight`.
    mutating func advance(weight: Double) {
        if heap[0].deadline > Self.longestTime { restart() }
        time = heap[0].deadline
        heap[0].deadline = time + 1 / weight
        heap[0].order = order
        order &+= 1
        sink(from: 0)
    }

    private mutating func restart() {
        let now = heap[0].deadline
        for i in heap.indices { heap[i].deadline -= now }
    }

    private mutating func sink(from start: Int) {
        heap.withUnsafeMutableBufferPointer { heap in
            var i = start
            let moving = heap[i]
            while true {
                var child = 2 * i + 1
                if child >= heap.count { break }
                if child + 1 < heap.count, Self.isBefore(heap[child + 1], heap[child]) { child += 1 }
                if !Self.isBefore(heap[child], moving) { break }
                heap[i] = heap[child]
                i = child
            }
            heap[i] = moving
        }
    }

    @inline(__always)
    private static func isBefore(_ a: Entry, _ b: Entry) -> Bool {
        // Orders wrap around; those compared are never half the numbers apart.
        a.deadline < b.deadline || a.deadline == b.deadline && Int32(bitPattern: a.order &- b.order) < 0
    }
}
