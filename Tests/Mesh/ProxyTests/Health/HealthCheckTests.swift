import Bytes
import Reactor
import Testing

@testable import Proxy

@Suite("Active health checks")
struct HealthCheckTests {
    private static var timing: HealthCheckTiming {
        var timing = HealthCheckTiming(
            timeout: .seconds(1), interval: .seconds(10), unhealthyThreshold: 3, healthyThreshold: 2)
        timing.unhealthyInterval = .seconds(20)
        timing.unhealthyEdgeInterval = .seconds(2)
        timing.healthyEdgeInterval = .seconds(3)
        return timing
    }

    private struct Step: Sendable {
        var result: HealthCheckResult
        var transition: HealthCheckSession.Transition
        var isHealthy: Bool
        /// Seconds.
        var next: Int
    }

    private static let good = HealthCheckResult.success(isDegraded: false)

    private static func run(_ timing: HealthCheckTiming, from health: HostHealth, _ steps: [Step]) {
        var session = HealthCheckSession(timing, health: health)
        var random = SplitMix64(seed: 1)
        for (number, step) in steps.enumerated() {
            #expect(session.probe() == timing.timeout)
            let outcome = session.finish(step.result, hasTraffic: true, random: &random)
            #expect(outcome.transition == step.transition, "step \(number)")
            #expect((outcome.health.availability == .healthy) == step.isHealthy, "step \(number)")
            #expect(outcome.nextProbe == .seconds(step.next), "step \(number)")
        }
        #expect(session.counters.attempt == UInt64(steps.count))
    }

    @Test("the first success makes a host healthy at once; later it takes as many as the threshold")
    func thresholds() {
        Self.run(
            Self.timing, from: .failedActiveCheck,
            [
                Step(result: Self.good, transition: .changed, isHealthy: true, next: 10),
                Step(result: .failure(.network), transition: .pending, isHealthy: true, next: 2),
                Step(result: .failure(.timeout), transition: .pending, isHealthy: true, next: 2),
                Step(result: Self.good, transition: .unchanged, isHealthy: true, next: 10),
                Step(result: .failure(.network), transition: .pending, isHealthy: true, next: 2),
                Step(result: .failure(.network), transition: .pending, isHealthy: true, next: 2),
                Step(result: .failure(.network), transition: .changed, isHealthy: false, next: 20),
                Step(result: .failure(.network), transition: .unchanged, isHealthy: false, next: 20),
                Step(result: Self.good, transition: .pending, isHealthy: false, next: 3),
                Step(result: .failure(.network), transition: .unchanged, isHealthy: false, next: 20),
                Step(result: Self.good, transition: .pending, isHealthy: false, next: 3),
                Step(result: Self.good, transition: .changed, isHealthy: true, next: 10),
            ])
    }

    @Test("an answer that says no makes a host unhealthy at once, one that may pass does not")
    func definite() {
        Self.run(
            Self.timing, from: [],
            [
                Step(result: .failure(.retriable), transition: .pending, isHealthy: true, next: 2),
                Step(result: .failure(.definite), transition: .changed, isHealthy: false, next: 20),
            ])
    }

    @Test("a first failure of a new host changes nothing, and the host then needs the threshold")
    func firstFailure() {
        Self.run(
            Self.timing, from: .failedActiveCheck,
            [
                Step(result: .failure(.network), transition: .unchanged, isHealthy: false, next: 20),
                Step(result: Self.good, transition: .pending, isHealthy: false, next: 3),
                Step(result: Self.good, transition: .changed, isHealthy: true, next: 10),
            ])
    }

    @Test("a host that was not counted before its first check is counted after it, whichever way it ends")
    func pending() {
        for result in [Self.good, .failure(.network)] {
            var session = HealthCheckSession(Self.timing, health: [.failedActiveCheck, .pendingFirstCheck])
            var random = SplitMix64(seed: 1)
            let outcome = session.finish(result, hasTraffic: true, random: &random)
            #expect(outcome.transition == .changed)
            #expect(!outcome.health.isExcluded)
        }
    }

    @Test("a time-out shows in the host's status while it is unhealthy")
    func timeout() {
        var timing = Self.timing
        timing.unhealthyThreshold = 1
        var session = HealthCheckSession(timing, health: [])
        var random = SplitMix64(seed: 1)
        #expect(session.finish(.failure(.timeout), hasTraffic: true, random: &random).health.status == .timeout)
        #expect(session.finish(.failure(.network), hasTraffic: true, random: &random).health.status == .unhealthy)
        #expect(session.counters.networkFailure == 2)
    }

    @Test("degraded comes and goes with the answers")
    func degraded() {
        var session = HealthCheckSession(Self.timing, health: .failedActiveCheck)
        var random = SplitMix64(seed: 1)
        let first = session.finish(.success(isDegraded: true), hasTraffic: true, random: &random)
        #expect(first.health.availability == .degraded && first.transition == .changed)
        let second = session.finish(.success(isDegraded: true), hasTraffic: true, random: &random)
        #expect(second.transition == .unchanged)
        let third = session.finish(Self.good, hasTraffic: true, random: &random)
        #expect(third.health.availability == .healthy && third.transition == .changed)
    }

