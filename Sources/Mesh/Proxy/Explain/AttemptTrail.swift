import Bytes

/// The attempts of a stream, as far as there is room: which host, from when to when, and how it ended.
struct AttemptTrail {
    enum Outcome: UInt8 {
        /// No answer, and no reason why: the stream let go of it.
        case dropped
        case answered, timedOut, failed
    }

    struct Entry {
        var host: SocketAddress?
        var outcome = Outcome.dropped
        var failure = StreamReset.localReset
        var isReused = false
        var status: UInt16 = 0
        /// Nanoseconds of the monotonic clock; 0 for what did not happen.
        var began: UInt64 = 0
        var ready: UInt64 = 0
        var ended: UInt64 = 0
    }

    /// More are counted and not kept.
    static let capacity = 4
    private var entries = InlineArray<4, Entry>(repeating: Entry())
    /// Of all attempts.
    private(set) var count = 0
    /// Why the last connection that failed did, in words.
    var failure = ""

    var kept: Int { min(count, Self.capacity) }
    subscript(index: Int) -> Entry { entries[index] }

    @inline(__always)
    mutating func begin(_ host: SocketAddress, at now: UInt64) {
        count &+= 1
        guard count <= Self.capacity else { return }
        entries[count &- 1] = Entry(host: host, began: now)
    }

    @inline(__always)
    mutating func ready(at now: UInt64, isReused: Bool) {
        guard count > 0, count <= Self.capacity else { return }
        entries[count &- 1].ready = now
        entries[count &- 1].isReused = isReused
    }

    @inline(__always)
    mutating func ended(_ outcome: Outcome, status: Int = 0, failure: StreamReset = .localReset, at now: UInt64) {
        guard count > 0, count <= Self.capacity else { return }
        entries[count &- 1].outcome = outcome
        entries[count &- 1].status = UInt16(clamping: status)
        entries[count &- 1].failure = failure
        entries[count &- 1].ended = now
    }

    /// Takes over what another has, which need not be kept there.
    mutating func take(_ other: inout AttemptTrail) { swap(&self, &other) }

    mutating func clear() {
        count = 0
        if !failure.isEmpty { failure = "" }
    }
}
