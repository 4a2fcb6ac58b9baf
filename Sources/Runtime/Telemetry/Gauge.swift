import Synchronization

/// A number that goes up and down. Any thread.
public final class Gauge: Sendable {
    private let bits = Atomic<UInt64>(0)

    public init() {}

    public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

    public func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }

    public func add(_ amount: Double) { bits.add(amount) }
}

extension Atomic where Value == UInt64 {
    /// Adds to the double whose bits this is.
    func add(_ amount: Double) {
        var before = load(ordering: .relaxed)
        while true {
            let (exchanged, original) = weakCompareExchange(
                expected: before, desired: (Double(bitPattern: before) + amount).bitPattern, ordering: .relaxed)
            if exchanged { return }
            before = original
        }
    }
}
