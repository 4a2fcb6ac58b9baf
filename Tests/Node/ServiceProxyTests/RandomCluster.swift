import Bytes
import ClusterAPI

@testable import ServiceProxy

/// Services and EndpointSlices by chance, and what a kernel that serves them must hold.
final class RandomCluster {
    private(set) var services: [ObjectKey: ServiceSpec] = [:]
    private(set) var slices: [ObjectKey: EndpointSliceSpec] = [:]
    private var count = 0
    /// Whether Services also have affinity, ways of balancing, weights, source ranges, and claim what others claim.
    private let isRich: Bool

    init(_ random: inout SplitMix64, services count: Int, isRich: Bool = false) {
        self.isRich = isRich
        for _ in 0..<count { addService(&random) }
    }

    func feed(_ proxy: ServiceProxy) {
        for service in services.values { proxy.set(service) }
        for slice in slices.values { proxy.set(slice) }
    }

    func clear(_ proxy: ServiceProxy) {
        for key in services.keys { proxy.removeService(key) }
        for key in slices.keys { proxy.removeSlice(key) }
        (services, slices) = ([:], [:])
    }

    @discardableResult
    private func addService(_ random: inout SplitMix64) -> ObjectKey {
        count += 1
        let key = ObjectKey(namespace: "test", name: "r\(count)")
        var service = ServiceSpec(
            key, clusterIPs: [IPAddress(v4: 10, 96, UInt8(count / 250), UInt8(count % 250 + 1))], ports: [])
        if Bool.random(using: &random) {
            service.clusterIPs.append(IPAddress(v6: 0xFD00_0000_0000_0000, UInt64(count)))
        }
        for port in 0..<Int.random(in: 1...3, using: &random) {
            service.ports.append(
                .init(
                    "p\(port)", Transport.allCases.randomElement(using: &random) ?? .tcp, Port(UInt16(80 + port)),
                    nodePort: Bool.random(using: &random) ? Port(UInt16(30000 + count * 4 + port)) : 0))
        }
        if Int.random(in: 0..<3, using: &random) == 0 {
            service.externalIPs = [IPAddress(v4: 192, 0, UInt8(count / 250), UInt8(count % 250 + 1))]
        }
        service.isInternalLocal = Int.random(in: 0..<4, using: &random) == 0
        service.isExternalLocal = Int.random(in: 0..<3, using: &random) == 0
        if isRich { enrich(&service, &random) }
        services[key] = service
        for part in 0..<Int.random(in: 0...2, using: &random) { setSlice(key, part, &random) }
        return key
    }

    private func enrich(_ service: inout ServiceSpec, _ random: inout SplitMix64) {
        service.created = Int64.random(in: 0...3, using: &random)
        service.affinity =
            Int.random(in: 0..<3, using: &random) == 0
            ? SessionAffinity(timeout: UInt32.random(in: 1...3, using: &random)) : nil
        service.balancing = Int.random(in: 0..<6, using: &random) == 0 ? .maglev : .random
        if Int.random(in: 0..<3, using: &random) == 0 {
            service.ingressIPs = [IPAddress(v4: 198, 51, 100, UInt8.random(in: 0...5, using: &random))]
            service.sourceRanges = (0..<Int.random(in: 0...3, using: &random)).compactMap { _ in
                CIDR(
                    IPAddress(v4: UInt32.random(in: 0...31, using: &random) << 27),
                    prefixLength: UInt8.random(in: 0...8, using: &random))?.network
            }
        }
        if Int.random(in: 0..<4, using: &random) == 0 {
            service.ports[0].nodePort = Port(UInt16(29_000 + Int.random(in: 0...3, using: &random)))
        }
    }

    private func setSlice(_ service: ObjectKey, _ part: Int, _ random: inout SplitMix64) {
        guard let spec = services[service] else { return }
        let family: IPAddress.Family = Int.random(in: 0..<3, using: &random) == 0 ? .v6 : .v4
        let many = Int.random(in: 0..<12, using: &random) == 0
        let key = ObjectKey(namespace: "test", name: "\(service.name)-\(part)")
        slices[key] = EndpointSliceSpec(
            key, of: service, family,
            ports: spec.ports.map { .init($0.name, $0.transport, Port($0.port.rawValue + 8000)) },
            endpoints: (0..<Int.random(in: 0...(many ? 90 : 6), using: &random)).map { _ in
                let host = UInt32.random(in: 1...200, using: &random)
                let flags: EndpointSliceSpec.Flags =
                    [[.ready, .serving], [.ready, .serving, .local], [.serving, .terminating], []].randomElement(
                        using: &random) ?? []
                return .init(
                    family == .v4
                        ? IPAddress(v4: 0x0AF4_0000 + host) : IPAddress(v6: 0xFD00_0001_0000_0000, UInt64(host)),
                    flags)
            })
        if isRich, Int.random(in: 0..<3, using: &random) == 0, var slice = slices[key] {
            for index in slice.endpoints.indices {
                slice.endpoints[index].weight = UInt8.random(in: 0...3, using: &random)
            }
            slices[key] = slice
        }
    }

    /// One thing changes, here and in the proxy.
    func change(_ proxy: ServiceProxy, _ random: inout SplitMix64) {
        let keys = services.keys.sorted()
        let key = keys.randomElement(using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0:
            let key = addService(&random)
            if let service = services[key] { proxy.set(service) }
            for slice in slices.values where slice.service == key { proxy.set(slice) }
        case 1:
            guard let key else { return }
            services[key] = nil
            proxy.removeService(key)
        case 2:
            guard let key, var service = services[key] else { return }
            service.isExternalLocal.toggle()
            if isRich { enrich(&service, &random) }
            service.ports.shuffle(using: &random)
            if service.ports.count > 1 { service.ports.removeLast() }
            services[key] = service
            proxy.set(service)
        case 3:
            guard let slice = slices.keys.sorted().randomElement(using: &random) else { return }
            slices[slice] = nil
            proxy.removeSlice(slice)
        default:
            guard let key else { return }
            let part = Int.random(in: 0...2, using: &random)
            setSlice(key, part, &random)
            if let slice = slices[ObjectKey(namespace: "test", name: "\(key.name)-\(part)")] { proxy.set(slice) }
        }
    }

    /// Where a kernel's elements do not serve exactly these Services; by following each frontend to its endpoints, as a
    /// packet does. Which ids, numbers and slots were chosen is the proxy's business.
    func differences(
        from state: [ServiceElementKey: ServiceElementValue], _ family: IPAddress.Family,
        _ configuration: ServiceProxyConfiguration
    ) -> [String] {
        var check = ElementCheck(state)
        let planner = ServicePlanner(family: family)
        let plans = services.values.map { service in
            (service, planner.plan(service, slices.values.filter { $0.service == service.key }))
        }
        // Of those who claim one frontend the oldest has it.
        var owners: [Frontend: (created: Int64, key: ObjectKey)] = [:]
        for (service, plan) in plans {
            for frontend in plan.ports.flatMap(\.frontends.keys) {
                let mine = (created: service.created, key: service.key)
                owners[frontend] = owners[frontend].map { $0 < mine ? $0 : mine } ?? mine
            }
        }
        for (service, plan) in plans {
            check.shared(plan)
            var met: Set<Frontend> = []
            for port in plan.ports {
                for frontend in port.frontends.keys
                where owners[frontend]?.key == service.key && met.insert(frontend).inserted {
                    for (external, verdict) in [(false, port.frontends[frontend]), (true, port.external[frontend])] {
                        guard let verdict else { continue }
                        check.frontend(ServiceElementKey(frontend, external: external), frontend, verdict, port)
                    }
                }
            }
        }
        return check.finish()
    }
}

/// Follows frontends through a kernel's elements, and remembers what nothing led to.
private struct ElementCheck {
    let state: [ServiceElementKey: ServiceElementValue]
    private var met: Set<ServiceElementKey> = []
    private var problems: [String] = []

    init(_ state: [ServiceElementKey: ServiceElementValue]) { self.state = state }

