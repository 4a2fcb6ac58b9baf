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
        var priority: Int
        var count: Int
    }

    private let levels: [Level]
    /// Of all priorities of all members in a row.
    let load: PriorityLoad

    init(_ members: [HostSet], panicThreshold: UInt8 = 50) {
        levels = members.enumerated().flatMap { number, set in
            set.availability.indices.map { Level(member: number, priority: $0, count: set.availability.count) }
        }
        load = PriorityLoad(members.flatMap(\.availability), panicThreshold: panicThreshold)
    }

    /// nil when there is no member. Draws one number; a hash makes the choice the request's own.
    func choose(hash: UInt64?, random: inout some RandomSource) -> Choice? {
        if levels.isEmpty { return nil }
        let choice = load.choose(hash ?? random.next())
        let level = levels[choice.priority]
        return Choice(
            member: level.member,
            load: PriorityLoad(only: level.priority, isDegraded: choice.isDegraded, of: level.count))
    }
}
