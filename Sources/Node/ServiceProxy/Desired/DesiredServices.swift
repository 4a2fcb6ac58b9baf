import Bytes
import ClusterAPI
import Delta

/// From the plans of Services to the elements that should be in the table: keeps ids and slots, and who claims which
/// frontend. A value without I/O, for one address family.
struct DesiredServices: Sendable {
    typealias Tracker = DeltaTracker<ServiceElementKey, ServiceElementValue>

    /// Desired and actual elements; the kernel's side confirms here.
    var tracker = Tracker()
    private var applied: [ObjectKey: Applied] = [:]
    private var ids = ListIdentifiers()
    /// Frontends that a Service wants and another has: whoever lets go makes the waiting ones dirty.
    private var waiting: [ServiceElementKey: Set<ObjectKey>] = [:]
    private var owners: [ServiceElementKey: ObjectKey] = [:]
    /// Cluster IPs and hairpin addresses are shared by Services: present while somebody wants them.
    private var shares: [ServiceElementKey: Int] = [:]

    /// What a Service has in the tracker.
    private struct Applied: Sendable {
        var lists: [ListName: (id: UInt32, slots: Int)] = [:]
        var frontends: [ServiceElementKey] = []
        var shared: [ServiceElementKey] = []
    }

    private struct ListName: Hashable, Sendable {
        var port: String
        var transport: Transport
        var kind: ListKind
    }

    var serviceCount: Int { applied.count }

    /// The table was read: ids that it uses must not be given to others.
    mutating func adoptIdentifiers() {
        for (key, _) in tracker.allActual {
            if case .endpoint(let list, _) = key { ids.reserve(list) }
        }
        for (_, value) in tracker.allActual {
            if case .dispatch(let dispatch) = value { ids.reserve(dispatch.list) }
        }
    }

    /// All Services were planned and the table is theirs alone.
    mutating func settleIdentifiers() { ids.settle() }

    /// Makes the Service's elements those of its plan. Returns other Services that must be planned again, because a
    /// frontend that they wait for is free now.
    mutating func apply(_ plan: ServicePlan, for key: ObjectKey) -> Set<ObjectKey> {
        let before = applied[key] ?? Applied()
        var now = Applied()
        for port in plan.ports { apply(port, of: key, before: before, now: &now) }
        now.shared = Set(plan.clusterIPs).map { .clusterIP($0) } + plan.hairpins.map { .hairpin($0) }
        for element in Set(now.shared).subtracting(before.shared) { retain(element) }
        for element in Set(before.shared).subtracting(now.shared) { release(element) }
        var freed: Set<ObjectKey> = []
        for element in Set(before.frontends).subtracting(now.frontends) {
            owners[element] = nil
            tracker.abandon(element)
            freed.formUnion(waiting.removeValue(forKey: element) ?? [])
        }
        for (name, list) in before.lists where now.lists[name]?.id != list.id {
            setSlots([], of: list.id, had: list.slots)
            ids.release(list.id)
        }
        let isGone = plan.ports.isEmpty && now.shared.isEmpty
        applied[key] = isGone ? nil : now
        if isGone { for element in waiting.keys { waiting[element]?.remove(key) } }
        return freed.subtracting([key])
    }

    private mutating func apply(_ port: PortPlan, of key: ObjectKey, before: Applied, now: inout Applied) {
        var dispatches: [ListKind: (SlotClass, UInt32)] = [:]
        for (kind, endpoints) in port.lists {
            let name = ListName(port: port.name, transport: port.transport, kind: kind)
            guard let slotClass = SlotClass(endpoints: endpoints.count) else { continue }
            let known = before.lists[name]
            guard let id = known?.id ?? adopted(port, kind) ?? ids.take() else { continue }
            ids.hold(id)
            let had = known?.slots ?? presentSlots(of: id)
            let present = (0..<had).map { slot -> Endpoint? in
                let element = ServiceElementKey.endpoint(list: id, slot: UInt32(slot))
                guard case .endpoint(let address, let port)? = tracker.desired(element) ?? tracker.actual(element)
                else { return nil }
                return Endpoint(address: address, port: port)
            }
            setSlots(SlotTable.assign(endpoints, present: present, slots: slotClass.slots), of: id, had: had)
            now.lists[name] = (id, slotClass.slots)
            dispatches[kind] = (slotClass, id)
        }
        for (isExternal, frontends) in [(false, port.frontends), (true, port.external)] {
            for (frontend, verdict) in frontends {
                let element = ServiceElementKey(frontend, external: isExternal)
                if let owner = owners[element], owner != key {
                    waiting[element, default: []].insert(key)
                    continue
                }
                let value: Dispatch
                switch verdict {
                case .reject: value = Dispatch(.reject, list: 0)
                case .drop: value = Dispatch(.drop, list: 0)
                case .dispatch(let kind, let masquerade):
                    guard let (slotClass, id) = dispatches[kind] else { continue }
                    value = Dispatch(slotClass, masquerade: masquerade, list: id)
                }
                owners[element] = key
                now.frontends.append(element)
                tracker.desire(element, .dispatch(value))
            }
        }
    }

