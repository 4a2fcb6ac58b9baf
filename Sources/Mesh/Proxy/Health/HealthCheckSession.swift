import Bytes
import Reactor

/// The active health check of one host: when to probe, and what its probes' results make of the host.
///
/// A reducer: `start`, then for each probe `probe` and `finish`; what to do is in the answers. Probes themselves, and the
/// timers, are the caller's. Clock and generator are inputs.
struct HealthCheckSession {
    /// What a result did.
    enum Transition: Hashable, Sendable {
        case unchanged
        /// The host's flags changed.
        case changed
        /// On the way there: a threshold is not reached yet.
        case pending
    }

    struct Outcome: Hashable, Sendable {
        var transition: Transition
        /// All of the host's flags, the new ones among them.
        var health: HostHealth
        /// When to probe again, from now; nil after a result that no probe had (`passive`).
        var nextProbe: Duration?
    }

    /// `cluster.NAME.health_check.…`, to be summed over hosts.
    struct Counters: Hashable, Sendable {
        var attempt: UInt64 = 0
        var success: UInt64 = 0
        var failure: UInt64 = 0
        var networkFailure: UInt64 = 0
        var passiveFailure: UInt64 = 0

        var byName: [(name: String, value: UInt64)] {
            [
                ("attempt", attempt), ("success", success), ("failure", failure), ("network_failure", networkFailure),
                ("passive_failure", passiveFailure),
            ]
        }
    }

    let timing: HealthCheckTiming
    private(set) var health: HostHealth
    private(set) var counters = Counters()
    private var isFirst = true
    private var successes: UInt32 = 0
    private var failures: UInt32 = 0

    /// A host as its set has it, with `failedActiveCheck` when it joined.
    init(_ timing: HealthCheckTiming, health: HostHealth) {
        self.timing = timing
        self.health = health
    }

    /// When to probe first, from now.
    func start(random: inout some RandomSource) -> Duration {
        timing.initialJitter > .zero ? jittered(.zero, timing.initialJitter, &random) : .zero
    }

    /// A probe goes out; answers with its time limit.
    mutating func probe() -> Duration {
        counters.attempt += 1
        return timing.timeout
    }

    /// What others say of the host changed meanwhile: discovery or outlier detection.
    mutating func setOthers(_ flags: HostHealth) {
        health = health.intersection(Self.own).union(flags.subtracting(Self.own))
    }

    private static let own: HostHealth = [
        .failedActiveCheck, .degradedActiveCheck, .pendingFirstCheck, .failedImmediately, .activeCheckTimedOut,
    ]

    /// How a probe ended, or (`passive`) an ordinary response. `hasTraffic` tells whether the cluster ever had a connection.
    mutating func finish(
        _ result: HealthCheckResult, hasTraffic: Bool, random: inout some RandomSource
    ) -> Outcome {
        let transition: Transition
        switch result {
        case .success(let isDegraded): transition = succeed(isDegraded)
        case .failure(let failure): transition = fail(failure)
        }
        isFirst = false
        if result == .failure(.passive) { return Outcome(transition: transition, health: health, nextProbe: nil) }
        var succeeded = false
        if case .success = result { succeeded = true }
        let next = jittered(
            interval(succeeded, transition, hasTraffic: hasTraffic), timing.intervalJitter, &random)
        return Outcome(transition: transition, health: health, nextProbe: next)
    }

    private mutating func succeed(_ isDegraded: Bool) -> Transition {
        counters.success += 1
        failures = 0
        var transition = Transition.unchanged
        if health.contains(.failedActiveCheck) {
            successes += 1
            // The first check of all decides alone, so that starting does not take long.
            if isFirst || successes >= timing.healthyThreshold {
                health.subtract([.failedActiveCheck, .activeCheckTimedOut, .failedImmediately])
                successes = 0
                transition = .changed
            } else {
                transition = .pending
            }
        }
        if health.remove(.pendingFirstCheck) != nil { transition = .changed }
        if isDegraded != health.contains(.degradedActiveCheck) {
            if isDegraded { health.insert(.degradedActiveCheck) } else { health.remove(.degradedActiveCheck) }
            if transition == .unchanged { transition = .changed }
        }
        return transition
    }

    private mutating func fail(_ failure: HealthCheckResult.Failure) -> Transition {
        counters.failure += 1
        if failure.isNetwork { counters.networkFailure += 1 }
        if failure == .passive {
            counters.passiveFailure += 1
            health.insert(.failedImmediately)
        }
        successes = 0
        var transition = Transition.unchanged
        if !health.contains(.failedActiveCheck) {
            failures += 1
            let isDefinite = !failure.isNetwork && failure != .retriable
            if isDefinite || failures >= timing.unhealthyThreshold {
                health.insert(.failedActiveCheck)
                failures = 0
                transition = .changed
            } else {
                transition = .pending
            }
        }
        if failure == .timeout, health.contains(.failedActiveCheck) {
            health.insert(.activeCheckTimedOut)
        } else {
            health.remove(.activeCheckTimedOut)
        }
        if health.remove(.pendingFirstCheck) != nil { transition = .changed }
        return transition
    }

    private func interval(_ succeeded: Bool, _ transition: Transition, hasTraffic: Bool) -> Duration {
        let isPending = transition == .pending
        guard hasTraffic else {
            return succeeded && !isPending
                ? timing.noTrafficHealthyInterval ?? timing.noTrafficInterval : timing.noTrafficInterval
        }
        if succeeded { return isPending ? timing.healthyEdgeInterval ?? timing.interval : timing.interval }
        let unhealthy = timing.unhealthyInterval ?? timing.interval
        return isPending ? timing.unhealthyEdgeInterval ?? unhealthy : unhealthy
    }

    /// At least 1 ms, so that nothing spins.
    private func jittered(_ base: Duration, _ jitter: Duration, _ random: inout some RandomSource) -> Duration {
        var milliseconds = base.saturatedNanoseconds / 1_000_000
        let percent = Int64(Double(milliseconds) * min(Double(timing.intervalJitterPercent), 10000) / 100)
        if percent > 0 { milliseconds += Int64.random(in: 0..<percent, using: &random) }
        let most = jitter.saturatedNanoseconds / 1_000_000
        if most > 0 { milliseconds += Int64.random(in: 0..<most, using: &random) }
        return .milliseconds(max(milliseconds, 1))
    }
}
