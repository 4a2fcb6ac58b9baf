import JSON

/// What of the statistics somebody asked for, and how it is written: the pages `/stats` and `/stats/prometheus`.
struct StatPage {
    enum Format: String { case text, json, prometheus }
    enum Buckets: String { case none, cumulative, disjoint, detailed, summary }
    enum Kinds: String {
        case all = "All"
        case counters = "Counters"
        case gauges = "Gauges"
        case histograms = "Histograms"
        case textReadouts = "TextReadouts"
    }

    var filter: Regex?
    var invertsFilter = false
    var usedOnly = false
    var kinds = Kinds.all
    var format = Format.text
    var buckets = Buckets.none

    /// In percent, as Envoy tells them.
    static let quantiles: [Double] = [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100]

    func render(_ report: StatReport) -> String {
        let samples = kinds == .histograms || kinds == .textReadouts ? [] : report.samples.filter(wants)
        let texts = kinds == .all || kinds == .textReadouts ? report.texts.filter(wants) : []
        let histograms = kinds == .all || kinds == .histograms ? report.histograms.filter(wants) : []
        switch format {
        case .prometheus:
            var text = PrometheusText(report.labels)
            for sample in samples { text.add(sample) }
            for sample in histograms { text.add(sample) }
            return text.text(buckets == .summary ? .summary : .cumulative)
        case .text:
            let lines = samples.map { ($0.name, $0.value) }.sorted { $0.0 < $1.0 }
            let more = histograms.map { ($0.name, summary($0.values)) }.sorted { $0.0 < $1.0 }
            let words = texts.map { ($0.name, $0.value) }.sorted { $0.0 < $1.0 }
            return words.map { "\($0.0): \"\($0.1)\"\n" }.joined() + lines.map { "\($0.0): \($0.1)\n" }.joined()
                + more.map { "\($0.0): \($0.1)\n" }.joined()
        case .json:
            var list = samples.map { ($0.name, $0.value) }.sorted { $0.0 < $1.0 }.map {
                JSONValue.object(["name": .string($0.0), "value": .int($0.1)])
            }
            let words = texts.map { ($0.name, $0.value) }.sorted { $0.0 < $1.0 }
            list = words.map { JSONValue.object(["name": .string($0.0), "value": .string($0.1)]) } + list
            if !histograms.isEmpty { list.append(["histograms": json(histograms)]) }
            return JSONValue.object(["stats": .array(list)]).encodedString()
        }
    }

    private func wants(_ sample: StatSample) -> Bool {
        switch (kinds, sample.kind) {
        case (.counters, .gauge), (.gauges, .counter): return false
        default: return (!usedOnly || sample.isUsed) && matches(sample.name)
        }
    }

    private func wants(_ text: StatText) -> Bool { (!usedOnly || !text.value.isEmpty) && matches(text.name) }

    private func wants(_ sample: HistogramSample) -> Bool {
        (!usedOnly || !sample.values.isEmpty) && matches(sample.name)
    }

    private func matches(_ name: String) -> Bool {
        guard let filter else { return true }
        var name = name
        return name.withUTF8 { filter.finds(UnsafeRawBufferPointer($0)) } != invertsFilter
    }

    // MARK: Histograms

    // Envoy tells those of the last interval beside those since the start; only the latter are kept here.

    private func summary(_ values: HistogramSnapshot) -> String {
        guard !values.isEmpty else { return "No recorded values" }
        switch buckets {
        case .none, .summary:
            let parts = values.quantiles(Self.quantiles.map { $0 / 100 })
            return zip(Self.quantiles, parts).map {
                "P\(PrometheusText.number($0))(nan,\(PrometheusText.number($1)))"
            }.joined(separator: " ")
        case .cumulative:
            return HistogramSnapshot.bounds.map {
                "B\(PrometheusText.number($0))(0,\(values.count(upTo: $0)))"
            }.joined(separator: " ")
        case .disjoint: return disjoint(values).map { "B\($0.bound)(0,\($0.count))" }.joined(separator: " ")
        case .detailed:
            let totals = values.ranges.map {
                "\(PrometheusText.number($0.start)),\(PrometheusText.number($0.width)):\($0.count)"
            }
            return "totals={\(totals.joined(separator: ", "))}"
        }
    }

    private func disjoint(_ values: HistogramSnapshot) -> [(bound: String, count: UInt64)] {
        var below: UInt64 = 0
        return HistogramSnapshot.bounds.map { bound in
            let count = values.count(upTo: bound)
            defer { below = count }
            return (PrometheusText.number(bound), count - below)
        }
    }

    private func json(_ histograms: [HistogramSample]) -> JSONValue {
        let sorted = histograms.map { ($0.name, $0.values) }.sorted { $0.0 < $1.0 }
        switch buckets {
        case .none, .summary:
            let computed = sorted.map { name, values -> JSONValue in
                let parts = values.quantiles(Self.quantiles.map { $0 / 100 })
                let list = parts.map { part -> JSONValue in
                    ["cumulative": values.isEmpty ? .null : .double(part), "interval": .null]
                }
                return ["name": .string(name), "values": .array(list)]
            }
            return [
                "supported_quantiles": .array(
                    Self.quantiles.map { Int64(exactly: $0).map(JSONValue.int) ?? .double($0) }),
                "computed_quantiles": .array(computed),
            ]
        case .cumulative, .disjoint, .detailed:
            return .array(
                sorted.map { name, values -> JSONValue in
                    var below: UInt64 = 0
                    let list = HistogramSnapshot.bounds.map { bound -> JSONValue in
                        let count = values.count(upTo: bound)
                        defer { below = buckets == .disjoint ? count : 0 }
                        return [
                            "upper_bound": Int64(exactly: bound).map(JSONValue.int) ?? .double(bound), "interval": 0,
                            "cumulative": .int(Int64(count - below)),
                        ]
                    }
                    return ["name": .string(name), "buckets": .array(list)]
                })
        }
    }
}
