import Glibc

/// A moment on the kernel's monotonic clock: for time-outs and durations, never for people.
public struct MonotonicTime: Hashable, Comparable, Sendable {
    /// Since boot.
    public var nanoseconds: UInt64

    @inlinable
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// Asks the clock. On a loop prefer `EventLoop.now`, which costs nothing.
    public static func now() -> MonotonicTime {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicTime(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
    }

    /// The end of time: a deadline that is never reached.
    public static let distantFuture = MonotonicTime(nanoseconds: .max)

    @inlinable
    public static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }

    /// Saturates at both ends.
    public func adding(_ duration: Duration) -> MonotonicTime {
        let delta = duration.saturatedNanoseconds
        if delta < 0 { return MonotonicTime(nanoseconds: nanoseconds - min(nanoseconds, delta.magnitude)) }
        let (sum, over) = nanoseconds.addingReportingOverflow(delta.magnitude)
        return over ? .distantFuture : MonotonicTime(nanoseconds: sum)
    }

    public func duration(since other: MonotonicTime) -> Duration {
        self >= other
            ? .nanoseconds(Int64(clamping: nanoseconds - other.nanoseconds))
            : .zero - .nanoseconds(Int64(clamping: other.nanoseconds - nanoseconds))
    }
}

extension Duration {
    /// In nanoseconds, cut at what 64 bits hold (292 years).
    public var saturatedNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, over) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if over { return seconds < 0 ? .min : .max }
        let (sum, more) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
        return more ? (seconds < 0 ? .min : .max) : sum
    }
}

/// Time as an input: what code that waits takes, so that a test can hand it a clock of its own.
public protocol LoopClock: Sendable {
    var now: MonotonicTime { get }
    /// Suspends for `duration`; throws `CancellationError` when the task is cancelled.
    func sleep(for duration: Duration) async throws
}
