/// Statistics in Prometheus' text format (version 0.0.4), named and labelled as by Envoy's default tags.
struct PrometheusText {
    private var counters: [String: [(labels: String, value: Int64)]] = [:]
    private var gauges: [String: [(labels: String, value: Int64)]] = [:]
    private var histograms: [String: [(labels: String, values: HistogramSnapshot)]] = [:]

    /// Of every series, behind its own.
    private let common: String

    init(_ common: [(name: String, value: String)] = []) {
        self.common = common.map {
            "\(String($0.name.map { $0.isLetter && $0.isASCII || $0.isNumber ? $0 : "_" }))=\"\(Self.escaped($0.value))\""
        }.joined(separator: ",")
    }

    private func series(_ scope: StatScope, _ leaf: String) -> (name: String, labels: String) {
        var series = Self.series(scope, leaf)
        if !common.isEmpty { series.labels += series.labels.isEmpty ? common : "," + common }
        return series
    }

    enum Buckets { case cumulative, summary }

    mutating func add(_ sample: StatSample) {
        let (name, labels) = series(sample.scope, sample.leaf)
        switch sample.kind {
        case .counter: counters[name, default: []].append((labels, sample.value))
        case .gauge: gauges[name, default: []].append((labels, sample.value))
        }
    }

    mutating func add(_ sample: HistogramSample) {
        let (name, labels) = series(sample.scope, sample.leaf)
        histograms[name, default: []].append((labels, sample.values))
    }

    func text(_ buckets: Buckets = .cumulative) -> String {
        var out = ""
        for (kind, family) in [("counter", counters), ("gauge", gauges)] {
            for (name, series) in family.sorted(by: { $0.key < $1.key }) {
                out += "# TYPE \(name) \(kind)\n"
                for (labels, value) in series.sorted(by: { $0.labels < $1.labels }) {
                    out += "\(name){\(labels)} \(value)\n"
                }
            }
        }
        for (name, series) in histograms.sorted(by: { $0.key < $1.key }) {
            out += "# TYPE \(name) \(buckets == .summary ? "summary" : "histogram")\n"
            for (labels, values) in series.sorted(by: { $0.labels < $1.labels }) {
                out += buckets == .summary ? Self.summary(name, labels, values) : Self.buckets(name, labels, values)
            }
        }
        return out
    }

    private static func buckets(_ name: String, _ labels: String, _ values: HistogramSnapshot) -> String {
        let prefix = labels.isEmpty ? "" : labels + ","
        var out = ""
        for bound in HistogramSnapshot.bounds {
            out += "\(name)_bucket{\(prefix)le=\"\(number(bound))\"} \(values.count(upTo: bound))\n"
        }
        out += "\(name)_bucket{\(prefix)le=\"+Inf\"} \(values.count)\n"
        return out + "\(name)_sum{\(labels)} \(values.sum)\n\(name)_count{\(labels)} \(values.count)\n"
    }

    private static func summary(_ name: String, _ labels: String, _ values: HistogramSnapshot) -> String {
        let prefix = labels.isEmpty ? "" : labels + ","
        let parts = StatPage.quantiles.map { $0 / 100 }
        var out = ""
        for (part, value) in zip(parts, values.quantiles(parts)) {
            out += "\(name){\(prefix)quantile=\"\(number(part))\"} \(number(value))\n"
        }
        return out + "\(name)_sum{\(labels)} \(values.sum)\n\(name)_count{\(labels)} \(values.count)\n"
    }

    static func number(_ value: Double) -> String {
        Int64(exactly: value).map { "\($0)" } ?? "\((value * 100_000).rounded() / 100_000)"
    }

    /// The metric and its labels: a response code is a label, too.
    static func series(_ scope: StatScope, _ leaf: String) -> (name: String, labels: String) {
        var labels = scope.labels
        var leaf = leaf
        if let range = leaf.range(ofLast: "_rq_") {
            let code = leaf[range...]
            if code.utf8.count == 3, let digit = code.first, digit.isNumber {
                if code.hasSuffix("xx") {
                    labels.insert(("envoy_response_code_class", String(digit)), at: 0)
                    leaf = leaf[..<range] + "xx"
                } else if code.allSatisfy(\.isNumber) {
                    labels.insert(("envoy_response_code", String(code)), at: 0)
                    leaf = String(leaf[..<range].dropLast())
                }
            }
        }
        let name = (scope.metricPrefix + leaf).map { $0.isLetter && $0.isASCII || $0.isNumber ? $0 : "_" }
        let text = labels.map { "\($0.name)=\"\(escaped($0.value))\"" }.joined(separator: ",")
        return ("envoy_" + String(name), text)
    }

    static func escaped(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 == 0x5C || $0 == 0x22 || $0 == 0x0A }) else { return text }
        var out = ""
        for character in text {
            switch character {
            case "\\": out += "\\\\"
            case "\"": out += "\\\""
            case "\n": out += "\\n"
            default: out.append(character)
            }
        }
        return out
    }
}

extension String {
    /// Where what follows the last `part` begins.
    fileprivate func range(ofLast part: String) -> Index? {
        var rest = self[...]
        while !rest.isEmpty {
            if rest.hasSuffix(part) { return rest.endIndex }
            rest = rest.dropLast()
        }
        return nil
    }
}
