import Testing

@testable import Proxy

@Suite("Histograms")
struct HistogramTests {
    private func histogram(_ values: [UInt64]) -> HistogramSnapshot {
        var histogram = LogLinearHistogram()
        defer { histogram.deallocate() }
        for value in values { histogram.record(value) }
        return histogram.snapshot
    }

    @Test(
        "a value is in the bin of its first two digits",
        arguments: [
            (0, 0.0, 0.0), (4, 4, 0.1), (99, 99, 1), (100, 100, 10), (109, 100, 10), (110, 110, 10), (999, 990, 10),
            (1000, 1000, 100), (123_456, 120_000, 10_000), (99_999_999, 99_000_000, 1_000_000),
        ] as [(UInt64, Double, Double)])
    func bins(_ value: UInt64, _ start: Double, _ width: Double) {
        let range = LogLinearHistogram.range(LogLinearHistogram.bin(value))
        #expect(range.start == start)
        #expect(range.width == width)
    }

    @Test("bins are in the order of their values, without gaps")
    func order() {
        var last = -1
        for value: UInt64 in 0...200_000 {
            let bin = LogLinearHistogram.bin(value)
            #expect(bin == last || bin == last + 1, "at \(value)")
            last = bin
        }
    }

    @Test("one value is told as Envoy tells it: in the middle of its bin")
    func oneValue() {
        #expect(histogram([4]).quantiles([0, 0.5, 1]) == [4.05, 4.05, 4.05])
    }

    @Test("a value that is a bucket's bound is within the bucket")
    func bound() {
        let values = histogram([1, 5, 6, 250, 251])
        #expect(values.count(upTo: 0.5) == 0)
        #expect(values.count(upTo: 5) == 2)
        #expect(values.count(upTo: 10) == 3)
        #expect(values.sum == 513)
        #expect(values.count == 5)
    }

    @Test("a value beyond the last bin counts in it")
    func largest() {
        #expect(histogram([.max]).count(upTo: 99_000_000) == 1)
    }

    @Test("workers' histograms add up")
    func sum() {
        let sum = histogram([1, 2]) + histogram([2, 3])
        #expect(sum.count == 4)
        #expect(sum.count(upTo: 2) == 3)
        #expect(sum.sum == 8)
    }
}
