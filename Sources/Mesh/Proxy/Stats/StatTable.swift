/// The names of a struct of counters: which field is which statistic of Envoy's.
package struct StatTable<Stats>: Sendable {
    package typealias Counter = any KeyPath<Stats, UInt64> & Sendable
    package typealias Gauge = any KeyPath<Stats, Int64> & Sendable
    package typealias Histogram = any KeyPath<Stats, LogLinearHistogram> & Sendable

    let counters: [(leaf: String, field: Counter)]
    /// With the counter that says whether it was ever touched.
    let gauges: [(leaf: String, field: Gauge, witness: Counter)]
    let histograms: [(leaf: String, field: Histogram)]
    /// From here on histograms are not told before they have a value: Envoy makes them when they are first needed.
    private let firstRare: Int

    init(
        counters: [(String, Counter)], gauges: [(String, Gauge, Counter)], histograms: [(String, Histogram)],
        rareHistograms: [(String, Histogram)] = []
    ) {
        firstRare = histograms.count
        let histograms = histograms + rareHistograms
        self.counters = counters.map { (leaf: $0.0, field: $0.1) }
        self.gauges = gauges.map { (leaf: $0.0, field: $0.1, witness: $0.2) }
        self.histograms = histograms.map { (leaf: $0.0, field: $0.1) }
    }

    /// What of a worker's struct can be told elsewhere.
    func tally(_ stats: Stats) -> StatTally {
        StatTally(
            counters: counters.map { stats[keyPath: $0.field] }, gauges: gauges.map { stats[keyPath: $0.field] },
            histograms: histograms.map { stats[keyPath: $0.field].snapshot })
    }

    func report(_ scope: StatScope, _ tally: StatTally, to report: inout StatReport) {
        for (entry, value) in zip(counters, tally.counters) { report.counter(scope, entry.leaf, value) }
        for (index, entry) in gauges.enumerated() where index < tally.gauges.count {
            let witness = counters.firstIndex { $0.field == entry.witness }.map { tally.counters[$0] } ?? 0
            report.gauge(scope, entry.leaf, tally.gauges[index], isUsed: witness > 0)
        }
        for (index, values) in tally.histograms.enumerated() where index < firstRare || !values.isEmpty {
            report.histogram(scope, histograms[index].leaf, values)
        }
    }
}

/// The values of a table at one moment, in its order.
struct StatTally: Sendable {
    var counters: [UInt64] = []
    var gauges: [Int64] = []
    var histograms: [HistogramSnapshot] = []

    mutating func add(_ other: StatTally) {
        guard !counters.isEmpty else {
            self = other
            return
        }
        for index in counters.indices { counters[index] &+= other.counters[index] }
        for index in gauges.indices { gauges[index] &+= other.gauges[index] }
        for index in histograms.indices { histograms[index] = histograms[index] + other.histograms[index] }
    }
}
