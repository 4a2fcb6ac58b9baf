import Bytes
import ClusterAPI

@testable import ServiceProxy

/// Services and EndpointSlices by chance, and what a kernel that serves them must hold.
final class RandomCluster {
    private(set) var services: [ObjectKey: ServiceSpec] = [:]
    private(set) var slices: [ObjectKey: EndpointSliceSpec] = [:]
    private var count = 0

    init(_ random: inout SplitMix64, services count: Int) {
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
        services[key] = service
        for part in 0..<Int.random(in: 0...2, using: &random) { setSlice(key, part, &random) }
        return key
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
    /// packet does. Which ids and slots were chosen is the proxy's business.
    func differences(
        from state: [ServiceElementKey: ServiceElementValue], _ family: IPAddress.Family,
        _ configuration: ServiceProxyConfiguration
    ) -> [String] {
        var problems: [String] = []
        var rest = state
        let planner = ServicePlanner(family: family)
        var followed: Set<ServiceElementKey> = []
        for (key, service) in services {
            let plan = planner.plan(service, slices.values.filter { $0.service == key })
            for address in plan.clusterIPs where rest.removeValue(forKey: .clusterIP(address)) == nil {
                problems.append("\(key): cluster IP \(address) is missing")
            }
            for address in plan.hairpins {
                if state[.hairpin(address)] == nil { problems.append("\(key): hairpin \(address) is missing") }
                rest[.hairpin(address)] = nil
            }
            for port in plan.ports {
                for (external, frontends) in [(false, port.frontends), (true, port.external)] {
                    for (frontend, verdict) in frontends {
                        let element = ServiceElementKey(frontend, external: external)
                        guard case .dispatch(let dispatch)? = rest.removeValue(forKey: element) else {
                            problems.append("\(key): \(element) is missing")
                            continue
                        }
                        switch verdict {
                        case .reject:
                            if dispatch != Dispatch(.reject, list: 0) { problems.append("\(element): no reject") }
                        case .drop: if dispatch != Dispatch(.drop, list: 0) { problems.append("\(element): no drop") }
                        case .dispatch(let kind, let masquerade):
                            if dispatch != Dispatch(dispatch.slotClass, masquerade: masquerade, list: dispatch.list) {
                                problems.append("\(element): masquerade is not \(masquerade)")
                            }
                            var slots: [Endpoint: Int] = [:]
                            for slot in 0..<dispatch.slotClass.slots {
                                let key = ServiceElementKey.endpoint(list: dispatch.list, slot: UInt32(slot))
                                followed.insert(key)
                                guard case .endpoint(let address, let port)? = state[key] else {
                                    problems.append("\(element): slot \(slot) is empty")
                                    continue
                                }
                                slots[Endpoint(address: address, port: port), default: 0] += 1
                            }
                            if Set(slots.keys) != Set(port.lists[kind] ?? []) {
                                problems.append("\(element): goes to \(slots.keys), not \(port.lists[kind] ?? [])")
                            }
                            if let most = slots.values.max(), let least = slots.values.min(), most > least + 1 {
                                problems.append("\(element): unequal shares \(slots.values)")
                            }
                        }
                    }
                }
            }
        }
        for key in followed { rest[key] = nil }
        for key in rest.keys { problems.append("\(key) should not be there") }
        return problems
    }
}
