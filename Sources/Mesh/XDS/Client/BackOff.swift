import Bytes

/// How long to wait before the next try: anything up to a bound that doubles with each failure, so that the clients of a server
/// that comes back do not come back together.
struct BackOff: Sendable {
    /// Nanoseconds. Envoy's figures.
    static let first: UInt64 = 500_000_000
    static let most: UInt64 = 30_000_000_000

    private var bound = first

    mutating func next(_ random: inout some RandomSource) -> UInt64 {
        let wait = random.next(upperBound: bound)
        bound = min(bound * 2, Self.most)
        return wait
    }

    mutating func reset() { bound = Self.first }
}
