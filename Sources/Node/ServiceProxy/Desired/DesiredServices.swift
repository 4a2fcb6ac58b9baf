import Bytes
import ClusterAPI

/// From the plans of Services to the elements that should be in the table: keeps ids and slots, and who claims which
/// frontend. A value without I/O, for one address family.
struct DesiredServices: Sendable {
    /// Desired and actual elements; the kernel's side confirms here.
    var tracker = ServiceElements()
    private var applied: [ObjectKey: Applied] = [:]
    private var ids = ListIdentifiers()
    /// Frontends that a Service wants and another has: whoever lets go makes the waiting ones dirty.
    private var waiting: [ServiceElementKey: Set<ObjectKey>] = [:]
    private var owners: [ServiceElementKey: ObjectKey] = [:]
    /// Cluster IPs and hairpin addresses are shared by Services: present while somebody wants them.
    private var shares: [ServiceElementKey: Int] = [:]

    /// What a Service has in the tracker.
    private struct Applied: Sendable {
        var lists: [List] = []
        var frontends: [ServiceElementKey] = []
        var shared: [ServiceElementKey] = []
    }

    /// One endpoint list of a Service, by what names it, and its id.
    private struct List: Sendable {
        var port: String
        var transport: Transport
        var kind: ListKind
        var id: UInt32

        func isOf(_ plan: PortPlan, _ kind: ListKind) -> Bool {
            port == plan.name && transport == plan.transport && self.kind == kind
        }
    }

    var serviceCount: Int { applied.count }

    /// The table was read: ids that it uses must not be given to others.
    mutating func adoptIdentifiers() {
        for list in tracker.actualLists { ids.reserve(list) }
        for (key, value) in tracker.allActualSingles {
            if case .endpoint(let list, _) = key { ids.reserve(list) }
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
        for list in before.lists where !now.lists.contains(where: { $0.id == list.id }) {
            tracker.abandonSlots(of: list.id)
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
            guard let slotClass = SlotClass(endpoints: endpoints.count) else { continue }
            let known = before.lists.first { $0.isOf(port, kind) }?.id
            guard let id = known ?? adopted(port, kind) ?? ids.take() else { continue }
            ids.hold(id)
            let present = tracker.slots(of: id)
            tracker.desireSlots(SlotTable.assign(endpoints, present: present, slots: slotClass.slots), of: id)
            now.lists.append(List(port: port.name, transport: port.transport, kind: kind, id: id))
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
