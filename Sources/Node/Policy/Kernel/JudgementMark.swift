/// What a connection is marked with (`ct mark`) that was judged and passed: a tag, and which judgement that was.
///
/// One mark at a time is in force. A change that may forbid something takes it out of force in the same transaction, so that the next
/// packet of every connection is judged. A new one is given out later, when no packet is under way any more that was judged by
/// what was before: it could be stamped with what is now. Until then nothing is marked, which is always safe.
struct JudgementMark: Equatable, Sendable {
    /// The upper eight bits; a connection with other bits there has somebody else's mark, which is left alone.
    static let tag: UInt32 = 0x5F00_0000
    static let tagMask: UInt32 = 0xFF00_0000

    let value: UInt32

    /// - Parameter number: only its lower 24 bits count.
    init(number: UInt32) { value = Self.tag | number & ~Self.tagMask }

    /// Comes round after 16 million changes.
    var next: JudgementMark { JudgementMark(number: value &+ 1) }

    /// The mark that is in force by a table's elements; nil unless they agree on one.
    init?(_ stamp: PolicyElementValue?, isJudged: (UInt32) -> Bool) {
        guard case .number(let value) = stamp, value & Self.tagMask == Self.tag, isJudged(value) else { return nil }
        self.value = value
    }
}

extension PolicyBatch.Change {
    /// Whether a packet that passed before may not pass after this.
    var mayForbid: Bool {
        switch self {
        case .remove, .replace, .add(.profile, _): true
        case .add: false
        }
    }

    /// Whether connections are marked anew from this on.
    var putsMarkInForce: Bool {
        switch self {
        case .add(.stamp, _), .replace(.stamp, _, _): true
        default: false
        }
    }
}
