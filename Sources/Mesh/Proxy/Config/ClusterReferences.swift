/// Which clusters the listeners and route tables that are in use, or on their way, lead to: pure.
struct ClusterReferences {
    enum Holder: Hashable {
        case listener(String)
        /// By place.
        case routes(Int)
        /// Of a table that waits for its clusters.
        case comingRoutes(Int)
    }

    private var holders: [Holder: Set<ClusterID>] = [:]
    /// Those that are asked for by name.
    private(set) var followed: Set<ClusterID> = []
    private var awaited: Set<ClusterID> = []

    /// - Returns: What is to be asked for: nobody has referred to it before.
    mutating func set(_ holder: Holder, _ ids: Set<ClusterID>) -> Set<ClusterID> {
        let known = all
        holders[holder] = ids.isEmpty ? nil : ids
        let fresh = ids.subtracting(known)
        awaited.formUnion(fresh)
        followed.formUnion(fresh)
        return fresh
    }

    /// Those that nobody refers to any more, which are forgotten.
    mutating func takeUnused() -> Set<ClusterID> {
        let unused = followed.subtracting(all)
        followed.subtract(unused)
        awaited.subtract(unused)
        return unused
    }

    mutating func settled(_ ids: Set<ClusterID>) { awaited.subtract(ids) }
    mutating func unfollow(_ ids: Set<ClusterID>) { followed.subtract(ids) }

    /// Nothing that it leads to is waited for.
    func areHere(_ holder: Holder) -> Bool { holders[holder].map { awaited.isDisjoint(with: $0) } ?? true }

    func isHeld(_ id: ClusterID) -> Bool { holders.values.contains { $0.contains(id) } }

    private var all: Set<ClusterID> { holders.values.reduce(into: []) { $0.formUnion($1) } }
}
