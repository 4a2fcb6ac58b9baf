/// A counter of each worker, by a small number. Filters get theirs when configuration is read.
package struct CounterID: Hashable, Sendable {
    let index: Int
}

/// The names of the counters that configuration asked for, in the order of their numbers: one name is one counter, whoever
/// asks. On the main loop only; workers know numbers.
package struct CounterNames {
    package private(set) var names: [String] = []
    private var known: [String: Int] = [:]

    mutating func counter(_ name: String) -> CounterID {
        if let index = known[name] { return CounterID(index: index) }
        known[name] = names.count
        names.append(name)
        return CounterID(index: names.count - 1)
    }
}

extension CounterNames {
    func find(_ name: String) -> CounterID? { known[name].map { CounterID(index: $0) } }
}

/// A worker's values of such counters; plain integers, summed when somebody asks. They stay while the worker lives.
struct CounterValues: ~Copyable {
    private var values = UnsafeMutableBufferPointer<UInt64>(start: nil, count: 0)

    deinit { values.deallocate() }

    @inline(__always)
    mutating func add(_ count: UInt64, to counter: CounterID) {
        if counter.index >= values.count { grow(to: counter.index + 1) }
        values[counter.index] &+= count
    }

    /// In the order of their numbers, as far as they were touched.
    var all: [UInt64] { Array(values) }

    func value(_ counter: CounterID) -> UInt64 { counter.index < values.count ? values[counter.index] : 0 }

    private mutating func grow(to count: Int) {
        let larger = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: max(count, values.count * 2, 32))
        larger.initialize(repeating: 0)
        for index in values.indices { larger[index] = values[index] }
        values.deallocate()
        values = larger
    }
}
