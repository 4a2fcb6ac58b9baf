import Synchronization
import XDS

/// A bucket of tokens that refills evenly, shared by all workers without a lock.
///
/// Tokens are counted from the clock's beginning: as many have come as its time times the rate. All of the bucket's state is how
/// many of these have gone, taken or spilt, which a single exchange moves on.
final class TokenBucket: Sendable {
    let capacity: UInt64
    /// Tokens a nanosecond.
    let rate: Double
    /// As the bits of a `Double`.
    private let gone: Atomic<UInt64>

    /// What sums of a `Double`'s last bits may make of a whole token.
    private static let tolerance = 1e-6

    /// - Parameters:
    ///   - capacity: what it holds at most, and at first.
    ///   - interval: nanoseconds in which `refill` tokens come.
    convenience init(capacity: UInt64, refill: UInt64, interval: UInt64) {
        self.init(capacity: capacity, rate: Double(refill) / Double(max(interval, 1)))
    }

    init(capacity: UInt64, rate: Double) {
        self.capacity = capacity
        self.rate = rate
        // Far fewer than can have come: full.
        gone = Atomic((-Double.greatestFiniteMagnitude).bitPattern)
    }

    /// Takes tokens; false, and takes none, when there are fewer.
    ///
    /// - Parameter now: nanoseconds of the monotonic clock.
    func take(_ count: UInt64 = 1, now: UInt64) -> Bool {
        let come = Double(now) * rate
        var seen = gone.load(ordering: .relaxed)
        while true {
            let next = max(Double(bitPattern: seen), come - Double(capacity)) + Double(count)
            guard next <= come + Self.tolerance else { return false }
            let (exchanged, original) = gone.compareExchange(
                expected: seen, desired: next.bitPattern, ordering: .relaxed)
            if exchanged { return true }
            seen = original
        }
    }

    private func held(_ now: UInt64) -> Double {
        min(Double(now) * rate - Double(bitPattern: gone.load(ordering: .relaxed)), Double(capacity))
    }

    /// Whole tokens that are there.
    func tokens(now: UInt64) -> UInt64 { UInt64(max(held(now) + Self.tolerance, 0)) }

    /// Seconds until the next token comes; 0 while there is one.
    func secondsToNext(now: UInt64) -> UInt64 {
        let missing = 1 - held(now)
        return missing <= Self.tolerance ? 0 : UInt64((missing / rate / 1e9 - Self.tolerance).rounded(.up))
    }
}

extension TokenBucket {
    /// An `envoy.type.v3.TokenBucket`.
    convenience init(_ node: ConfigNode) throws(ConfigError) {
        let interval = node.nanoseconds("fill_interval", default: 0)
        guard interval >= 50_000_000 else {
            throw node.error("fill_interval", "local rate limit token bucket fill timer must be >= 50ms")
        }
        self.init(
            capacity: UInt64(node.uint32("max_tokens")), refill: UInt64(node.uint32("tokens_per_fill", default: 1)),
            interval: interval)
    }
}
