/// One round of one peer.
struct Measurement: Sendable, CustomStringConvertible {
    /// User and system microseconds a request.
    var cpu: Double
    var rate: Double

    var description: String { "\(rounded(cpu)) us a request, \(Int(rate)) requests/s" }
}

/// Microseconds at the scenario's rate.
struct Latency: Sendable {
    var p50 = 0.0
    var p99 = 0.0

    init(_ values: [Double]) {
        let sorted = values.sorted()
        guard !sorted.isEmpty else { return }
        p50 = sorted[sorted.count / 2]
        p99 = sorted[min(sorted.count - 1, sorted.count * 99 / 100)]
    }
}

/// All that was measured in one scenario.
struct ScenarioResult: Sendable {
    let scenario: Scenario
    var rounds: [Contestant: [Measurement]] = [:]
    var latency: [Contestant: Latency] = [:]
    /// Kilobytes after the load.
    var resident: [Contestant: Int] = [:]

    private func cpu(_ peer: Contestant) -> Double? { rounds[peer].map { median($0.map(\.cpu)) } }

    /// A peer's CPU beside the best of the others.
    private func ratio(_ peer: Contestant) -> Double? {
        let others = rounds.keys.filter { $0 != peer }.compactMap(cpu)
        guard let own = cpu(peer), let best = others.min(), best > 0 else { return nil }
        return own / best
    }

    static func table(_ results: [ScenarioResult], _ peers: [Contestant]) -> [String] {
        guard !results.isEmpty else { return [] }
        var lines = [
            pad("", 32) + pad("", 9) + pad("CPU us/req", 12) + pad("spread", 16) + pad("x best", 8) + pad("req/s", 9)
                + pad("p50 us", 9) + pad("p99 us", 9) + pad("at req/s", 9) + "RSS MB"
        ]
        for result in results {
            for peer in peers {
                guard let rounds = result.rounds[peer], let cpu = result.cpu(peer) else { continue }
                let all = rounds.map(\.cpu)
                let latency = result.latency[peer]
                lines.append(
                    pad(result.scenario.name, 32) + pad(peer.rawValue, 9) + pad(rounded(cpu), 12)
                        + pad("\(rounded(all.min() ?? 0))-\(rounded(all.max() ?? 0))", 16)
                        + pad(result.ratio(peer).map { rounded($0) } ?? "-", 8)
                        + pad("\(Int(median(rounds.map(\.rate))))", 9) + pad(latency.map { "\(Int($0.p50))" } ?? "-", 9)
                        + pad(latency.map { "\(Int($0.p99))" } ?? "-", 9) + pad("\(result.scenario.rate)", 9)
                        + rounded(Double(result.resident[peer] ?? 0) / 1024))
            }
        }
        return lines
    }

    var json: [String] {
        rounds.sorted { $0.key.rawValue < $1.key.rawValue }.map { peer, rounds in
            """
            {"scenario": "\(scenario.name)", "proxy": "\(peer.rawValue)", "cpu_us_per_request": \(rounded(cpu(peer) ?? 0)), \
            "times_best_other": \(ratio(peer).map { rounded($0) } ?? "null"), "requests_per_second": \(Int(median(rounds.map(\.rate)))), \
            "p50_us": \(Int(latency[peer]?.p50 ?? 0)), "p99_us": \(Int(latency[peer]?.p99 ?? 0)), "latency_at_requests_per_second": \(scenario.rate), \
            "resident_kb": \(resident[peer] ?? 0)}
            """
        }
    }
}

func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
}

func rounded(_ value: Double) -> String {
    let tenths = Int(value * 100 + 0.5)
    return "\(tenths / 100).\(tenths / 10 % 10)\(tenths % 10)"
}

func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }
