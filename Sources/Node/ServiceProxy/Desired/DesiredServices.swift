import Bytes
import ClusterAPI
import NodeTables

/// From the plans of Services to the elements that should be in the table: keeps ids and slots, and who claims which
/// frontend. A value without I/O, for one address family.
struct DesiredServices: Sendable {
    /// Desired and actual elements; the kernel's side confirms here.
    var tracker = ServiceElements()
    private var applied: [ObjectKey: Applied] = [:]
    private var ids = ListIdentifiers()
    private var sticky = StickyLists()
    /// Lists that could not be had, or not as wanted, because all numbers are in use: their ports are not served, or
    /// without affinity.
    private(set) var shortages = 0
    private(set) var claims = FrontendClaims()
    /// Cluster IPs and hairpin addresses are shared by Services: present while somebody wants them.
    private var shares: [ServiceElementKey: Int] = [:]

    /// What a Service has in the tracker.
    private struct Applied: Sendable {
        var lists: [List] = []
        var frontends: [ServiceElementKey] = []
        var shared: [ServiceElementKey] = []
        /// Frontends that older Services have.
        var waits: [Frontend] = []
        var sources: [AllowedSource] = []
        var created: Int64 = 0
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
        sticky.adopt(tracker)
        for list in tracker.actualLists { ids.reserve(list) }
        for list in sticky.adoptedLists { ids.reserve(list) }
        for (key, value) in tracker.allActualSingles {
            if case .endpoint(let list, _) = key { ids.reserve(list) }
            if case .dispatch(let dispatch) = value { ids.reserve(dispatch.list) }
        }
    }

    /// All Services were planned and the table is theirs alone.
    mutating func settleIdentifiers() {
        ids.settle()
        sticky.settle()
    }

    /// Makes the Service's elements those of its plan. Returns other Services that must be planned again, because a
    /// frontend that they wait for is free now, or one that they had is lost.
    mutating func apply(_ plan: ServicePlan, for key: ObjectKey) -> Set<ObjectKey> {
        let before = applied[key] ?? Applied()
        var now = Applied(created: plan.created)
        var others: Set<ObjectKey> = []
        for port in plan.ports {
            let frontends = port.frontends.keys.filter { claim($0, for: key, &now, &others) }
            apply(port, frontends, plan.clusterIPs, before: before, now: &now)
        }
        now.shared = Set(plan.clusterIPs).map { .clusterIP($0) } + plan.hairpins.map { .hairpin($0) }
        for element in Set(now.shared).subtracting(before.shared) { retain(element) }
        for element in Set(before.shared).subtracting(now.shared) { release(element) }
        for source in Set(before.sources).subtracting(now.sources) { tracker.abandon(.allowedSource(source)) }
        for element in Set(before.frontends).subtracting(now.frontends) {
            tracker.abandon(element)
            // One whose external element alone goes is still claimed.
            guard let frontend = element.frontend, element == ServiceElementKey(frontend, external: false) else {
                continue
            }
            others.formUnion(claims.release(frontend))
        }
        // Deleted and made again between two looks at it: it is the youngest now.
        if before.created < now.created {
            for frontend in now.frontends.compactMap(\.frontend) { others.formUnion(claims.waiting(for: frontend)) }
        }
        for frontend in Set(before.waits).subtracting(now.waits) { claims.stopWaiting(key, for: frontend) }
        for list in before.lists where !now.lists.contains(where: { $0.id == list.id }) {
            tracker.abandonSlots(of: list.id)
            sticky.remove(list.id, in: &tracker)
            ids.release(list.id)
        }
        let isGone = plan.ports.isEmpty && now.shared.isEmpty
        applied[key] = isGone ? nil : now
        return others.subtracting([key])
    }

