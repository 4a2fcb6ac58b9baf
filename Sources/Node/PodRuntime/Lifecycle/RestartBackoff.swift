import Bytes

/// When a container that keeps failing may start again: at once the first time, then 10 s after its end, doubled each time up to
/// 5 minutes, and from the beginning after it did well for 10 minutes. The kubelet's rule, with time as an input.
public struct RestartBackoff: Sendable, Equatable {
    static let initial: Duration = .seconds(10)
    static let limit: Duration = .seconds(300)

    /// nil before the first restart.
    public private(set) var delay: Duration?
    /// When the delay was last raised.
    public private(set) var updatedAt: Timestamp?

    public init(delay: Duration? = nil, updatedAt: Timestamp? = nil) {
        self.delay = delay
        self.updatedAt = updatedAt
    }

    /// The moment from which something that ended at `end` may start again; nil: at once.
    public func blockedUntil(since end: Timestamp, now: Timestamp) -> Timestamp? {
        guard let delay, let updatedAt, end - updatedAt <= Self.limit * 2 else { return nil }
        let until = end.adding(delay)
        return now < until ? until : nil
    }

    /// Notes a restart.
    public mutating func raise(at now: Timestamp) {
        if let delay, let updatedAt, now - updatedAt <= Self.limit * 2 {
            self.delay = min(delay * 2, Self.limit)
        } else {
            delay = Self.initial
        }
        updatedAt = now
    }

    /// The delay as Go prints durations: `10s`, `1m20s`, `5m0s`.
    public var text: String {
        let seconds = (delay ?? Self.initial).components.seconds
        return seconds < 60 ? "\(seconds)s" : "\(seconds / 60)m\(seconds % 60)s"
    }
}
