import Bytes
import Reactor

/// Hands out hosts' names from one snapshot to the next: who was there keeps the name, who is new gets a free one.
struct HostRoll {
    private struct Address: Hashable {
        var address: SocketAddress
        /// The same address may be named twice; then the second is another host.
        var occurrence: Int
    }

    private(set) var generations: [UInt32]
    private var known: [Address: Host] = [:]
    private var occurrences: [SocketAddress: Int] = [:]
    private var free: [UInt32]

    init(_ previous: HostSet?) {
        generations = previous?.generations ?? []
        var used = Array(repeating: false, count: generations.count)
        var seen: [SocketAddress: Int] = [:]
        for host in previous.map({ Array($0.hosts) }) ?? [] {
            used[Int(host.id.slot)] = true
            known[Address(address: host.address, occurrence: seen[host.address, default: 0])] = host
            seen[host.address, default: 0] += 1
        }
        free = used.indices.reversed().filter { !used[$0] }.map(UInt32.init)
    }

    /// Those who were there and have not entered again, in the order of their slots.
    var left: [Host] { known.values.sorted { $0.id.slot < $1.id.slot } }

    mutating func enter(_ endpoint: Endpoint, place: UInt32, _ membership: Membership, _ now: MonotonicTime) -> Host {
        let occurrence = occurrences[endpoint.address, default: 0]
        occurrences[endpoint.address] = occurrence + 1
        let before = known.removeValue(forKey: Address(address: endpoint.address, occurrence: occurrence))
        let kept =
            before.map { $0.health.subtracting([.fromDiscovery, .pendingRemoval]) }
            ?? (endpoint.metadata?.health?.isDisabled == true ? [] : membership.newHosts)
        return Host(
            id: before?.id ?? newID(), address: endpoint.address, hostname: endpoint.hostname, weight: endpoint.weight,
            health: kept.union(endpoint.health), place: place, marks: endpoint.marks, metadata: endpoint.metadata,
            healthySince: before?.healthySince ?? now)
    }

    /// A host that discovery dropped and that stays for now.
    mutating func keep(_ host: Host, place: UInt32) -> Host {
        var host = host
        host.health.insert(.pendingRemoval)
        host.place = place
        return host
    }

    private mutating func newID() -> HostID {
        if let slot = free.popLast() {
            generations[Int(slot)] &+= 1
            return HostID(slot: slot, generation: generations[Int(slot)])
        }
        generations.append(1)
        return HostID(slot: UInt32(generations.count - 1), generation: 1)
    }
}