    /// One port, with those of its frontends that it has.
    private mutating func apply(
        _ port: PortPlan, _ frontends: [Frontend], _ clusterIPs: [IPAddress], before: Applied, now: inout Applied
    ) {
        /// What is to be written: elements of both kinds.
        let wanted = frontends.flatMap { frontend in
            [(false, port.frontends[frontend]), (true, port.external[frontend])].compactMap { isExternal, verdict in
                verdict.map { (frontend: frontend, isExternal: isExternal, verdict: $0) }
            }
        }
        var dispatches: [ListKind: (SlotClass, UInt32)] = [:]
        for (kind, endpoints) in port.lists {
            // A list that nothing leads to is none.
            let leaders = wanted.filter { if case .dispatch(kind, _) = $0.verdict { true } else { false } }
            guard !leaders.isEmpty else { continue }
            let known = before.lists.first { $0.isOf(port, kind) }?.id
            let elements = leaders.map { ServiceElementKey($0.frontend, external: $0.isExternal) }
            guard let id = known ?? adopted(elements, clusterIPs) ?? ids.take() else {
                shortages += 1
                continue
            }
            ids.hold(id)
            now.lists.append(List(port: port.name, transport: port.transport, kind: kind, id: id))
            if let slotClass = setList(id, endpoints, port) { dispatches[kind] = (slotClass, id) }
        }
        for (frontend, isExternal, verdict) in wanted {
            let isRestricted = port.restricted.contains(frontend)
            let value: Dispatch
            switch verdict {
            case .reject: value = Dispatch(.reject, isRestricted: isRestricted, list: 0)
            case .drop: value = Dispatch(.drop, isRestricted: isRestricted, list: 0)
            case .dispatch(let kind, let masquerade):
                // One that cannot be served is refused rather than left to whoever has that address.
                let (slotClass, id) = dispatches[kind] ?? (.reject, 0)
                value = Dispatch(slotClass, masquerade: masquerade, isRestricted: isRestricted, list: id)
            }
            let element = ServiceElementKey(frontend, external: isExternal)
            now.frontends.append(element)
            tracker.desire(element, .dispatch(value))
            guard isRestricted, !isExternal, let address = frontend.address else { continue }
            for range in port.admitted {
                let source = AllowedSource(
                    address: address, transport: frontend.transport, port: frontend.port, sources: range)
                now.sources.append(source)
                tracker.desire(.allowedSource(source), .present)
            }
        }
    }

    /// Makes an endpoint list's elements what the port wants; the class for its frontends.
    private mutating func setList(_ id: UInt32, _ endpoints: [Endpoint], _ port: PortPlan) -> SlotClass? {
        guard
            let shares = SlotShares(
                endpoints, weights: port.weights, port.balancing, isSticky: port.affinity != nil)
        else { return nil }
        if let affinity = port.affinity {
            if let slotClass = sticky.set(id, shares, affinity, in: &tracker) {
                tracker.abandonSlots(of: id)
                return slotClass
            }
            shortages += 1
        }
        sticky.remove(id, in: &tracker)
        tracker.desireSlots(shares.slots(present: tracker.slots(of: id)), of: id)
        return shares.slotClass
    }

    /// Whether the frontend is the Service's. A younger one that had it loses it here and now, and is among `others`.
    private mutating func claim(
        _ frontend: Frontend, for key: ObjectKey, _ now: inout Applied, _ others: inout Set<ObjectKey>
    ) -> Bool {
        switch claims.claim(frontend, by: .init(created: now.created, key: key)) {
        case .owned:
            // Of two ports of one Service that want it the first has it.
            return !now.frontends.contains(ServiceElementKey(frontend, external: false))
        case .waits:
            now.waits.append(frontend)
            return false
        case .taken(let loser):
            for external in [false, true] {
                let element = ServiceElementKey(frontend, external: external)
                tracker.abandon(element)
                applied[loser]?.frontends.removeAll { $0 == element }
            }
            for source in applied[loser]?.sources.filter({ $0.isOf(frontend) }) ?? [] {
                tracker.abandon(.allowedSource(source))
            }
            applied[loser]?.sources.removeAll { $0.isOf(frontend) }
            applied[loser]?.waits.append(frontend)
            others.insert(loser)
            return true
        }
    }

    /// Conflicts that came up since the last call.
    mutating func takeConflicts() -> [FrontendConflict] { claims.takeConflicts() }

    /// The id of the list that the table of a former run has behind these elements, if nobody else took it meanwhile.
    /// Cluster IPs are asked first: no other Service can have had them.
    private func adopted(_ elements: [ServiceElementKey], _ clusterIPs: [IPAddress]) -> UInt32? {
        func isOwn(_ element: ServiceElementKey) -> Bool { element.frontend?.address.map(clusterIPs.contains) ?? false }
        for element in elements.filter(isOwn) + elements.filter({ !isOwn($0) }) {
            guard case .dispatch(let dispatch)? = tracker.actual(element), dispatch.list != 0,
                !ids.isTaken(dispatch.list)
            else { continue }
            return dispatch.list
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

    // MARK: Addresses that Services may get

    private var serviceRanges: Set<AddressRange> = []

    /// What is sent to addresses in these, and no Service has them, is dropped.
    mutating func setServiceRanges(_ ranges: some Sequence<AddressRange>) {
        let wanted = Set(AddressRange.disjoint(ranges))
        for range in serviceRanges.subtracting(wanted) { tracker.abandon(.serviceRange(range)) }
        for range in wanted { tracker.desire(.serviceRange(range), .present) }
        serviceRanges = wanted
    }
}
