package import Reactor

/// How long a change waits for others to be written with.
///
/// The first of a quiet time does not wait. After a write the next waits a few times as long as that took, so that writing
/// takes at most one part in five of the time however many changes come: a small write is followed at once, a large one
/// after a while. What wrote nothing keeps nobody waiting.
package struct SyncPace {
    /// The longest wait for a cluster that changes all the time.
    package static let longest = Duration.milliseconds(50)
    package static let restPerWork = 4

    /// What the configuration fixes instead, from end to start.
    package let fixed: Duration?
    private var next: MonotonicTime?

    package init(fixed: Duration? = nil) { self.fixed = fixed }

    package mutating func wrote(until end: MonotonicTime, taking took: Duration) {
        next = end.adding(fixed ?? min(Self.longest, took * Self.restPerWork))
    }

    package func delay(at now: MonotonicTime) -> Duration {
        guard let next, next > now else { return .zero }
        return next.duration(since: now)
    }
}
