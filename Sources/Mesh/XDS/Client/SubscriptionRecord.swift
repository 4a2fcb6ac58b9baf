import Bytes

/// What there is to tell of one kind: of each resource how it stands, and what was counted.
struct SubscriptionRecord: Sendable {
    /// Those of which nothing was heard, and until when that is waited for, in nanoseconds.
    private(set) var awaited: [String: UInt64] = [:]
    private(set) var absent: Set<String> = []
    private(set) var timedOut: Set<String> = []
    private(set) var refused: [String: ResourceStatus.Failure] = [:]
    private(set) var updated: [String: Timestamp] = [:]
    /// Until when resources are good, in nanoseconds.
    private(set) var expiries: [String: UInt64] = [:]
    /// Of the kind.
    var counters = SubscriptionCounters()
    /// Of each that is wanted by its name.
    private(set) var named: [String: SubscriptionCounters] = [:]

    mutating func await(_ name: String, until deadline: UInt64) { awaited[name] = deadline }

    mutating func asked(_ name: String) { named[name, default: SubscriptionCounters()].attempts &+= 1 }

    /// What came of a name, if it is one that is wanted.
    mutating func count(_ name: String, _ body: (inout SubscriptionCounters) -> Void) {
        guard named[name] != nil else { return }
        named[name]?.attempts &+= 1
        body(&named[name, default: SubscriptionCounters()])
    }

    /// The stream has ended.
    mutating func streamEnded() {
        counters.failures &+= 1
        counters.attempts &+= 1
        for name in named.keys { count(name) { $0.failures &+= 1 } }
    }

    /// Nobody asks for it any more.
    mutating func forget(_ name: String) {
        named[name] = nil
        clear(name)
    }

    private mutating func clear(_ name: String) {
        (awaited[name], refused[name], updated[name], expiries[name]) = (nil, nil, nil, nil)
        absent.remove(name)
        timedOut.remove(name)
    }

    mutating func accepted(_ name: String, changed time: Timestamp?, until expiry: UInt64?) {
        (awaited[name], refused[name], expiries[name]) = (nil, nil, expiry)
        absent.remove(name)
        timedOut.remove(name)
        if let time { updated[name] = time }
    }

    mutating func refused(_ name: String, _ failure: ResourceStatus.Failure) {
        awaited[name] = nil
        timedOut.remove(name)
        refused[name] = failure
    }

    /// The server says that there is none.
    mutating func gone(_ name: String, isWanted: Bool) {
        clear(name)
        if isWanted { absent.insert(name) }
    }

    mutating func renew(_ name: String, until expiry: UInt64) { expiries[name] = expiry }

    /// Those whose time is over.
    mutating func takeExpired(_ now: UInt64) -> [String] {
        let names = expiries.filter { $0.value <= now }.keys.sorted()
        for name in names { expiries[name] = nil }
        return names
    }

    mutating func takeTimedOut(_ now: UInt64) -> [String] {
        let names = awaited.filter { $0.value <= now }.keys.sorted()
        for name in names {
            awaited[name] = nil
            timedOut.insert(name)
            named[name]?.fetchTimeouts &+= 1
        }
        return names
    }

    var deadline: UInt64 { min(awaited.values.min() ?? .max, expiries.values.min() ?? .max) }
}