    func finish() -> [String] {
        problems + state.keys.filter { !met.contains($0) }.map { "\($0) should not be there" }
    }

    private mutating func value(_ key: ServiceElementKey) -> ServiceElementValue? {
        met.insert(key)
        if state[key] == nil { problems.append("\(key) is missing") }
        return state[key]
    }

    mutating func shared(_ plan: ServicePlan) {
        for address in plan.clusterIPs { _ = value(.clusterIP(address)) }
        for address in plan.hairpins { _ = value(.hairpin(address)) }
    }

    mutating func frontend(_ element: ServiceElementKey, _ frontend: Frontend, _ verdict: Verdict, _ port: PortPlan) {
        guard case .dispatch(let dispatch)? = value(element) else { return }
        let isRestricted = port.restricted.contains(frontend)
        if isRestricted, case .service(let address, let transport, let number) = element {
            for range in port.admitted {
                _ = value(
                    .allowedSource(.init(address: address, transport: transport, port: number, sources: range)))
            }
        }
        func expect(_ slotClass: SlotClass, _ masquerade: Masquerade = .never, _ list: UInt32 = 0) {
            let wanted = Dispatch(slotClass, masquerade: masquerade, isRestricted: isRestricted, list: list)
            if dispatch != wanted { problems.append("\(element): \(verdict), but the number is \(dispatch)") }
        }
        switch verdict {
        case .reject: expect(.reject)
        case .drop: expect(.drop)
        case .dispatch(let kind, let masquerade):
            expect(dispatch.slotClass, masquerade, dispatch.list)
            list(dispatch, port.lists[kind] ?? [], port, "\(element)")
        }
    }

    private mutating func list(_ dispatch: Dispatch, _ endpoints: [Endpoint], _ port: PortPlan, _ name: String) {
        guard
            let shares = SlotShares(
                endpoints, weights: port.weights, port.balancing, isSticky: port.affinity != nil)
        else { return }
        let slots: [Endpoint]
        if let affinity = port.affinity {
            let sticky = StickyClass(slots: shares.slotClass, affinity: affinity)
            if !dispatch.slotClass.isSticky || value(.stickyClass(dispatch.slotClass)) != .sticky(sticky) {
                problems.append("\(name): not sticky as wanted")
            }
            var members: Set<Endpoint> = []
            for case .stickyMember(dispatch.list, let number) in state.keys {
                if let endpoint = endpoint(.stickyMember(list: dispatch.list, number: number)) {
                    members.insert(endpoint)
                }
            }
            if members != Set(endpoints) { problems.append("\(name): members are \(members)") }
            slots = (0..<shares.slotClass.slots).compactMap { slot in
                guard case .member(let number)? = value(.stickySlot(list: dispatch.list, slot: UInt32(slot))) else {
                    return nil
                }
                return endpoint(.stickyMember(list: dispatch.list, number: number))
            }
        } else {
            if dispatch.slotClass != shares.slotClass { problems.append("\(name): class is \(dispatch.slotClass)") }
            slots = (0..<shares.slotClass.slots).compactMap { slot in
                endpoint(.endpoint(list: dispatch.list, slot: UInt32(slot)))
            }
        }
        let held = slots.reduce(into: [Endpoint: Int]()) { $0[$1, default: 0] += 1 }
        let wanted = shares.slots(present: []).reduce(into: [Endpoint: Int]()) { $0[$1, default: 0] += 1 }
        // Who has the odd slots of equal shares is history's choice.
        let isFair = Set(held.keys) == Set(wanted.keys) && held.allSatisfy { abs($1 - (wanted[$0] ?? 0)) <= 1 }
        if !isFair { problems.append("\(name): shares are \(held), not \(wanted)") }
        if shares.slotClass.pick != .random, slots != shares.slots(present: []) {
            problems.append("\(name): another table than on other nodes")
        }
    }

    private mutating func endpoint(_ key: ServiceElementKey) -> Endpoint? {
        guard case .endpoint(let address, let port)? = value(key) else { return nil }
        return Endpoint(address: address, port: port)
    }
}
