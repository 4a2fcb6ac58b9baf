/// The last requests of a worker, those that failed apart from the others, so that traffic does not wash them away. A record is
/// written over when its turn comes again; memory is touched as it is used.
struct RequestRing: ~Copyable {
    private let capacity: Int
    private let records: UnsafeMutablePointer<RequestRecord>
    private var written = 0

    init(capacity: Int) {
        self.capacity = capacity
        records = .allocate(capacity: capacity)
    }

    deinit {
        records.deinitialize(count: min(written, capacity))
        records.deallocate()
    }

    mutating func take(_ stream: HTTPStream) {
        guard capacity > 0 else { return }
        let place = records + written % capacity
        if written < capacity { place.initialize(to: RequestRecord()) }
        place.pointee.take(stream)
        written &+= 1
    }

    /// From the last on; stops when `body` answers false.
    func forEach(_ body: (borrowing RequestRecord) -> Bool) {
        for age in 0..<min(written, capacity) {
            guard body(records[(written &- 1 &- age) % capacity]) else { return }
        }
    }
}

/// What a worker remembers for those who ask what happened.
struct RequestMemory: ~Copyable {
    private var well: RequestRing
    private var failed: RequestRing
    /// `--explain-requests`: records of requests that went well; a quarter as many of others.
    let size: Int

    /// Some 330 KB a worker, once it has carried so many.
    static let standardSize = 512
    static let largestSize = 1 << 16

    init(size: Int) {
        self.size = size
        well = RequestRing(capacity: size)
        failed = RequestRing(capacity: (size + 3) / 4)
    }

    @inline(__always)
    mutating func take(_ stream: HTTPStream) {
        guard size > 0 else { return }
        let status = stream.response.status
        let isWell =
            stream.responseFlags.isEmpty && status > 0 && status < 500
            && !(status >= 400 && stream.flags.contains(.isLocalReply))
        if isWell { well.take(stream) } else { failed.take(stream) }
    }

    /// In words: each request with an ID, from the last on.
    func explain(_ id: String, _ clock: ExplanationClock) -> [Explanation] {
        var found: [Explanation] = []
        func look(_ record: borrowing RequestRecord) -> Bool {
            if record.id.isSame(as: id) { found.append(Explanation(record, clock)) }
            return true
        }
        failed.forEach(look)
        well.forEach(look)
        return found
    }

    /// The last of those that failed, or of the others.
    func last(_ count: Int, failed wantsFailed: Bool, _ clock: ExplanationClock) -> [Explanation] {
        var found: [Explanation] = []
        func take(_ record: borrowing RequestRecord) -> Bool {
            guard found.count < count else { return false }
            found.append(Explanation(record, clock))
            return true
        }
        if wantsFailed { failed.forEach(take) } else { well.forEach(take) }
        return found
    }
}
