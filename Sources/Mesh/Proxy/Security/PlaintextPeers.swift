import Bytes

/// Addresses that are known not to speak TLS, each for some time: hosts that were offered it and did not take it (`PlaintextFallback`), clients
/// that came without (`ServerFirst`).
struct PlaintextPeers {
    /// Beyond, one makes room, and is not known any more.
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
