import ClusterAPI

/// The current Services and EndpointSlices, and which Services something changed for.
///
/// A value without I/O; cost of a change is that Service's, never the cluster's.
struct ServiceModel: Sendable {
    private var services: [ObjectKey: Shared<ServiceSpec>] = [:]
    private var slices: [ObjectKey: Shared<EndpointSliceSpec>] = [:]
    private var slicesOfService: [ObjectKey: [Shared<EndpointSliceSpec>]] = [:]
    /// Services to be planned anew.
    private(set) var dirty: Set<ObjectKey> = []

    var serviceCount: Int { services.count }

    func service(_ key: ObjectKey) -> ServiceSpec? { services[key]?.value }

    func slices(of service: ObjectKey) -> [EndpointSliceSpec] { slicesOfService[service]?.map(\.value) ?? [] }

    mutating func set(_ service: Shared<ServiceSpec>) {
        let former = services.updateValue(service, forKey: service.value.key)
        if former?.value != service.value { dirty.insert(service.value.key) }
    }

    mutating func removeService(_ key: ObjectKey) {
        guard services.removeValue(forKey: key) != nil else { return }
        dirty.insert(key)
    }

    mutating func set(_ slice: Shared<EndpointSliceSpec>) {
        let (key, service) = (slice.value.key, slice.value.service)
        if let former = slices[key], former.value.service != service { removeSlice(key) }
        let former = slices.updateValue(slice, forKey: key)
        if let former, let index = slicesOfService[service]?.firstIndex(where: { $0 === former }) {
            slicesOfService[service]?[index] = slice
            guard former.value != slice.value else { return }
        } else {
            slicesOfService[service, default: []].append(slice)
        }
        // Slices of Services that are not ours wait here in case they become it.
        if services[service] != nil { dirty.insert(service) }
    }

    mutating func removeSlice(_ key: ObjectKey) {
        guard let slice = slices.removeValue(forKey: key) else { return }
        let service = slice.value.service
        slicesOfService[service]?.removeAll { $0 === slice }
        if slicesOfService[service]?.isEmpty == true { slicesOfService[service] = nil }
        if services[service] != nil { dirty.insert(service) }
    }

    mutating func takeDirty() -> Set<ObjectKey> {
        defer { dirty = [] }
        return dirty
    }

    mutating func markDirty(where isMeant: (ServiceSpec) -> Bool) {
        for (key, service) in services where isMeant(service.value) { dirty.insert(key) }
    }
}
