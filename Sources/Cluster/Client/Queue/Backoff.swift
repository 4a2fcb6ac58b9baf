/// Delays that double from one failure to the next, with jitter so that many clients spread out.
public struct Backoff: Sendable {
    public var initial: Duration
    public var limit: Duration
    /// Up to this share is added to each delay; 0 gives exact delays.
    public var jitter: Double
    public private(set) var failures = 0

    public init(initial: Duration, limit: Duration, jitter: Double = 0.25) {
        self.initial = initial
        self.limit = limit
        self.jitter = jitter
    }

    /// For streams to the API server: quick at first, because a restarted server is back in a moment.
    public static let reconnect = Backoff(initial: .milliseconds(50), limit: .seconds(10))

    /// A stream that lived this long is not part of a series of failures.
    static let healthyAfter: Duration = .seconds(30)

    /// The delay before the next try.
    public mutating func next() -> Duration {
        var generator = SystemRandomNumberGenerator()
        return next(using: &generator)
    }

    public mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
        let delay = Self.delay(initial: initial, limit: limit, failures: failures)
        failures += 1
        guard jitter > 0 else { return delay }
        return delay * (1 + Double.random(in: 0..<jitter, using: &generator))
    }

    public mutating func reset() { failures = 0 }

    /// `initial` doubled once per earlier failure, up to `limit`.
    public static func delay(initial: Duration, limit: Duration, failures: Int) -> Duration {
        var delay = initial
        for _ in 0..<min(failures, 62) {
            if delay >= limit { return limit }
            delay = delay * 2
        }
        return min(delay, limit)
    }
}
