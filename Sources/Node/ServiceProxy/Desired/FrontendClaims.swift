import ClusterAPI

/// Which Service has which frontend, where several claim one address, protocol and port: the oldest, the first by name of
/// those of one age, whatever the order in which they came, so that a restart changes nothing.
struct FrontendClaims: Sendable {
    /// A Service, by age and name.
    struct Claimant: Hashable, Comparable, Sendable {
        /// Seconds since 1970.
        var created: Int64
        var key: ObjectKey

        static func < (a: Self, b: Self) -> Bool { (a.created, a.key) < (b.created, b.key) }
    }

    enum Outcome: Equatable {
        case owned
        /// Owned, and taken from a younger one, which waits now.
        case taken(from: ObjectKey)
        /// An older one has it.
        case waits
    }

    private var owners: [ServiceElementKey: Claimant] = [:]
    /// Whoever lets go of a frontend wakes those that wait for it.
    private var waiting: [ServiceElementKey: Set<ObjectKey>] = [:]
    private var conflicts: [FrontendConflict] = []

    /// Frontends that some Service does not have because another one has it.
    var contested: Int { waiting.count }

    mutating func claim(_ element: ServiceElementKey, by claimant: Claimant) -> Outcome {
        guard let owner = owners[element], owner.key != claimant.key else {
            owners[element] = claimant
            return .owned
        }
        guard claimant < owner else {
            wait(claimant.key, for: element, owner: owner.key)
            return .waits
        }
        owners[element] = claimant
        wait(owner.key, for: element, owner: claimant.key)
        return .taken(from: owner.key)
    }

    /// Those who wait for it, and may claim it now.
    mutating func release(_ element: ServiceElementKey) -> Set<ObjectKey> {
        owners[element] = nil
        return waiting[element] ?? []
    }

    mutating func stopWaiting(_ key: ObjectKey, for element: ServiceElementKey) {
        waiting[element]?.remove(key)
        if waiting[element]?.isEmpty == true { waiting[element] = nil }
    }

    /// Those that came up since the last call.
    mutating func takeConflicts() -> [FrontendConflict] {
        defer { conflicts = [] }
        return conflicts
    }

    private mutating func wait(_ key: ObjectKey, for element: ServiceElementKey, owner: ObjectKey) {
        guard waiting[element, default: []].insert(key).inserted else { return }
        conflicts.append(FrontendConflict(element: element, owner: owner, loser: key))
    }
}
