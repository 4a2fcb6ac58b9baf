/// The clusters that an aggregate cluster stands for, on one worker, and how load is shared among them as they stand now.
final class AggregateMembers {
    private unowned let worker: ProxyWorker
    private let ids: [ClusterID]
    private let panicThreshold: UInt8
    /// Those that there are.
    private var members: [ClusterState] = []
    /// What `set` was made from.
    private var seen: [ClusterSnapshot] = []
    private var set: AggregateSet

    init(_ ids: [ClusterID], panicThreshold: UInt8, _ worker: ProxyWorker) {
        self.worker = worker
        self.ids = ids
        self.panicThreshold = panicThreshold
        set = AggregateSet([])
    }

    /// The member that the next attempt goes to, and what its balancer is to be asked with.
    func choose(hash: UInt64?) -> (member: ClusterState, load: PriorityLoad)? {
        if hasChanged { gather() }
        guard let choice = set.choose(hash: hash, random: &worker.random) else { return nil }
        return (members[choice.member], choice.load)
    }

    private var hasChanged: Bool {
        var number = 0
        for id in ids {
            guard let member = worker.cluster(id) else { continue }
            guard number < seen.count, members[number] === member, seen[number] === member.snapshot else { return true }
            number += 1
        }
        return number != seen.count
    }

    private func gather() {
        members = ids.compactMap { worker.cluster($0) }
        seen = members.map(\.snapshot)
        set = AggregateSet(seen.map(\.hosts), panicThreshold: panicThreshold)
    }
}
