/// How far a worker holds back now; shares go from 0 to 1.
struct OverloadLevels: Hashable, Sendable {
    /// Of requests that are refused.
    var refusedRequests = 0.0
    /// Of responses after which the connection closes.
    var endedConnections = 0.0
    /// Of connections that are closed as they come.
    var refusedConnections = 0.0
    /// Connections wait in the kernel's queue.
    var stopsAccepting = false

    static let none = OverloadLevels()
}

extension ProxyWorker {
    /// Whether this occasion is one of the share.
    @inline(__always)
    func happens(_ share: Double) -> Bool { share > 0 && Double(random.next() >> 11) * 0x1p-53 < share }
}
