import Bytes

/// The hosts that were offered TLS and did not take it, each for some time: see `PlaintextFallback`.
struct PlaintextHosts {
    /// Beyond, one makes room and is offered TLS with its next connection.
    static let most = 4096

    private var ends: [SocketAddress: UInt64] = [:]

    func contains(_ address: SocketAddress, now: UInt64) -> Bool { now < ends[address] ?? 0 }

    mutating func add(_ address: SocketAddress, until end: UInt64, now: UInt64) {
        if ends.count >= Self.most {
            ends = ends.filter { now < $0.value }
            if ends.count >= Self.most { ends.remove(at: ends.startIndex) }
        }
        ends[address] = end
    }
}
