import XDS

/// The clusters that wait for endpoints by name, and the last word on each name. On the directory's loop.
final class EndpointSubscriptions {
    /// Endpoints, or nil when it is known that there are none to be had.
    typealias Assign = (EndpointAssignment?) -> Void

    private var subscribers: [String: [(cluster: LiveCluster, assign: Assign)]] = [:]
    private var held: [String: EndpointAssignment] = [:]

    /// `assign` is called now, when the name is there already, and whenever it changes.
    func add(_ name: String, _ cluster: LiveCluster, _ assign: @escaping Assign) {
        subscribers[name, default: []].append((cluster, assign))
        if let assignment = held[name] { assign(assignment) }
    }

    /// - Returns: Whether it was there.
    func remove(_ name: String, _ cluster: LiveCluster) -> Bool {
        guard let index = subscribers[name]?.firstIndex(where: { $0.cluster === cluster }) else { return false }
        subscribers[name]?.remove(at: index)
        if subscribers[name]?.isEmpty ?? true { subscribers[name] = nil }
        return true
    }

    /// Lets go of what is held under a name that nobody asks for.
    func forget(_ name: String) { if subscribers[name] == nil { held[name] = nil } }

    /// What a source says now. What cannot be used leaves what was before.
    func apply(_ update: ResourceUpdate) -> [ResourceRefusal] {
        var refused: [ResourceRefusal] = []
        for resource in update.added + update.updated {
            do throws(ConfigError) {
                let node = try resource.node()
                let assignment = try EndpointAssignment(node)
                try node.finish()
                held[resource.name] = assignment
                tell(resource.name, assignment)
            } catch { refused.append(ResourceRefusal(resource.name, error.description)) }
        }
        return refused
    }

    /// What its source held all along.
    func recall(_ resource: Resource) {
        guard held[resource.name] == nil else { return }
        var update = ResourceUpdate(kind: .clusterLoadAssignment)
        update.added = [resource]
        _ = apply(update)
    }

    /// Nothing is to be had under these names, for now. What was there stays.
    func giveUp(_ names: [String]) {
        for name in names where held[name] == nil { tell(name, nil) }
    }

    /// What was there is to be used no longer.
    func expire(_ names: [String]) {
        for name in names where held.removeValue(forKey: name) != nil { tell(name, EndpointAssignment([])) }
    }

    private func tell(_ name: String, _ assignment: EndpointAssignment?) {
        for (_, assign) in subscribers[name] ?? [] { assign(assignment) }
    }
}
