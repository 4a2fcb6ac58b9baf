import Synchronization

/// A number that only grows. Any thread; one relaxed atomic addition.
///
/// Where even that is too much (packets on several loops), keep a plain integer a loop and sum them at the scrape through
/// `MetricsRegistry.collect`.
public final class Counter: Sendable {
    private let count = Atomic<UInt64>(0)

    public init() {}

    @inline(__always)
    public func increment(by amount: UInt64 = 1) { count.wrappingAdd(amount, ordering: .relaxed) }

    public var value: UInt64 { count.load(ordering: .relaxed) }
}
