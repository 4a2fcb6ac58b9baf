import Bytes

/// What is counted of a subscription, under Envoy's names: all of a kind, or one resource by its name. Files and control planes
/// alike.
public struct SubscriptionCounters: Hashable, Sendable {
    public var attempts: UInt64 = 0
    public var successes: UInt64 = 0
    /// Streams that ended, files that could not be read.
    public var failures: UInt64 = 0
    /// What came is not usable.
    public var rejections: UInt64 = 0
    public var fetchTimeouts: UInt64 = 0
    /// Nothing was said of what is asked for.
    public var empty: UInt64 = 0
    /// What is in use is another since.
    public var reloads: UInt64 = 0
    /// Milliseconds since 1970 of the last success, 0 before.
    public var updated: Int64 = 0
    /// The same of the last reload.
    public var reloaded: Int64 = 0
    /// The last one that was accepted.
    public var version = ""

    public init() {}

    /// What came is used. Attempts are counted by who makes them.
    public mutating func succeeded(_ version: String, reloads: Bool, at time: Timestamp) {
        successes &+= 1
        updated = time.seconds * 1000 + Int64(time.nanoseconds) / 1_000_000
        self.version = version
        guard reloads else { return }
        self.reloads &+= 1
        reloaded = updated
    }
}
