import Bytes
import Reactor
import Testing

@testable import Proxy

@Suite("Outlier detection")
struct OutlierTests {
    /// A detector with its hosts' tallies, clock and generator.
    private struct Lab {
        var detector: OutlierDetector
        var tallies: [OutlierTally] = []
        var ids: [HostID] = []
        var now = MonotonicTime(nanoseconds: 1_000_000_000)
        var random = SplitMix64(seed: 1)

        init(_ hosts: Int, _ config: OutlierConfig) {
            detector = OutlierDetector(config)
            for slot in 0..<hosts {
                ids.append(HostID(slot: UInt32(slot), generation: 1))
                tallies.append(detector.join(ids[slot]))
            }
        }

        /// A host's outcomes, and what the detector makes of them.
        mutating func report(_ host: Int, _ outcomes: OutlierTally.Outcome...) -> [OutlierDetector.Change] {
            var changes: [OutlierDetector.Change] = []
            for outcome in outcomes {
                let runs = tallies[host].record(outcome, detector.config)
                if !runs.isEmpty {
                    changes += detector.runsCompleted(ids[host], runs, now: now, random: &random)
                }
            }
            return changes
        }

        mutating func serve(_ host: Int, _ requests: Int, failing: Int) {
            for i in 0..<requests { _ = tallies[host].record(.status(i < failing ? 500 : 200), detector.config) }
        }

        mutating func tick(after seconds: Int = 10) -> [OutlierDetector.Change] {
            now = now.adding(.seconds(seconds))
            return detector.tick(now: now, random: &random)
        }

        func stat(_ name: String) -> UInt64? { detector.counters.byName.first { $0.name == name }?.value }
    }

    /// Ejects whatever it detects.
    private static func config(_ change: (inout OutlierConfig) -> Void = { _ in }) -> OutlierConfig {
        var config = OutlierConfig()
        config.maxEjectionPercent = 100
        config.enforcingConsecutiveGatewayFailure = 100
        config.enforcingFailurePercentage = 100
        config.enforcingFailurePercentageLocalOrigin = 100
        config.consecutive5xx = 3
        config.consecutiveGatewayFailure = 3
        config.consecutiveLocalOriginFailure = 3
        change(&config)
        return config
    }

    @Test("failures in a row eject; anything else between begins the run anew")
    func consecutive() {
        var lab = Lab(2, Self.config())
        #expect(lab.report(0, .status(500), .status(500), .status(404), .status(500), .status(500)) == [])
        #expect(lab.report(0, .status(599)) == [.ejected(lab.ids[0], .consecutive5xx)])
        #expect(lab.detector.isEjected(lab.ids[0]))
        // Of a host that is out nothing more is heard.
        #expect(lab.report(0, .status(500), .status(500), .status(500)) == [])
        #expect(lab.stat("ejections_enforced_consecutive_5xx") == 1 && lab.stat("ejections_active") == 1)
        #expect(lab.stat("ejections_detected_consecutive_5xx") == 1)
    }

    @Test("gateway failures are 502, 503 and 504, and are acted on first")
    func gateway() {
        var lab = Lab(2, Self.config())
        #expect(lab.report(0, .status(502), .status(500), .status(502)) == [.ejected(lab.ids[0], .consecutive5xx)])
        let reason = lab.report(1, .status(502), .status(503), .status(504))
        #expect(reason == [.ejected(lab.ids[1], .consecutiveGatewayFailure)])
        // What is not enforced is detected all the same, and the next reason has its turn.
        var usual = Lab(2, Self.config { $0.enforcingConsecutiveGatewayFailure = 0 })
        let other = usual.report(0, .status(503), .status(503), .status(503))
        #expect(other == [.ejected(usual.ids[0], .consecutive5xx)])
        #expect(usual.stat("ejections_detected_consecutive_gateway_failure") == 1)
        #expect(usual.stat("ejections_enforced_consecutive_gateway_failure") == 0)
        #expect(usual.detector.events.map(\.isEnforced) == [false, true])
        #expect(usual.stat("ejections_total") == 1 && usual.stat("ejections_consecutive_5xx") == 1)
    }

