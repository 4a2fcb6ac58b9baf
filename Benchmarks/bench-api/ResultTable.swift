import JSON

/// Rows of figures, each the median of its rounds with the spread beside it.
struct ResultTable {
    struct Row {
        var name: String
        var unit: String
        var values: [Double]
    }

    private var rows: [Row] = []

    mutating func add(_ name: String, _ unit: String, _ value: Double) {
        if let index = rows.firstIndex(where: { $0.name == name }) {
            rows[index].values.append(value)
        } else {
            rows.append(Row(name: name, unit: unit, values: [value]))
        }
    }

    var text: String {
        var out = ""
        for row in rows {
            let sorted = row.values.sorted()
            let padded = row.name + String(repeating: " ", count: max(1, 58 - row.name.count))
            out +=
                "\(padded)\(number(median(sorted))) \(row.unit)  (\(number(sorted[0])) … \(number(sorted[sorted.count - 1])))\n"
        }
        return out
    }

    var json: String {
        JSONValue.array(
            rows.map {
                [
                    "name": .string($0.name), "unit": .string($0.unit), "median": .double(median($0.values.sorted())),
                    "rounds": .array($0.values.map(JSONValue.double)),
                ]
            }
        ).pretty()
    }

    private func median(_ sorted: [Double]) -> Double { sorted[sorted.count / 2] }

    private func number(_ value: Double) -> String {
        value >= 100 ? String(Int(value.rounded())) : String((value * 100).rounded() / 100)
    }
}

/// The value below which a share of the samples lies.
func percentile(_ samples: [Double], _ share: Double) -> Double {
    let sorted = samples.sorted()
    guard !sorted.isEmpty else { return .nan }
    return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
}

extension Duration {
    var microseconds: Double { Double(components.seconds) * 1e6 + Double(components.attoseconds) / 1e12 }
    var inSeconds: Double { microseconds / 1e6 }
}