    @Test("a response may fail its host at once; it is not counted until a check succeeds")
    func immediateFailure() {
        var session = HealthCheckSession(Self.timing, health: [])
        var random = SplitMix64(seed: 1)
        let failed = session.finish(.failure(.passive), hasTraffic: true, random: &random)
        #expect(failed.transition == .changed && failed.nextProbe == nil)
        #expect(failed.health.availability == .unhealthy && failed.health.isExcluded)
        _ = session.finish(Self.good, hasTraffic: true, random: &random)
        let back = session.finish(Self.good, hasTraffic: true, random: &random)
        #expect(back.health == [])
        #expect(session.counters.passiveFailure == 1)
    }

    @Test("a cluster without traffic is checked rarely")
    func noTraffic() {
        var timing = Self.timing
        var session = HealthCheckSession(timing, health: [])
        var random = SplitMix64(seed: 1)
        #expect(session.finish(Self.good, hasTraffic: false, random: &random).nextProbe == .seconds(60))
        timing.noTrafficHealthyInterval = .seconds(90)
        session = HealthCheckSession(timing, health: [])
        #expect(session.finish(Self.good, hasTraffic: false, random: &random).nextProbe == .seconds(90))
        #expect(session.finish(.failure(.network), hasTraffic: false, random: &random).nextProbe == .seconds(60))
    }

    @Test("jitter stays within its bounds, and the first check may be delayed")
    func jitter() {
        var timing = Self.timing
        var random = SplitMix64(seed: 1)
        #expect(HealthCheckSession(timing, health: []).start(random: &random) == .zero)
        timing.initialJitter = .milliseconds(500)
        timing.intervalJitter = .milliseconds(1000)
        timing.intervalJitterPercent = 50
        var session = HealthCheckSession(timing, health: [])
        var longest = Duration.zero
        for _ in 0..<500 {
            let start = session.start(random: &random)
            #expect(start >= .milliseconds(1) && start < .milliseconds(500))
            let next = session.finish(Self.good, hasTraffic: true, random: &random).nextProbe!
            #expect(next >= .seconds(10) && next < .seconds(16))
            longest = max(longest, next)
        }
        #expect(longest > .seconds(15))
    }

    @Test("what others say of a host stays with it")
    func others() {
        var session = HealthCheckSession(Self.timing, health: [.failedActiveCheck])
        var random = SplitMix64(seed: 1)
        session.setOthers([.ejected, .degraded])
        let outcome = session.finish(Self.good, hasTraffic: true, random: &random)
        #expect(outcome.health == [.ejected, .degraded])
    }

    // MARK: What answers mean

    @Test(
        "statuses of HTTP checks",
        arguments: [
            (200, Self.good), (201, .failure(.definite)), (204, .failure(.definite)), (503, .failure(.definite)),
        ] as [(Int, HealthCheckResult)])
    func defaultStatuses(status: Int, result: HealthCheckResult) {
        #expect(HTTPHealthExpectation().judge(status: status, body: []) == result)
    }

    @Test("expected and retriable statuses are half-open ranges")
    func ranges() throws {
        let expectation = HTTPHealthExpectation(expected: [200..<204, 404..<405], retriable: [500..<504])
        try expectation.validate()
        let results = [199, 200, 203, 204, 404, 500, 503, 504].map { expectation.judge(status: $0, body: []) }
        #expect(
            results == [
                .failure(.definite), Self.good, Self.good, .failure(.definite), Self.good, .failure(.retriable),
                .failure(.retriable), .failure(.definite),
            ])
        for range in [99..<200, 200..<200, 500..<601] {
            let wrong = HTTPHealthExpectation(expected: [range])
            #expect(throws: BalanceConfigError.self) { try wrong.validate() }
        }
    }

    @Test("gRPC's health service")
    func grpc() {
        #expect(GRPCHealth.judge(grpcStatus: 0, servingStatus: 1) == Self.good)
        for (status, serving) in [(0, 0), (0, 2), (0, 3), (0, nil), (12, nil), (14, 1)] as [(Int, Int?)] {
            #expect(GRPCHealth.judge(grpcStatus: status, servingStatus: serving) == .failure(.definite))
        }
    }

    @Test(
        "payloads are found in order, with anything between",
        arguments: [
            ([], "", true), ([], "x", true), (["ab"], "xaby", true), (["ab"], "a", false),
            (["ab", "cd"], "ab--cd", true),
            (["ab", "cd"], "cdab", false), (["aba", "aba"], "ababa", false), (["aba", "aba"], "abaaba", true),
            (["aab"], "aaab", true),
        ] as [([String], String, Bool)])
    func payloads(pieces: [String], received: String, isMatch: Bool) {
        #expect(PayloadMatcher(pieces.map { Array($0.utf8) }).matches(Array(received.utf8)) == isMatch)
        let expectation = HTTPHealthExpectation(receive: PayloadMatcher(pieces.map { Array($0.utf8) }))
        #expect((expectation.judge(status: 200, body: Array(received.utf8)) == Self.good) == isMatch)
    }

    @Test("payloads are written in hexadecimal")
    func hexadecimal() throws {
        #expect(try PayloadMatcher(hexadecimal: ["50", "4F4e47"]).pieces == [[0x50], [0x4F, 0x4E, 0x47]])
        for text in ["", "5", "5g", "0x50"] {
            #expect(throws: BalanceConfigError.self) { try PayloadMatcher(hexadecimal: [text]) }
        }
    }
}
