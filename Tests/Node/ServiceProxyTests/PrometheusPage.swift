/// A page in Prometheus' text format 0.0.4, checked as a scraper and promtool would.
struct PrometheusPage {
    struct Invalid: Error, CustomStringConvertible { var description: String }

    struct Sample {
        var name: String
        var labels: [String: String]
        var value: Double
    }

    /// By metric.
    private(set) var kinds: [String: String] = [:]
    private(set) var samples: [Sample] = []

    init(_ text: String) throws {
        guard text.isEmpty || text.hasSuffix("\n") else { throw Invalid(description: "no line feed at the end") }
        var seen: Set<String> = []
        for line in text.split(separator: "\n") {
            if line.hasPrefix("# TYPE ") {
                let words = line.split(separator: " ")
                guard words.count == 4, kinds[String(words[2])] == nil,
                    ["counter", "gauge", "histogram", "summary", "untyped"].contains(words[3])
                else { throw Invalid(description: "\(line)") }
                kinds[String(words[2])] = String(words[3])
            } else if !line.hasPrefix("#") {
                let sample = try Self.sample(line)
                guard seen.insert("\(sample.name) \(sample.labels.sorted { $0.key < $1.key })").inserted else {
                    throw Invalid(description: "twice: \(line)")
                }
                guard kind(of: sample.name) != nil else { throw Invalid(description: "no TYPE: \(line)") }
                samples.append(sample)
            }
        }
        try checkHistograms()
    }

    func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        samples.first { $0.name == name && $0.labels == labels }?.value
    }

    private func kind(of name: String) -> String? {
        for ending in ["_bucket", "_sum", "_count"] where name.hasSuffix(ending) {
            if let kind = kinds[String(name.dropLast(ending.count))], kind == "histogram" { return kind }
        }
        return kinds[name]
    }

    private static func sample(_ line: Substring) throws -> Sample {
        let invalid = Invalid(description: "\(line)")
        let name = line.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") }
        guard let first = name.first, !first.isNumber else { throw invalid }
        var rest = line.dropFirst(name.count)
        var labels: [String: String] = [:]
        if rest.first == "{" {
            rest = rest.dropFirst()
            while rest.first != "}" {
                let label = rest.prefix { $0 != "=" }
                rest = rest.dropFirst(label.count)
                guard rest.hasPrefix("=\"") else { throw invalid }
                rest = rest.dropFirst(2)
                var value = ""
                while let next = rest.first, next != "\"" {
                    if next == "\\" {
                        rest = rest.dropFirst()
                        guard let escaped = rest.first, "\\\"n".contains(escaped) else { throw invalid }
                    }
                    value.append(rest.removeFirst())
                }
                guard rest.first == "\"", labels.updateValue(value, forKey: String(label)) == nil else { throw invalid }
                rest = rest.dropFirst()
                if rest.first == "," { rest = rest.dropFirst() }
            }
            rest = rest.dropFirst()
        }
        guard rest.first == " ", let value = Double(rest.dropFirst().replacing("Inf", with: "inf")) else {
            throw invalid
        }
        return Sample(name: String(name), labels: labels, value: value)
    }

    /// Buckets rise, end with +Inf, and agree with the count.
    private func checkHistograms() throws {
        for (name, kind) in kinds where kind == "histogram" {
            var series: [[String: String]: [Double]] = [:]
            for sample in samples where sample.name == name + "_bucket" {
                var labels = sample.labels
                guard labels.removeValue(forKey: "le") != nil else { throw Invalid(description: "\(name) without le") }
                series[labels, default: []].append(sample.value)
            }
            for (labels, counts) in series {
                guard counts == counts.sorted(), let last = counts.last,
                    value(name + "_bucket", labels.merging(["le": "+Inf"]) { $1 }) == last,
                    value(name + "_count", labels) == last, value(name + "_sum", labels) != nil
                else { throw Invalid(description: "histogram \(name) \(labels) does not add up") }
            }
        }
    }
}
