import Bytes
import Synchronization

/// The metrics of a program, and their text for Prometheus. Any thread.
public final class MetricsRegistry: Sendable {
    /// The media type of `render()`.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// A value that is read when scraped, with its labels' values.
    public struct Sample: Sendable {
        public var labels: [String]
        public var value: Double

        public init(_ labels: [String] = [], _ value: Double) { (self.labels, self.value) = (labels, value) }
    }

    private struct Entry {
        var kind: String
        var help: String
        var write: @Sendable (inout [UInt8]) -> Void
    }

    private let entries = Mutex<[String: Entry]>([:])

    public init() {}

    public func counter(_ name: String, _ help: String) -> Counter { counter(name, help, labels: [])[[]] }

    public func counter(_ name: String, _ help: String, labels: [String]) -> MetricFamily<Counter> {
        family(name, "counter", help, labels, { Counter() }) { family, metric, values, out in
            Self.sample(family.name, family.labels, values, Double(metric.value), &out)
        }
    }

    public func gauge(_ name: String, _ help: String) -> Gauge { gauge(name, help, labels: [])[[]] }

    public func gauge(_ name: String, _ help: String, labels: [String]) -> MetricFamily<Gauge> {
        family(name, "gauge", help, labels, { Gauge() }) { family, metric, values, out in
            Self.sample(family.name, family.labels, values, metric.value, &out)
        }
    }

    public func histogram(_ name: String, _ help: String, bounds: [Double] = Histogram.requestSeconds) -> Histogram {
        histogram(name, help, labels: [], bounds: bounds)[[]]
    }

    public func histogram(
        _ name: String, _ help: String, labels: [String], bounds: [Double] = Histogram.requestSeconds
    ) -> MetricFamily<Histogram> {
        family(name, "histogram", help, labels, { Histogram(bounds: bounds) }) { family, metric, values, out in
            let (counts, sum) = metric.snapshot
            var total: UInt64 = 0
            for (index, count) in counts.enumerated() {
                total += count
                let bound = index < metric.bounds.count ? Self.text(metric.bounds[index]) : "+Inf"
                Self.sample("\(family.name)_bucket", family.labels + ["le"], values + [bound], Double(total), &out)
            }
            Self.sample("\(family.name)_sum", family.labels, values, sum, &out)
            Self.sample("\(family.name)_count", family.labels, values, Double(total), &out)
        }
    }

    /// Values that are read at the scrape: sums of per-loop integers, sizes of queues. `kind` is `counter` or `gauge`.
    public func collect(
        _ name: String, _ help: String, kind: String = "gauge", labels: [String] = [],
        _ read: @escaping @Sendable () -> [Sample]
    ) {
        add(name, kind, help) { out in
            for one in read() { Self.sample(name, labels, one.labels, one.value, &out) }
        }
    }

    /// All metrics by name in Prometheus' text format.
    public func render() -> [UInt8] {
        var out: [UInt8] = []
        for (name, entry) in entries.withLock({ $0 }).sorted(by: { $0.key < $1.key }) {
            out.append(utf8: "# HELP \(name) ")
            Self.escape(entry.help, quotes: false, &out)
            out.append(utf8: "\n# TYPE \(name) \(entry.kind)\n")
            entry.write(&out)
        }
        return out
    }

    private func add(
        _ name: String, _ kind: String, _ help: String, _ write: @escaping @Sendable (inout [UInt8]) -> Void
    ) {
        precondition(Self.isName(name), "\(name) is no name of a metric")
        entries.withLock { $0[name] = Entry(kind: kind, help: help, write: write) }
    }

    private func family<Metric: Sendable>(
        _ name: String, _ kind: String, _ help: String, _ labels: [String], _ make: @escaping @Sendable () -> Metric,
        _ write: @escaping @Sendable (MetricFamily<Metric>, Metric, [String], inout [UInt8]) -> Void
    ) -> MetricFamily<Metric> {
        let family = MetricFamily(name, labels, make)
        add(name, kind, help) { out in
            for (values, metric) in family.all { write(family, metric, values, &out) }
        }
        return family
    }

    private static func isName(_ name: String) -> Bool {
        !name.isEmpty && !("0"..."9").contains(name.prefix(1))
            && name.utf8.allSatisfy {
                (48...58).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 95
            }
    }

    private static func sample(
        _ name: String, _ labels: [String], _ values: [String], _ value: Double, _ out: inout [UInt8]
    ) {
        out.append(utf8: name)
        if !labels.isEmpty {
            out.append(UInt8(ascii: "{"))
            for (index, (label, value)) in zip(labels, values).enumerated() {
                out.append(utf8: index == 0 ? "\(label)=\"" : ",\(label)=\"")
                escape(value, quotes: true, &out)
                out.append(UInt8(ascii: "\""))
            }
            out.append(UInt8(ascii: "}"))
        }
        out.append(UInt8(ascii: " "))
        out.append(utf8: text(value))
        out.append(UInt8(ascii: "\n"))
    }

    private static func escape(_ text: String, quotes: Bool, _ out: inout [UInt8]) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): out.append(utf8: "\\\\")
            case 10: out.append(utf8: "\\n")
            case UInt8(ascii: "\"") where quotes: out.append(utf8: "\\\"")
            default: out.append(byte)
            }
        }
    }

    private static func text(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return value == value.rounded() && value.magnitude < 1e15 ? String(Int64(value)) : "\(value)"
    }
}
