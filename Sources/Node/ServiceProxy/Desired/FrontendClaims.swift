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

    private var owners: [Frontend: Claimant] = [:]
    /// Whoever lets go of a frontend wakes those that wait for it.
    private var waiting: [Frontend: Set<ObjectKey>] = [:]
    private var conflicts: [FrontendConflict] = []

    /// Frontends that some Service does not have because another one has it.
    var contested: Int { waiting.count }

    mutating func claim(_ frontend: Frontend, by claimant: Claimant) -> Outcome {
        guard let owner = owners[frontend], owner.key != claimant.key else {
            owners[frontend] = claimant
            return .owned
        }
        guard claimant < owner else {
            wait(claimant.key, for: frontend, owner: owner.key)
            return .waits
        }
        owners[frontend] = claimant
        wait(owner.key, for: frontend, owner: claimant.key)
        return .taken(from: owner.key)
    }

    /// Those who wait for it, and may claim it now.
    mutating func release(_ frontend: Frontend) -> Set<ObjectKey> {
        owners[frontend] = nil
        return waiting(for: frontend)
    }

    func waiting(for frontend: Frontend) -> Set<ObjectKey> { waiting[frontend] ?? [] }

    mutating func stopWaiting(_ key: ObjectKey, for frontend: Frontend) {
        waiting[frontend]?.remove(key)
        if waiting[frontend]?.isEmpty == true { waiting[frontend] = nil }
    }

    /// Those that came up since the last call.
    mutating func takeConflicts() -> [FrontendConflict] {
        defer { conflicts = [] }
        return conflicts
    }

    private mutating func wait(_ key: ObjectKey, for frontend: Frontend, owner: ObjectKey) {
        guard waiting[frontend, default: []].insert(key).inserted else { return }
        conflicts.append(FrontendConflict(frontend: frontend, owner: owner, loser: key))
    }
}
