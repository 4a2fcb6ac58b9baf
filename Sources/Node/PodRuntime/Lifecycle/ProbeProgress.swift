import Bytes

public enum ProbeKind: String, Sendable, CaseIterable {
    case startup = "Startup"
    case readiness = "Readiness"
    case liveness = "Liveness"
}

/// The answers that one probe of one running container gave so far, and when to ask again.
///
/// Until the first success of a startup or readiness probe, it is asked more often than its period: after 50 ms, 100 ms, … These
/// extra questions can only find a container good earlier: their failures do not count, so thresholds mean what they say.
public struct ProbeProgress: Sendable, Equatable {
    public internal(set) var nextAt: Timestamp
    public internal(set) var isAsking = false
    /// Answers of the same kind in a row.
    public internal(set) var successes: Int64 = 0
    public internal(set) var failures: Int64 = 0
    /// What the thresholds made of the answers.
    public internal(set) var passes: Bool
    private var eagerDelay: Duration?
    private var countsFrom: Timestamp

    static let firstEagerDelay: Duration = .milliseconds(50)

    public init(_ kind: ProbeKind, _ spec: ProbeSpec, startedAt: Timestamp, passes: Bool? = nil) {
        nextAt = startedAt.adding(.seconds(spec.initialDelay))
        self.passes = passes ?? (kind == .liveness)
        eagerDelay = kind == .liveness || self.passes ? nil : Self.firstEagerDelay
        countsFrom = nextAt
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
            nextAt = min(now.adding(delay), max(countsFrom, now.adding(Self.firstEagerDelay)))
            eagerDelay = min(delay * 2, .seconds(spec.period))
        } else {
            nextAt = now.adding(.seconds(spec.period))
        }
        return counts
    }
}
