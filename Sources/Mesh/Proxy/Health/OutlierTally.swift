import Synchronization

/// Runs of failures that are as long as is allowed: nearly always none.
struct OutlierRuns: OptionSet, Hashable, Sendable {
    let rawValue: UInt8

    static let gatewayFailure = OutlierRuns(rawValue: 1)
    static let any5xx = OutlierRuns(rawValue: 2)
    static let localOriginFailure = OutlierRuns(rawValue: 4)

    /// In the order that Envoy acts on them.
    var reasons: [OutlierReason] {
        (contains(.gatewayFailure) ? [.consecutiveGatewayFailure] : []) + (contains(.any5xx) ? [.consecutive5xx] : [])
            + (contains(.localOriginFailure) ? [.consecutiveLocalOriginFailure] : [])
    }
}

/// What workers count of one host's requests for outlier detection. Shared by all of them; a result is a few relaxed atomic
/// additions in one piece of memory. A host has one for as long as it is in its cluster.
final class OutlierTally: Sendable {
    /// How a request to the host ended.
    enum Outcome: Hashable, Sendable {
        /// The host answered HTTP with a status.
        case status(UInt16)
        /// The host answered another protocol, well or badly.
        case succeeded, failed
        /// A connection was made; what comes over it is told on its own. Or nothing more will come (TCP).
        case connected, connectedFinally
        case connectFailed, timedOut
    }

    private struct Rate: ~Copyable, Sendable {
        let requests = Atomic<UInt32>(0)
        let successes = Atomic<UInt32>(0)

        func count(_ isSuccess: Bool) {
            requests.wrappingAdd(1, ordering: .relaxed)
            if isSuccess { successes.wrappingAdd(1, ordering: .relaxed) }
        }
    }

    struct Volume: Hashable, Sendable {
        var requests: UInt32
        var successes: UInt32

        /// 0…100.
        var successRate: Double { requests == 0 ? 100 : Double(successes) * 100 / Double(requests) }
    }

    private let consecutive5xx = Atomic<UInt32>(0)
    private let consecutiveGatewayFailure = Atomic<UInt32>(0)
    private let consecutiveLocalOriginFailure = Atomic<UInt32>(0)
    private let external = Rate()
    private let localOrigin = Rate()

    /// Counts how a request ended. What is in the answer is for the cluster's `OutlierDetector`: a run of failures has just
    /// become as long as is allowed.
    func record(_ outcome: Outcome, _ config: OutlierConfig) -> OutlierRuns {
        if config.splitsLocalOriginErrors { return recordSplit(outcome, config) }
        return switch outcome {
        case .status(let status): record(status: status, config)
        case .succeeded, .connectedFinally: record(status: 200, config)
        case .failed: record(status: 500, config)
        case .connectFailed: record(status: 503, config)
        case .timedOut: record(status: 504, config)
        case .connected: []
        }
    }

    private func recordSplit(_ outcome: Outcome, _ config: OutlierConfig) -> OutlierRuns {
        switch outcome {
        case .status(let status): return record(status: status, config)
        case .failed: return record(status: 503, config)
        case .succeeded:
            localOriginSucceeded()
            return record(status: 200, config)
        case .connected, .connectedFinally:
            localOriginSucceeded()
            return []
        case .connectFailed, .timedOut:
            localOrigin.count(false)
            let run = consecutiveLocalOriginFailure.wrappingAdd(1, ordering: .relaxed).newValue
            return run == config.consecutiveLocalOriginFailure ? .localOriginFailure : []
        }
    }

    private func localOriginSucceeded() {
        localOrigin.count(true)
        consecutiveLocalOriginFailure.store(0, ordering: .relaxed)
    }

    private func record(status: UInt16, _ config: OutlierConfig) -> OutlierRuns {
        guard (500..<600).contains(status) else {
            external.count(true)
            clear(consecutive5xx)
            clear(consecutiveGatewayFailure)
            return []
        }
        external.count(false)
        var runs = OutlierRuns()
        if (502...504).contains(status) {
            let run = consecutiveGatewayFailure.wrappingAdd(1, ordering: .relaxed).newValue
            if run == config.consecutiveGatewayFailure { runs.insert(.gatewayFailure) }
        } else {
            clear(consecutiveGatewayFailure)
        }
        if consecutive5xx.wrappingAdd(1, ordering: .relaxed).newValue == config.consecutive5xx { runs.insert(.any5xx) }
        return runs
    }

    /// Writes only when there is something to clear: the usual request leaves the line shared.
    private func clear(_ run: borrowing Atomic<UInt32>) {
        if run.load(ordering: .relaxed) != 0 { run.store(0, ordering: .relaxed) }
    }

    /// Begins a run anew.
    func clear(_ reason: OutlierReason) {
        switch reason {
        case .consecutive5xx: clear(consecutive5xx)
        case .consecutiveGatewayFailure: clear(consecutiveGatewayFailure)
        case .consecutiveLocalOriginFailure: clear(consecutiveLocalOriginFailure)
        case .successRate, .localOriginSuccessRate, .failurePercentage, .localOriginFailurePercentage: break
        }
    }

    /// What was counted since it was asked last.
    func takeVolumes() -> (external: Volume, localOrigin: Volume) {
        (Self.take(external), Self.take(localOrigin))
    }

    private static func take(_ rate: borrowing Rate) -> Volume {
        // Successes first, so that a request between the two lines does not make more successes than requests.
        let successes = rate.successes.exchange(0, ordering: .relaxed)
        return Volume(requests: max(rate.requests.exchange(0, ordering: .relaxed), successes), successes: successes)
    }
}
