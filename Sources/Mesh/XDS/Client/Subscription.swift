import Bytes

/// One kind of resources on a stream: what is wanted of it, what the server was told, and what it said.
struct Subscription: Sendable {
    let kind: ResourceKind

    // MARK: What is wanted

    /// All that there are.
    private(set) var isWildcard = false
    /// By name, and by how many each.
    private(set) var wanted: [String: Int] = [:]

    // MARK: What the server of this stream knows

    /// It was asked, on this stream.
    private var hasAsked = false
    /// The names that it was told.
    private var told: Set<String> = []
    /// A name was told, so that naming none no longer means all.
    private var hasNamed = false
    private var wantsMore: Set<String> = []
    private var wantsLess: Set<String> = []
    /// What the last request gave up: the server tells of it no more, so it may be another when somebody asks again.
    private(set) var forgotten: Set<String> = []
    /// Of the newest response.
    private var nonce = ""
    /// What is to be said of it: nil when all was said, a text when it was refused.
    private var answer: (nonce: String, refusal: String?)?

    // MARK: What it said

    /// The last version that was accepted as a whole; of this stream or an earlier one.
    private(set) var version = ""
    /// Something was said, or has been waited for long enough.
    private(set) var isKnown = false
    var record = SubscriptionRecord()

    init(_ kind: ResourceKind) { self.kind = kind }

    var isActive: Bool { isWildcard || !wanted.isEmpty }

    func wants(_ name: String) -> Bool { isWildcard || wanted[name] != nil }

    /// The server of this stream was told that it is wanted.
    func isTold(_ name: String) -> Bool { told.contains(name) }

    // MARK: Interest

    /// True when nobody wanted it before.
    mutating func add(_ name: String) -> Bool {
        wanted[name, default: 0] += 1
        guard wanted[name] == 1 else { return false }
        wantsLess.remove(name)
        wantsMore.insert(name)
        return true
    }

    /// True when nobody wants it any more.
    mutating func remove(_ name: String) -> Bool {
        guard let count = wanted[name] else { return false }
        guard count == 1 else {
            wanted[name] = count - 1
            return false
        }
        wanted[name] = nil
        wantsMore.remove(name)
        if told.contains(name) { wantsLess.insert(name) }
        record.forget(name)
        return true
    }

    mutating func addAll() { isWildcard = true }

    // MARK: The stream

    /// Another stream, whose server knows nothing.
    mutating func begin() {
        hasAsked = false
        told = []
        hasNamed = false
        wantsMore = Set(wanted.keys)
        wantsLess = []
        nonce = ""
        answer = nil
    }

    /// A response has come; it waits to be settled.
    mutating func received(_ nonce: String) { self.nonce = nonce }

    /// What became of the response. `refusal` says why not all of it is used.
    mutating func settle(_ nonce: String, version: String, refusal: String?) {
        answer = (nonce, refusal)
        settleUnanswered(version: version, refusal: refusal)
    }

    /// As above when the stream that it came on is gone.
    mutating func settleUnanswered(version: String, refusal: String?) {
        isKnown = true
        if refusal == nil { self.version = version }
    }

    mutating func gaveUpWaiting() { isKnown = true }

    /// What the server has to be told; nil for nothing.
    /// - Parameter held: versions in hand, for the first request of a stream.
    mutating func request(
        _ form: DiscoveryForm, held: () -> [(name: String, version: String)]
    ) -> DiscoveryRequest? {
        let isFirst = !hasAsked
        if isFirst {
            // A server that knows nothing of us need not hear that nothing is wanted.
            guard isActive else { return nil }
        } else {
            guard answer != nil || !wantsMore.isEmpty || !wantsLess.isEmpty else { return nil }
        }
        hasAsked = true
        var request = DiscoveryRequest()
        request.refusal = answer?.refusal
        switch form {
        case .stateOfTheWorld:
            request.version = version
            // What was answered last, also in a request that answers nothing.
            request.nonce = answer?.nonce ?? nonce
            request.names = wanted.keys.sorted()
            if isWildcard, !wanted.isEmpty || hasNamed { request.names.insert("*", at: 0) }
        case .delta:
            request.nonce = answer?.nonce ?? ""
            request.names = wantsMore.sorted()
            request.dropped = wantsLess.sorted()
            // All was asked for by naming nothing; from the first name on it has to be said.
            if isWildcard, !hasNamed, !wantsMore.isEmpty { request.names.insert("*", at: 0) }
            if isFirst { request.held = held() }
        }
        if !request.names.isEmpty { hasNamed = true }
        told.formUnion(wantsMore)
        told.subtract(wantsLess)
        forgotten = wantsLess
        wantsMore = []
        wantsLess = []
        answer = nil
        return request
    }
}
