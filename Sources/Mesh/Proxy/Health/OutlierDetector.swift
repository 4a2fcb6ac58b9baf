import Bytes
import Reactor

/// Decides which of a cluster's hosts are outliers, for how long they stay out, and when they come back.
///
/// One a cluster, on one loop: workers count (`OutlierTally`) and tell it when a run of failures is complete; a timer calls
/// `tick` at every interval. Everything else is arithmetic on values; clock and generator are inputs.
struct OutlierDetector {
    enum Change: Hashable, Sendable {
        case ejected(HostID, OutlierReason)
        case unejected(HostID)
    }

    /// What goes into the event log beside the changes: also what was detected and not enforced.
    struct Event: Hashable, Sendable {
        var host: HostID
        var reason: OutlierReason
        var isEnforced: Bool
    }

    /// `cluster.NAME.outlier_detection.…`
    struct Counters: Hashable, Sendable {
        fileprivate(set) var detected = Array(repeating: UInt64(0), count: OutlierReason.allCases.count)
        fileprivate(set) var enforced = Array(repeating: UInt64(0), count: OutlierReason.allCases.count)
        fileprivate(set) var enforcedTotal: UInt64 = 0
        /// Not ejected because too many are.
        fileprivate(set) var overflow: UInt64 = 0
        /// A gauge.
        fileprivate(set) var active: UInt64 = 0

        /// The oldest of Envoy's names, which it calls deprecated and still writes: allowed for 5xx or success rate, whether
        /// enforced or not.
        fileprivate(set) var allowedTotal: UInt64 = 0

        /// Under Envoy's names.
        var byName: [(name: String, value: UInt64)] {
            [
                ("ejections_active", active), ("ejections_enforced_total", enforcedTotal),
                ("ejections_overflow", overflow), ("ejections_total", allowedTotal),
                ("ejections_consecutive_5xx", detected[OutlierReason.consecutive5xx.rawValue]),
                (
                    "ejections_success_rate",
                    detected[OutlierReason.successRate.rawValue]
                        + detected[OutlierReason.localOriginSuccessRate.rawValue]
                ),
            ]
                + OutlierReason.allCases.flatMap { reason in
                    [
                        ("ejections_detected_\(reason.statName)", detected[reason.rawValue]),
                        ("ejections_enforced_\(reason.statName)", enforced[reason.rawValue]),
                    ]
                }
        }
    }

    private struct Record {
        let tally: OutlierTally
        var ejectedAt: MonotonicTime?
        var jitter = Duration.zero
        var unejectedAt: MonotonicTime?
        /// What the base time is multiplied with; grows with each ejection and falls with each quiet interval.
        var multiplier = 0
    }

    let config: OutlierConfig
    private(set) var counters = Counters()
    /// What the last call detected; for the event log.
    private(set) var events: [Event] = []
    private var records: [HostID: Record] = [:]
    /// In the order that they joined, so that the same events have the same end.
    private var order: [HostID] = []

    init(_ config: OutlierConfig) { self.config = config }

    /// A host joined; answers with what workers are to count into.
    mutating func join(_ host: HostID) -> OutlierTally {
        if let record = records[host] { return record.tally }
        let tally = OutlierTally()
        records[host] = Record(tally: tally)
        order.append(host)
        return tally
    }

    mutating func leave(_ host: HostID) {
        guard let record = records.removeValue(forKey: host) else { return }
        if record.ejectedAt != nil { counters.active -= 1 }
        order.removeAll { $0 == host }
    }

    func isEjected(_ host: HostID) -> Bool { records[host]?.ejectedAt != nil }

    /// A worker saw runs of failures become as long as is allowed. Late news of hosts that left or are out are ignored.
    mutating func runsCompleted(
        _ host: HostID, _ runs: OutlierRuns, now: MonotonicTime, random: inout some RandomSource
    ) -> [Change] {
        events = []
        var changes: [Change] = []
        for reason in runs.reasons {
            guard let record = records[host], record.ejectedAt == nil else { break }
            detect(host, reason, now, &random, &changes)
            record.tally.clear(reason)
        }
        return changes
    }

    /// An active health check of a host succeeded and it is healthy.
    mutating func checkSucceeded(_ host: HostID, now: MonotonicTime) -> [Change] {
        guard config.successfulCheckUnejects, isEjected(host) else { return [] }
        uneject(host, now)
        return [.unejected(host)]
    }

