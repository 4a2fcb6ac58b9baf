/// A distribution of whole numbers in bins of two significant digits, as Envoy's histograms have them: what is read from it is
/// at most 5 % off, and it costs 2.5 KB from the first value on, nothing before.
///
/// Its owner deallocates it.
package struct LogLinearHistogram {
    /// 0 to 99 one by one, then ninety bins for each power of ten.
    static let binCount = 100 + 6 * 90
    /// Greater values count as this.
    package static let largest: UInt64 = 99_999_999

    private var bins: UnsafeMutablePointer<UInt32>?
    private var sum: UInt64 = 0

    package init() {}

    package mutating func record(_ value: UInt64) {
        let value = min(value, Self.largest)
        let bins = bins ?? make()
        bins[Self.bin(value)] &+= 1
        sum &+= value
    }

    private mutating func make() -> UnsafeMutablePointer<UInt32> {
        let fresh = UnsafeMutablePointer<UInt32>.allocate(capacity: Self.binCount)
        fresh.initialize(repeating: 0, count: Self.binCount)
        bins = fresh
        return fresh
    }

    package mutating func deallocate() {
        bins?.deallocate()
        bins = nil
    }

    static func bin(_ value: UInt64) -> Int {
        guard value >= 100 else { return Int(value) }
        var first = 100
        var unit: UInt64 = 10
        while value >= unit * 100 {
            unit *= 10
            first += 90
        }
        return first + Int(value / unit) - 10
    }

    /// A bin's least value, and how wide it is: one value below 10 stands for a tenth, as with Envoy.
    static func range(_ bin: Int) -> (start: Double, width: Double) {
        switch bin {
        case 0: return (0, 0)
        case ..<10: return (Double(bin), 0.1)
        case ..<100: return (Double(bin), 1)
        default:
            var unit = 10.0
            for _ in 0..<(bin - 100) / 90 { unit *= 10 }
            return (Double((bin - 100) % 90 + 10) * unit, unit)
        }
    }

    package var snapshot: HistogramSnapshot {
        guard let bins else { return HistogramSnapshot() }
        let used = (0..<Self.binCount).compactMap { bins[$0] > 0 ? ($0, UInt64(bins[$0])) : nil }
        return HistogramSnapshot(bins: Dictionary(uniqueKeysWithValues: used), sum: sum)
    }
}

/// A distribution at one moment.
package struct HistogramSnapshot: Sendable {
    /// By number of the bin; those with something in them.
    private(set) var bins: [Int: UInt64]
    package private(set) var sum: UInt64
    package private(set) var count: UInt64

    init(bins: [Int: UInt64] = [:], sum: UInt64 = 0) {
        self.bins = bins
        self.sum = sum
        count = bins.values.reduce(0, +)
    }

    package var isEmpty: Bool { count == 0 }

    package static func + (a: Self, b: Self) -> Self {
        HistogramSnapshot(bins: a.bins.merging(b.bins, uniquingKeysWith: +), sum: a.sum + b.sum)
    }

    /// The bins in order.
    package var ranges: [(start: Double, width: Double, count: UInt64)] {
        bins.sorted { $0.key < $1.key }.map { bin, count in
            let range = LogLinearHistogram.range(bin)
            return (range.start, range.width, count)
        }
    }

    /// How many values are not above `bound`.
    package func count(upTo bound: Double) -> UInt64 {
        bins.reduce(0) { LogLinearHistogram.range($1.key).start <= bound ? $0 + $1.value : $0 }
    }

    /// Values at these parts of the distribution, each in 0...1 and ascending; values of a bin are taken as spread evenly.
    package func quantiles(_ parts: [Double]) -> [Double] {
        let ranges = ranges
        return parts.map { part in
            let rank = max(1, (part * Double(count)).rounded(.up))
            var below = 0.0
            for range in ranges {
                if below + Double(range.count) >= rank {
                    return range.start + range.width * (rank - below) / Double(range.count + 1)
                }
                below += Double(range.count)
            }
            return 0
        }
    }

    /// Where Envoy's Prometheus buckets end.
    package static let bounds: [Double] = [
        0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300_000, 600_000, 1_800_000,
        3_600_000,
    ]
}