    /// The id that the table of a former run has for this list, if nobody else took it meanwhile.
    private func adopted(_ port: PortPlan, _ kind: ListKind) -> UInt32? {
        for (isExternal, frontends) in [(false, port.frontends), (true, port.external)] {
            for (frontend, verdict) in frontends {
                guard case .dispatch(kind, _) = verdict,
                    case .dispatch(let dispatch)? = tracker.actual(ServiceElementKey(frontend, external: isExternal)),
                    dispatch.slotClass.slots > 0, !ids.isTaken(dispatch.list)
                else { continue }
                return dispatch.list
            }
        }
        return nil
    }

    private func presentSlots(of id: UInt32) -> Int {
        var slots = 0
        while tracker.actual(.endpoint(list: id, slot: UInt32(slots))) != nil { slots += 1 }
        return slots
    }

    private mutating func setSlots(_ endpoints: [Endpoint], of id: UInt32, had: Int) {
        for (slot, endpoint) in endpoints.enumerated() {
            tracker.desire(.endpoint(list: id, slot: UInt32(slot)), .endpoint(endpoint.address, endpoint.port))
        }
        guard had > endpoints.count else { return }
        for slot in endpoints.count..<had { tracker.abandon(.endpoint(list: id, slot: UInt32(slot))) }
    }

    private mutating func retain(_ element: ServiceElementKey) {
        shares[element, default: 0] += 1
        tracker.desire(element, .present)
    }

    private mutating func release(_ element: ServiceElementKey) {
        let left = (shares[element] ?? 0) - 1
        shares[element] = left > 0 ? left : nil
        if left <= 0 { tracker.abandon(element) }
    }

    // MARK: Node port addresses

    private var nodeAddresses: Set<IPAddress> = []

    /// The addresses on which node ports answer.
    mutating func setNodeAddresses(_ addresses: Set<IPAddress>) {
        for address in nodeAddresses.subtracting(addresses) { tracker.abandon(.nodeAddress(address)) }
        for address in addresses { tracker.desire(.nodeAddress(address), .present) }
        nodeAddresses = addresses
    }
}

/// Numbers of endpoint lists: given out once until they are released. 0 is none.
struct ListIdentifiers: Sendable {
    private var taken: Set<UInt32> = []
    private var reserved: Set<UInt32> = []
    private var next: UInt32 = 1

    func isTaken(_ id: UInt32) -> Bool { taken.contains(id) }

    /// It is in use, here or by what an adopted table still holds.
    mutating func reserve(_ id: UInt32) { if id != 0 { reserved.insert(id) } }

    mutating func hold(_ id: UInt32) {
        taken.insert(id)
        reserved.insert(id)
    }

    /// What an adopted table still held, and nobody took over, is gone.
    mutating func settle() { reserved = taken }

    /// nil when all are in use.
    mutating func take() -> UInt32? {
        guard reserved.count < Dispatch.maximumLists - 1 else { return nil }
        while next == 0 || reserved.contains(next) { next = (next + 1) & Dispatch.listMask }
        defer { next = (next + 1) & Dispatch.listMask }
        hold(next)
        return next
    }

    mutating func release(_ id: UInt32) {
        taken.remove(id)
        reserved.remove(id)
    }
}
