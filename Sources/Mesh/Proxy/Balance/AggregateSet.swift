import Bytes

/// Clusters one after another as if they were priorities of one: load goes to the first as long as it can carry it.
///
/// Chooses a cluster and the priority in it; the host is then picked by that cluster's own balancer. An immutable snapshot,
/// made anew when one of the members changes.
struct AggregateSet: Sendable {
    struct Choice: Hashable, Sendable {
        /// By the order of the configuration.
        var member: Int
        /// What the member's pick is to be asked with.
        var load: PriorityLoad
    }

    private struct Level: Sendable {
        var member: Int
        /// Everything to this priority of the member, made once.
        var healthy: PriorityLoad
        var degraded: PriorityLoad
    }

    private let levels: [Level]
    /// Of all priorities of all members in a row.
    let load: PriorityLoad

    init(_ members: [HostSet], panicThreshold: UInt8 = 50) {
        levels = members.enumerated().flatMap { number, set in
            let count = set.availability.count
            return set.availability.indices.map { priority in
                Level(
                    member: number, healthy: PriorityLoad(only: priority, isDegraded: false, of: count),
                    degraded: PriorityLoad(only: priority, isDegraded: true, of: count))
            }
        }
        load = PriorityLoad(members.flatMap(\.availability), panicThreshold: panicThreshold)
    }

    /// nil when there is no member. Draws one number; a hash makes the choice the request's own.
    func choose(hash: UInt64?, random: inout some RandomSource) -> Choice? {
        if levels.isEmpty { return nil }
        let choice = load.choose(hash ?? random.next())
        let level = levels[choice.priority]
        return Choice(member: level.member, load: choice.isDegraded ? level.degraded : level.healthy)
    }
}
