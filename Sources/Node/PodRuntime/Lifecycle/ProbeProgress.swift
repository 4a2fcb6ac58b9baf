import Bytes

public enum ProbeKind: String, Sendable, CaseIterable {
    case startup = "Startup"
    case readiness = "Readiness"
    case liveness = "Liveness"
}

/// The answers that one probe of one running container gave so far, and when to ask again.
///
/// Until the first success of a startup or readiness probe, it is asked more often than its period: after 50 ms, 100 ms, … where
/// each question is a process, and where it is a connection each 5 ms for a tenth of a second and then a quarter later each time, so
/// that a pod whose sidecar is ready waits little longer than it must. These extra questions can only find a container good earlier: their failures
/// do not count, so thresholds mean what they say.
public struct ProbeProgress: Sendable, Equatable {
    public internal(set) var nextAt: Timestamp
    public internal(set) var isAsking = false
    /// Answers of the same kind in a row.
    public internal(set) var successes: Int64 = 0
    public internal(set) var failures: Int64 = 0
    /// What the thresholds made of the answers.
    public internal(set) var passes: Bool
    private var eagerDelay: Duration?
    private let pace: Pace
    private var countsFrom: Timestamp
    /// From when on the delay grows.
    private let growsFrom: Timestamp

    /// How the first delay grows, once it has been used for a while.
    private struct Pace: Equatable {
        var first: Duration
        var steady: Duration
        var growth: Double

        static let process = Pace(first: .milliseconds(50), steady: .zero, growth: 2)
        static let connection = Pace(first: .milliseconds(5), steady: .milliseconds(100), growth: 1.25)
    }

    public init(_ kind: ProbeKind, _ spec: ProbeSpec, startedAt: Timestamp, passes: Bool? = nil) {
        nextAt = startedAt.adding(.seconds(spec.initialDelay))
        self.passes = passes ?? (kind == .liveness)
        pace = if case .exec = spec.action { .process } else { .connection }
        eagerDelay = kind == .liveness || self.passes ? nil : pace.first
        countsFrom = nextAt
        growsFrom = nextAt.adding(pace.steady)
    }

    /// Takes an answer into account; true when it should be reported as a failure to users.
    mutating func answered(_ success: Bool, _ spec: ProbeSpec, now: Timestamp) -> Bool {
        isAsking = false
        if success {
            eagerDelay = nil
            failures = 0
            successes += 1
            if successes >= spec.successThreshold { passes = true }
            nextAt = now.adding(.seconds(spec.period))
            return false
        }
        let counts = now >= countsFrom
        if counts {
            successes = 0
            failures += 1
            if failures >= spec.failureThreshold { passes = false }
            countsFrom = now.adding(.seconds(spec.period))
        }
        if let delay = eagerDelay {
            nextAt = min(now.adding(delay), max(countsFrom, now.adding(pace.first)))
            if now >= growsFrom { eagerDelay = min(delay * pace.growth, .seconds(spec.period)) }
        } else {
            nextAt = now.adding(.seconds(spec.period))
        }
        return counts
    }
}
