/// How listeners came and went on the workers, each worker for itself, for statistics.
struct ListenerChanges: Sendable {
    var creations: UInt64 = 0
    /// Addresses that could not be had; once for all workers.
    var creationFailures: UInt64 = 0
    /// Only chains changed, and what they did not touch stayed; once for all workers.
    var updatesInPlace: UInt64 = 0
    var stopped: UInt64 = 0
}
