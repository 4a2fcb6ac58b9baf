import Bytes
import Reactor

/// The hosts of an ORIGINAL_DST cluster on one worker: each address that somebody meant to reach, until nothing has used it for
/// the cluster's `cleanup_interval`. Their health is not looked at, as in Envoy.
final class DestinationHosts {
    private final class Entry {
        let host: Host
        var pools: [HostPool?] = Array(repeating: nil, count: HostPool.Kind.count)
        /// Requests, or connections of other protocols, that are under way.
        var active = 0
        /// Since the last look.
        var wasUsed = true

        init(_ host: Host) { self.host = host }

        var isInUse: Bool { wasUsed || active > 0 || pools.contains { !($0?.isEmpty ?? true) } }
    }

    /// Of one worker; a further address is not served until others are forgotten.
    static let most = 65_536

    private let loop: EventLoop
    private let interval: Duration
    private var entries: [SocketAddress: Entry] = [:]
    private var names: [HostID: Entry] = [:]
    private var generation: UInt32 = 0
    private var timer = TimerHandle.none

    init(_ loop: EventLoop, interval: UInt64) {
        self.loop = loop
        self.interval = .nanoseconds(Int64(clamping: interval))
    }

    /// The host at an address; nil when there are too many.
    func host(_ address: SocketAddress) -> Host? { entry(address)?.host }

    func pool(_ address: SocketAddress, _ kind: HostPool.Kind, of cluster: ClusterState) -> HostPool? {
        guard let entry = entry(address) else { return nil }
        if let pool = entry.pools[kind.number] { return pool }
        let pool = HostPool(cluster, entry.host, kind)
        entry.pools[kind.number] = pool
        return pool
    }

    private func entry(_ address: SocketAddress) -> Entry? {
        if let entry = entries[address] {
            entry.wasUsed = true
            return entry
        }
        guard entries.count < Self.most else { return nil }
        generation &+= 1
        // No table goes by the slot: these hosts are in no host set.
        let host = Host(
            id: HostID(slot: .max, generation: generation), address: address, hostname: "", weight: 1, health: [],
            place: 0, marks: [], metadata: nil, healthySince: loop.now)
        let entry = Entry(host)
        entries[address] = entry
        names[host.id] = entry
        if entries.count == 1 { schedule() }
        return entry
    }

    func began(_ id: HostID) { names[id]?.active += 1 }
    func ended(_ id: HostID) { names[id]?.active -= 1 }

    private func schedule() {
        timer = loop.schedule(after: interval) { [weak self] in
            guard let self else { return }
            forget()
            if !entries.isEmpty { schedule() }
        }
    }

    private func forget() {
        for (address, entry) in entries {
            if !entry.isInUse {
                entries[address] = nil
                names[entry.host.id] = nil
            }
            entry.wasUsed = false
        }
    }

    func retire() {
        loop.cancel(timer)
        let pools = entries.values.flatMap(\.pools)
        entries = [:]
        for pool in pools { pool?.retire() }
    }

    /// What was counted of each.
    var stats: [(address: SocketAddress, stats: HostStats)] {
        entries.map { address, entry in
            var sum = HostStats()
            for pool in entry.pools { if let pool { sum.add(pool.hostStats) } }
            return (address, sum)
        }
    }
}