    @Test("failures to connect count as gateway failures, or apart when they shall")
    func localOrigin() {
        var together = Lab(1, Self.config())
        #expect(
            together.report(0, .connectFailed, .connected, .timedOut, .connectFailed)
                == [.ejected(together.ids[0], .consecutiveGatewayFailure)])
        var apart = Lab(1, Self.config { $0.splitsLocalOriginErrors = true })
        #expect(apart.report(0, .connectFailed, .timedOut, .connected, .connectFailed, .connectFailed) == [])
        #expect(apart.report(0, .status(500), .status(500)) == [])
        #expect(
            apart.report(0, .connectFailed) == [.ejected(apart.ids[0], .consecutiveLocalOriginFailure)])
        var tcp = Lab(1, Self.config { $0.splitsLocalOriginErrors = true })
        #expect(tcp.report(0, .failed, .failed, .failed).count == 1)
    }

    @Test("a host is out for longer each time, comes back at a tick, and its time shortens while it is good")
    func ejectionTime() {
        var lab = Lab(1, Self.config { $0.maxEjectionTime = .seconds(75) })
        func eject(_ lab: inout Lab) { #expect(lab.report(0, .status(500), .status(500), .status(500)).count == 1) }
        func secondsOut(_ lab: inout Lab) -> Int {
            var seconds = 0
            while lab.detector.isEjected(lab.ids[0]) {
                _ = lab.tick(after: 1)
                seconds += 1
            }
            return seconds
        }
        for expected in [30, 60, 75, 75] {
            eject(&lab)
            #expect(secondsOut(&lab) == expected)
        }
        // Each quiet interval takes one off the multiplier, which never grew beyond four.
        for _ in 0..<3 { _ = lab.tick() }
        eject(&lab)
        #expect(secondsOut(&lab) == 30 || lab.detector.isEjected(lab.ids[0]) == false)
        for _ in 0..<10 { _ = lab.tick() }
        eject(&lab)
        #expect(secondsOut(&lab) == 30)
        #expect(lab.stat("ejections_active") == 0)
    }

    @Test("jitter lengthens an ejection, up to its bound")
    func jitter() {
        var times: Set<Int> = []
        for seed in 0..<20 {
            var lab = Lab(1, Self.config { $0.maxEjectionTimeJitter = .seconds(5) })
            lab.random = SplitMix64(seed: UInt64(seed))
            _ = lab.report(0, .status(500), .status(500), .status(500))
            var seconds = 0
            while lab.detector.isEjected(lab.ids[0]) {
                _ = lab.tick(after: 1)
                seconds += 1
            }
            times.insert(seconds)
        }
        #expect(times.count > 2 && times.allSatisfy { (30...35).contains($0) })
    }

    @Test(
        "no more hosts are ejected than are allowed",
        arguments: [(10, false, 1), (9, false, 0), (9, true, 1), (40, false, 4)])
    func bound(hosts: Int, atLeastOne: Bool, expected: Int) {
        var lab = Lab(
            hosts,
            Self.config {
                $0.maxEjectionPercent = 10
                $0.alwaysEjectsOneHost = atLeastOne
            })
        var ejected = 0
        for host in 0..<hosts { ejected += lab.report(host, .status(500), .status(500), .status(500)).count }
        #expect(ejected == expected)
        #expect(lab.stat("ejections_overflow") == UInt64(hosts - expected))
    }

    @Test("a chance in percent is kept to")
    func enforcing() {
        var lab = Lab(1000, Self.config { $0.enforcingConsecutive5xx = 30 })
        for host in 0..<1000 { _ = lab.report(host, .status(500), .status(500), .status(500)) }
        let enforced = Int(lab.stat("ejections_enforced_consecutive_5xx")!)
        #expect((240...360).contains(enforced))
        #expect(lab.stat("ejections_detected_consecutive_5xx") == 1000)
    }

    @Test("the threshold of success rates is the documentation's example")
    func threshold() {
        #expect(OutlierDetector.successRateThreshold([50, 100, 100, 100, 100], deviations: 1.9) == 52)
    }

    @Test("a host whose success rate is far below the others' is ejected, where enough were asked often enough")
    func successRate() {
        var lab = Lab(
            6,
            Self.config {
                $0.consecutive5xx = .max; $0.consecutiveGatewayFailure = .max
            })
        for host in 0..<5 { lab.serve(host, 100, failing: host == 2 ? 60 : 0) }
        lab.serve(5, 99, failing: 99)
        // Host 5 had too few requests to be compared, but enough for its failures to be counted.
        let changes = lab.tick()
        #expect(changes == [.ejected(lab.ids[2], .successRate), .ejected(lab.ids[5], .failurePercentage)])
        // What was counted before is not counted again.
        #expect(lab.tick() == [])

        var few = Lab(
            5,
            Self.config {
                $0.consecutive5xx = .max; $0.failurePercentageThreshold = 100
            })
        for host in 0..<4 { few.serve(host, 100, failing: host == 2 ? 60 : 0) }
        #expect(few.tick() == [])
    }

    @Test("rates of failures to connect are compared on their own")
    func localOriginRate() {
        var lab = Lab(
            5,
            Self.config {
                $0.splitsLocalOriginErrors = true
                $0.consecutiveLocalOriginFailure = .max
            })
        for host in 0..<5 {
            for i in 0..<100 {
                _ = lab.tallies[host].record(host == 1 && i < 90 ? .connectFailed : .connected, lab.detector.config)
            }
        }
        #expect(lab.tick() == [.ejected(lab.ids[1], .localOriginSuccessRate)])
        #expect(lab.stat("ejections_detected_local_origin_failure_percentage") == 1)
    }

    @Test("a successful active check lets a host back, when it may")
    func activeCheck() {
        var lab = Lab(2, Self.config())
        _ = lab.report(0, .status(500), .status(500), .status(500))
        #expect(lab.detector.checkSucceeded(lab.ids[0], now: lab.now) == [.unejected(lab.ids[0])])
        #expect(lab.detector.checkSucceeded(lab.ids[0], now: lab.now) == [])
        var strict = Lab(2, Self.config { $0.successfulCheckUnejects = false })
        _ = strict.report(0, .status(500), .status(500), .status(500))
        #expect(strict.detector.checkSucceeded(strict.ids[0], now: strict.now) == [])
    }

    @Test("hosts that leave are forgotten, also when they are out, and news of them ignored")
    func leaving() {
        var lab = Lab(2, Self.config())
        _ = lab.report(0, .status(500), .status(500), .status(500))
        lab.detector.leave(lab.ids[0])
        #expect(lab.stat("ejections_active") == 0)
        #expect(lab.detector.runsCompleted(lab.ids[0], .any5xx, now: lab.now, random: &lab.random) == [])
        #expect(lab.tick(after: 100) == [])
    }

    @Test("a longest time below the base time is refused")
    func validation() {
        var config = OutlierConfig()
        config.maxEjectionTime = .seconds(29)
        #expect(throws: BalanceConfigError.self) { try config.validate() }
        config.maxEjectionTime = .seconds(30)
        #expect(throws: Never.self) { try config.validate() }
    }
}
