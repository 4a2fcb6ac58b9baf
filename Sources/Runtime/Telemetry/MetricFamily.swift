import Synchronization

/// Metrics of one name that differ in their labels' values. Any thread. Keep the metric that it gives, rather than look it up
/// for every event.
public final class MetricFamily<Metric: Sendable>: Sendable {
    /// Series of one family; what would be the next is counted in one whose labels all say `overflow`.
    public static var maximumSeries: Int { 2000 }

    public let name: String
    public let labels: [String]
    private let make: @Sendable () -> Metric
    private let series = Mutex<[[String]: Metric]>([:])

    init(_ name: String, _ labels: [String], _ make: @escaping @Sendable () -> Metric) {
        self.name = name
        self.labels = labels
        self.make = make
    }

    /// The metric with these values, one for each label, in their order.
    public subscript(_ values: String...) -> Metric { self[values] }

    public subscript(_ values: [String]) -> Metric {
        precondition(values.count == labels.count, "\(name) has labels \(labels)")
        return series.withLock { series in
            if let metric = series[values] { return metric }
            let values = series.count < Self.maximumSeries ? values : labels.map { _ in "overflow" }
            if let metric = series[values] { return metric }
            let metric = make()
            series[values] = metric
            return metric
        }
    }

    /// Forgets a series whose subject is gone.
    public func remove(_ values: String...) { _ = series.withLock { $0.removeValue(forKey: values) } }

    /// All series, in the order of their label values.
    var all: [(values: [String], metric: Metric)] {
        series.withLock { series in series.map { ($0.key, $0.value) } }
            .sorted { $0.0.lexicographicallyPrecedes($1.0) }
    }
}
