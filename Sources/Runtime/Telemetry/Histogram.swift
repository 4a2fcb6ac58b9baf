import Synchronization

/// How observations are spread over fixed buckets. Any thread; two relaxed atomic additions an observation.
public final class Histogram: Sendable {
    /// Seconds of requests, as Kubernetes' and CoreDNS' dashboards expect them.
    public static let requestSeconds: [Double] = [
        0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
        8.192,
    ]
    /// Sizes of messages in bytes.
    public static let sizes: [Double] = [
        0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000,
    ]

    /// Upper bounds (inclusive), rising; the last bucket, without a bound, is not among them.
    public let bounds: [Double]
    private let buckets: AtomicArray
    private let sumBits = Atomic<UInt64>(0)

    public init(bounds: [Double] = Histogram.requestSeconds) {
        precondition(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "a histogram's bounds must rise")
        self.bounds = bounds
        buckets = AtomicArray(bounds.count + 1)
    }

    public func observe(_ value: Double) {
        var low = 0
        var high = bounds.count
        while low < high {
            let middle = (low + high) / 2
            if value <= bounds[middle] { high = middle } else { low = middle + 1 }
        }
        buckets.increment(low)
        sumBits.add(value)
    }

    public func observe(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        observe(Double(seconds) + Double(attoseconds) * 1e-18)
    }

    /// Counts by bucket (not cumulative; the last is beyond all bounds) and the sum of all observations.
    public var snapshot: (counts: [UInt64], sum: Double) {
        (buckets.values, Double(bitPattern: sumBits.load(ordering: .relaxed)))
    }

    public var count: UInt64 { buckets.values.reduce(0, +) }
}

/// Atomics in one block, because arrays cannot hold them.
///
/// `@unchecked Sendable`: the block is constant, its elements are atomics.
private final class AtomicArray: @unchecked Sendable {
    private let base: UnsafeMutablePointer<Atomic<UInt64>>
    private let count: Int

    init(_ count: Int) {
        self.count = count
        base = .allocate(capacity: count)
        for index in 0..<count { (base + index).initialize(to: Atomic(0)) }
    }

    deinit {
        base.deinitialize(count: count)
        base.deallocate()
    }

    func increment(_ index: Int) {
        precondition(index < count)
        base[index].wrappingAdd(1, ordering: .relaxed)
    }

    var values: [UInt64] { (0..<count).map { base[$0].load(ordering: .relaxed) } }
}
