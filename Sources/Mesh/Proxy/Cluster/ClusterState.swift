import Bytes

/// A cluster on one worker: its pools, its place in the balancing, its counters. What stays when a new snapshot comes is
/// kept by the host's address.
package final class ClusterState {
    unowned let worker: ProxyWorker
    package private(set) var snapshot: ClusterSnapshot
    private(set) var pools: [HostPool] = []
    package var stats = ClusterStats()
    private var cursor = 0

    init(_ worker: ProxyWorker, _ snapshot: ClusterSnapshot) {
        self.worker = worker
        self.snapshot = snapshot
        pools = snapshot.hosts.map { HostPool(self, $0.address) }
    }

    /// Takes over a new snapshot: pools of hosts that stay go on, those of hosts that left finish what they carry.
    func update(_ snapshot: ClusterSnapshot) {
        var old = Dictionary(pools.map { ($0.address, $0) }) { first, _ in first }
        self.snapshot = snapshot
        pools = snapshot.hosts.map { old.removeValue(forKey: $0.address) ?? HostPool(self, $0.address) }
        for pool in old.values { pool.retire() }
    }

    func retire() {
        for pool in pools { pool.retire() }
        pools = []
    }

    /// The pool of the host that the next attempt goes to; nil when there is none.
    func choose(_ stream: HTTPStream) -> HostPool? {
        guard !pools.isEmpty else { return nil }
        cursor = cursor + 1 < pools.count ? cursor + 1 : 0
        return pools[cursor]
    }
}