    /// To be called every `config.interval`: lets hosts back whose time is over, compares success rates, and lets multipliers
    /// fall.
    mutating func tick(now: MonotonicTime, random: inout some RandomSource) -> [Change] {
        events = []
        var changes: [Change] = []
        var external: [(host: HostID, volume: OutlierTally.Volume)] = []
        var localOrigin: [(host: HostID, volume: OutlierTally.Volume)] = []
        for host in order {
            if isTimeOver(records[host]!, now) {
                uneject(host, now)
                changes.append(.unejected(host))
            }
            let volumes = records[host]!.tally.takeVolumes()
            external.append((host, volumes.external))
            localOrigin.append((host, volumes.localOrigin))
        }
        compare(external, .successRate, .failurePercentage, now, &random, &changes)
        compare(localOrigin, .localOriginSuccessRate, .localOriginFailurePercentage, now, &random, &changes)
        for host in order {
            let record = records[host]!
            guard record.ejectedAt == nil, let back = record.unejectedAt, record.multiplier > 0,
                now.duration(since: back) >= config.interval
            else { continue }
            records[host]!.multiplier -= 1
        }
        return changes
    }

    private func isTimeOver(_ record: Record, _ now: MonotonicTime) -> Bool {
        guard let ejectedAt = record.ejectedAt else { return false }
        let time = min(config.baseEjectionTime * record.multiplier, config.maxEjectionTime) + record.jitter
        return now.duration(since: ejectedAt) >= time
    }

    private mutating func uneject(_ host: HostID, _ now: MonotonicTime) {
        records[host]!.ejectedAt = nil
        records[host]!.unejectedAt = now
        counters.active -= 1
        // A run that was nearly complete does not eject the host again at its next failure.
        for reason in OutlierReason.allCases { records[host]!.tally.clear(reason) }
    }

    /// Hosts that are out are not compared. Success rates below the mean less some deviations, and failures above a
    /// percentage, are outliers; each only where enough hosts had enough requests.
    private mutating func compare(
        _ volumes: [(host: HostID, volume: OutlierTally.Volume)], _ rate: OutlierReason, _ percentage: OutlierReason,
        _ now: MonotonicTime, _ random: inout some RandomSource, _ changes: inout [Change]
    ) {
        let present = volumes.filter { !isEjected($0.host) && $0.volume.requests > 0 }
        let rated = present.filter { $0.volume.requests >= config.successRateRequestVolume }
        if !rated.isEmpty, rated.count >= config.successRateMinimumHosts {
            let threshold = Self.successRateThreshold(
                rated.map(\.volume.successRate), deviations: Double(config.successRateStdevFactor) / 1000)
            for (host, volume) in rated where volume.successRate < threshold {
                detect(host, rate, now, &random, &changes)
            }
        }
        let measured = present.filter { $0.volume.requests >= config.failurePercentageRequestVolume }
        if !measured.isEmpty, measured.count >= config.failurePercentageMinimumHosts {
            for (host, volume) in measured
            where 100 - volume.successRate >= Double(config.failurePercentageThreshold) {
                detect(host, percentage, now, &random, &changes)
            }
        }
    }

    /// The mean less so many standard deviations (of all, not of a sample).
    static func successRateThreshold(_ rates: [Double], deviations: Double) -> Double {
        let mean = rates.reduce(0, +) / Double(rates.count)
        let variance = rates.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(rates.count)
        return mean - deviations * variance.squareRoot()
    }

    private mutating func detect(
        _ host: HostID, _ reason: OutlierReason, _ now: MonotonicTime, _ random: inout some RandomSource,
        _ changes: inout [Change]
    ) {
        counters.detected[reason.rawValue] += 1
        guard records[host]!.ejectedAt == nil else { return }
        let percent = 100 * Double(counters.active + 1) / Double(records.count)
        let isAllowed =
            percent <= Double(min(config.maxEjectionPercent, 100)) || config.alwaysEjectsOneHost && counters.active == 0
        guard isAllowed else {
            counters.overflow += 1
            return
        }
        if reason == .consecutive5xx || reason == .successRate { counters.allowedTotal += 1 }
        let isEnforced = random.below(100) < Int(config.enforcing(reason))
        events.append(Event(host: host, reason: reason, isEnforced: isEnforced))
        guard isEnforced else { return }
        counters.active += 1
        counters.enforced[reason.rawValue] += 1
        counters.enforcedTotal += 1
        records[host]!.ejectedAt = now
        let jitter = config.maxEjectionTimeJitter.saturatedNanoseconds / 1_000_000
        records[host]!.jitter = jitter > 0 ? .milliseconds(Int64.random(in: 0...jitter, using: &random)) : .zero
        let time = config.baseEjectionTime * records[host]!.multiplier
        if time < config.maxEjectionTime + config.baseEjectionTime { records[host]!.multiplier += 1 }
        changes.append(.ejected(host, reason))
    }
}
