/// The resources that one source has said so far, by kind and name.
///
/// Static configuration, files and control planes all go through here, so what uses resources sees changes and never
/// whole states: what is unchanged keeps its connections, statistics and warm state. What is held is bytes; updates carry the
/// messages. A value without I/O.
public struct ResourceSet: Sendable {
    private var resources: [ResourceKind: [String: Resource]] = [:]

    public init() {}

    public subscript(kind: ResourceKind, name: String) -> Resource? { resources[kind]?[name] }

    /// All of a kind, by name.
    public func all(_ kind: ResourceKind) -> [Resource] {
        (resources[kind] ?? [:]).values.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    public func count(_ kind: ResourceKind) -> Int { resources[kind]?.count ?? 0 }

    /// Takes a state of the world: all resources of a kind that its source has, or those that were asked for.
    /// - Parameter resources: Names differ.
    public mutating func replace(_ kind: ResourceKind, with resources: [Resource]) -> ResourceUpdate {
        change(kind, resources, removing: absent(kind, from: resources))
    }

    /// What a state of the world takes away by not naming it.
    func absent(_ kind: ResourceKind, from resources: [Resource]) -> [String] {
        guard kind.isCompleteState, let held = self.resources[kind] else { return [] }
        let names = Set(resources.map(\.name))
        return held.keys.filter { !names.contains($0) }
    }

    /// Takes a change: what is new or different, and what is gone. Names that nobody knows are gone already.
    public mutating func change(_ kind: ResourceKind, _ resources: [Resource], removing names: [String])
        -> ResourceUpdate
    {
        let update = difference(kind, resources, removing: names)
        for resource in resources {
            // Also when nothing changed: its version and its place may be new.
            let held = resource.atRest
            self.resources[kind, default: [:]][held.name] = held
        }
        for name in update.removed { self.resources[kind]?[name] = nil }
        return update
    }

    /// What `change` would make of it.
    func difference(_ kind: ResourceKind, _ resources: [Resource], removing names: [String]) -> ResourceUpdate {
        var update = ResourceUpdate(kind: kind)
        for resource in resources {
            assert(resource.kind == kind, "a \(resource.kind) among \(kind)s")
            switch self.resources[kind]?[resource.name]?.bytes {
            case nil: update.added.append(resource)
            case resource.bytes?: update.unchanged += 1
            default: update.updated.append(resource)
            }
        }
        update.removed = names.sorted().filter { self.resources[kind]?[$0] != nil }
        return update
    }
}

/// What a source's word changed. Order is that of the source; of the removed ones that of their names.
public struct ResourceUpdate: Sendable {
    public let kind: ResourceKind
    public var added: [Resource] = []
    public var updated: [Resource] = []
    public var removed: [String] = []
    /// How many are as they were.
    public var unchanged = 0

    public init(kind: ResourceKind) { self.kind = kind }

    public var isEmpty: Bool { added.isEmpty && updated.isEmpty && removed.isEmpty }
}
