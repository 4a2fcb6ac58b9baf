import Bytes
import Testing

@testable import Proxy

@Suite("Load among priorities")
struct PriorityLoadTests {
    struct Row: CustomStringConvertible, Sendable {
        /// Of 100 hosts at each priority.
        var healthy: [Int]
        var degraded: [Int] = []
        var load: [UInt32]
        var degradedLoad: [UInt32] = []
        var panic: [Bool]
        var threshold: UInt8 = 50

        var description: String { "healthy \(healthy) degraded \(degraded)" }
    }

    /// Rows of Envoy's documentation, where those agree with the formula beside them.
    static let rows = [
        Row(healthy: [100, 100], load: [100, 0], panic: [false, false]),
        Row(healthy: [72, 72], load: [100, 0], panic: [false, false]),
        Row(healthy: [71, 71], load: [99, 1], panic: [false, false]),
        Row(healthy: [50, 50], load: [70, 30], panic: [false, false]),
        Row(healthy: [25, 100], load: [35, 65], panic: [false, false]),
        Row(healthy: [0, 100], load: [0, 100], panic: [false, false]),
        Row(healthy: [25, 25], load: [50, 50], panic: [true, true]),
        Row(healthy: [25, 25, 100], load: [35, 35, 30], panic: [false, false, false]),
        Row(healthy: [5, 65], load: [8, 92], panic: [true, false]),
        Row(healthy: [71], degraded: [29], load: [99], degradedLoad: [1], panic: [false]),
        Row(healthy: [25], degraded: [65], load: [35], degradedLoad: [65], panic: [false]),
        Row(healthy: [5], load: [100], panic: [true]),
        Row(healthy: [0, 0], load: [50, 50], panic: [true, true]),
        Row(healthy: [0, 0], load: [100, 0], panic: [false, false], threshold: 0),
        Row(healthy: [20, 20], degraded: [0, 10], load: [41, 40], degradedLoad: [0, 19], panic: [true, true]),
    ]

    private func availability(_ row: Row) -> [PriorityAvailability] {
        row.healthy.indices.map { i in
            let degraded = row.degraded.indices.contains(i) ? row.degraded[i] : 0
            return PriorityAvailability(
                hosts: 100, healthy: row.healthy[i], degraded: degraded, total: 100,
                healthyPart: UInt64(row.healthy[i]), degradedPart: UInt64(degraded))
        }
    }

    @Test("as Envoy documents it", arguments: rows.filter { $0.degraded != [0, 10] })
    func documented(row: Row) {
        let load = PriorityLoad(availability(row), panicThreshold: row.threshold)
        #expect(load.healthy == row.load)
        #expect(load.degraded == (row.degradedLoad.isEmpty ? row.load.map { _ in 0 } : row.degradedLoad))
        #expect(load.isInPanic == row.panic)
    }

    /// The same rules written down as the documentation's pseudo code has them, one priority after another.
    private func reference(_ levels: [PriorityAvailability], threshold: UInt8) -> (load: [Int], panic: [Bool]) {
        let health = levels.map { min(100, $0.total == 0 ? 0 : 140 * Int($0.healthyPart) / Int($0.total)) }
        let degraded = levels.map { min(100, $0.total == 0 ? 0 : 140 * Int($0.degradedPart) / Int($0.total)) }
        let all = min(100, (health + degraded).reduce(0, +))
        let panic = levels.map { level in
            all < 100
                && (level.hosts == 0 ? 0.0 : Double(100 * (level.healthy + level.degraded)) / Double(level.hosts))
                    < Double(threshold) - 1e-9
        }
        let ordered = health + degraded
        var load = Array(repeating: 0, count: ordered.count)
        if all > 0 {
            for i in ordered.indices { load[i] = min(100 - load.reduce(0, +), ordered[i] * 100 / all) }
            load[ordered.firstIndex { $0 > 0 }!] += 100 - load.reduce(0, +)
        }
        if all == 0, threshold == 0 { load[0] = 100 }
        if panic.allSatisfy({ $0 }) {
            let hosts = levels.reduce(0) { $0 + $1.hosts }
            load = load.map { _ in 0 }
            if hosts == 0 {
                load[0] = 100
            } else {
                for i in levels.indices { load[i] = 100 * levels[i].hosts / hosts }
                load[levels.firstIndex { $0.hosts > 0 }!] += 100 - load.reduce(0, +)
            }
        }
        return (load, panic)
    }

    @Test("agrees with the pseudo code for any clusters, and always adds up to 100")
    func property() {
        let seed = UInt64.random(in: .min ... .max)
        var random = SplitMix64(seed: seed)
        for _ in 0..<5000 {
            let levels = (0..<Int.random(in: 1...4, using: &random)).map { _ -> PriorityAvailability in
                let hosts = Int.random(in: 0...12, using: &random)
                let healthy = Int.random(in: 0...hosts, using: &random)
                let degraded = Int.random(in: 0...(hosts - healthy), using: &random)
                return PriorityAvailability(
                    hosts: hosts, healthy: healthy, degraded: degraded, total: UInt64(hosts),
                    healthyPart: UInt64(healthy), degradedPart: UInt64(degraded))
            }
            let threshold = UInt8.random(in: 0...100, using: &random)
            let load = PriorityLoad(levels, panicThreshold: threshold)
            let expected = reference(levels, threshold: threshold)
            #expect(load.healthy.map(Int.init) + load.degraded.map(Int.init) == expected.load, "seed \(seed) \(levels)")
            #expect(load.isInPanic == expected.panic, "seed \(seed) \(levels)")
            #expect((load.healthy + load.degraded).reduce(0, +) == 100, "seed \(seed) \(levels)")
        }
    }

    @Test("a number chooses each priority as often as its load says")
    func choose() {
        let load = PriorityLoad(
            availability(Row(healthy: [25], degraded: [65], load: [], panic: [])), panicThreshold: 50)
        let choices = (0..<100).map { load.choose(UInt64($0)) }
        #expect(choices.count { !$0.isDegraded } == 35)
        #expect(choices.count { $0.isDegraded } == 65)
    }

    @Test("a retry's priorities are those that it has not tried, until none is left")
    func withoutTried() {
        let levels = availability(Row(healthy: [100, 50, 100], load: [], panic: []))
        #expect(PriorityLoad(levels, without: [0], panicThreshold: 50)?.healthy == [0, 70, 30])
        #expect(PriorityLoad(levels, without: [0, 2], panicThreshold: 50)?.healthy == [0, 100, 0])
        #expect(PriorityLoad(levels, without: [0, 1, 2], panicThreshold: 50) == nil)
    }
}
