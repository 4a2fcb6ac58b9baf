import ClusterAPI

/// The current Services and EndpointSlices, and which Services something changed for.
///
/// A value without I/O; cost of a change is that Service's, never the cluster's.
struct ServiceModel: Sendable {
    private(set) var services: [ObjectKey: ServiceSpec] = [:]
    /// By Service.
    private var slices: [ObjectKey: [EndpointSliceSpec]] = [:]
    private var serviceOfSlice: [ObjectKey: ObjectKey] = [:]
    /// Services to be planned anew.
    private(set) var dirty: Set<ObjectKey> = []

    mutating func set(_ service: ServiceSpec) {
        guard services[service.key] != service else { return }
        services[service.key] = service
        dirty.insert(service.key)
    }

    mutating func removeService(_ key: ObjectKey) {
        guard services.removeValue(forKey: key) != nil else { return }
        dirty.insert(key)
    }

    mutating func set(_ slice: EndpointSliceSpec) {
        if let service = serviceOfSlice[slice.key], service != slice.service { removeSlice(slice.key) }
        serviceOfSlice[slice.key] = slice.service
        if let index = slices[slice.service]?.firstIndex(where: { $0.key == slice.key }) {
            guard slices[slice.service]?[index] != slice else { return }
            slices[slice.service]?[index] = slice
        } else {
            slices[slice.service, default: []].append(slice)
        }
        // Slices of Services that are not ours wait here in case they become it.
        if services[slice.service] != nil { dirty.insert(slice.service) }
    }

    mutating func removeSlice(_ key: ObjectKey) {
        guard let service = serviceOfSlice.removeValue(forKey: key) else { return }
        slices[service]?.removeAll { $0.key == key }
        if slices[service]?.isEmpty == true { slices[service] = nil }
        if services[service] != nil { dirty.insert(service) }
    }

    func slices(of service: ObjectKey) -> [EndpointSliceSpec] { slices[service] ?? [] }

    mutating func takeDirty() -> Set<ObjectKey> {
        defer { dirty = [] }
        return dirty
    }

    mutating func markDirty(_ keys: some Sequence<ObjectKey>) { dirty.formUnion(keys) }
    mutating func markAllDirty() { dirty.formUnion(services.keys) }
}
