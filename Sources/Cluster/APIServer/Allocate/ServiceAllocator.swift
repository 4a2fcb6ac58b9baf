import Bytes
import ClusterAPI
import JSON
import Store
import Synchronization

/// Gives Services their cluster addresses and node ports, each to one Service at a time.
///
/// What is taken is rebuilt from the Services themselves at start, so there is no second truth to go wrong: a Service and
/// its addresses are one write.
final class ServiceAllocator: Sendable {
    /// The cluster's service ranges, first the one that Services get when they do not choose: one or, dual-stack, two.
    let ranges: [CIDR]
    let nodePorts: ClosedRange<UInt16>

    fileprivate struct State {
        var addresses: Set<IPAddress> = []
        var ports: Set<NodePort> = []
    }
    private let state = Mutex(State())

    struct NodePort: Hashable {
        var transport: String
        var port: UInt16
    }

    /// Draws before the search goes through all: with a range that is not nearly full, few are needed.
    private static let draws = 64

    init(ranges: [CIDR], nodePorts: ClosedRange<UInt16>) {
        self.ranges = ranges.map(\.network)
        self.nodePorts = nodePorts
    }

    /// Takes note of what existing Services have.
    func adopt(_ services: [JSONValue]) {
        state.withLock { state in
            for service in services {
                state.addresses.formUnion(Self.addresses(of: service))
                state.ports.formUnion(Self.ports(of: service))
            }
        }
    }

    /// What an allocation took. Given back when the write it was for does not happen.
    struct Lease: Sendable {
        fileprivate let allocator: ServiceAllocator?
        fileprivate var taken = State()
        /// What the write frees once it has happened.
        fileprivate var freed = State()

        /// The write did not happen.
        func giveBack() { allocator?.forget(taken) }
        /// The write happened.
        func keep() { allocator?.forget(freed) }
    }

    private func forget(_ what: State) {
        guard !what.addresses.isEmpty || !what.ports.isEmpty else { return }
        state.withLock { state in
            state.addresses.subtract(what.addresses)
            state.ports.subtract(what.ports)
        }
    }

    /// A Service is gone.
    func release(_ object: JSONValue, _ resource: ResourceDescription) async {
        guard resource.gvr == .services else { return }
        var gone = State()
        gone.addresses = Self.addresses(of: object)
        gone.ports = Self.ports(of: object)
        forget(gone)
    }

    /// Fills in a Service's addresses and ports and takes them. Does nothing for other kinds.
    func allocate(
        _ object: inout JSONValue, old: JSONValue?, _ resource: ResourceDescription, dryRun: Bool
    ) async throws(StatusError) -> Lease {
        guard resource.gvr == .services else { return Lease(allocator: nil) }
        var lease = Lease(allocator: self)
        do {
            try allocateAddresses(&object, old: old, &lease.taken)
            try allocatePorts(&object, old: old, &lease.taken)
        } catch {
            lease.giveBack()
            throw error
        }
        if let old {
            lease.freed.addresses = Self.addresses(of: old).subtracting(Self.addresses(of: object))
            lease.freed.ports = Self.ports(of: old).subtracting(Self.ports(of: object))
        }
        return lease
    }

    // MARK: Addresses

    private func allocateAddresses(_ object: inout JSONValue, old: JSONValue?, _ taken: inout State) throws(StatusError)
    {
        var spec = object["spec"] ?? .object(JSONObject())
        defer { object["spec"] = spec }
        let name = object["metadata"]?["name"]?.string ?? ""
        if spec["type"]?.string == "ExternalName" {
            // No address: the name is all there is.
            return
        }
        var addresses = (spec["clusterIPs"]?.array ?? []).compactMap(\.string)
        if let first = spec["clusterIP"]?.string, !first.isEmpty {
            if addresses.isEmpty {
                addresses = [first]
            } else if addresses[0] != first {
                throw invalid(name, "clusterIPs[0]", addresses[0], "must match clusterIP")
            }
        }
        let policy = spec["ipFamilyPolicy"]?.string ?? "SingleStack"
        var families = (spec["ipFamilies"]?.array ?? []).compactMap(\.string)
        if addresses.first == "None" {
            if families.isEmpty { families = (spec["selector"] == nil ? ranges : [ranges[0]]).map(Self.family) }
            if spec["selector"] == nil, spec["ipFamilyPolicy"] == nil {
                spec["ipFamilyPolicy"] = "RequireDualStack"
                families = ["IPv4", "IPv6"]
            } else if spec["ipFamilyPolicy"] == nil {
                spec["ipFamilyPolicy"] = "SingleStack"
            }
            spec["clusterIP"] = "None"
            spec["clusterIPs"] = ["None"]
            spec["ipFamilies"] = .array(families.map(JSONValue.string))
            return
        }
        if families.isEmpty {
            families = addresses.compactMap { IPAddress($0) }.map { $0.family == .v4 ? "IPv4" : "IPv6" }
            if families.isEmpty { families = [Self.family(ranges[0])] }
        }
        if policy != "SingleStack", families.count == 1 {
            families += ranges.map(Self.family).filter { $0 != families[0] }
        }
        if policy == "RequireDualStack", ranges.count < 2 {
            throw invalid(name, "ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services")
        }
        if policy == "SingleStack" {
            families = Array(families.prefix(1))
            addresses = Array(addresses.prefix(1))
        }
        let had = old.map(Self.addresses) ?? []
        for (index, family) in families.enumerated() {
            guard let range = ranges.first(where: { Self.family($0) == family }) else {
                throw invalid(name, "ipFamilies[\(index)]", family, "not configured on this cluster")
            }
            if index < addresses.count {
                guard let address = IPAddress(addresses[index]) else {
                    throw invalid(name, "clusterIPs[\(index)]", addresses[index], "must be a valid IP address")
                }
                if had.contains(address) { continue }
                guard range.contains(address) else {
                    throw invalid(
                        name, "clusterIPs[\(index)]", addresses[index],
                        "failed to allocate IP \(address): the provided IP is not in the valid range. The range of valid IPs is \(range)"
                    )
                }
                guard state.withLock({ $0.addresses.insert(address).inserted }) else {
                    throw invalid(
                        name, "clusterIPs[\(index)]", addresses[index],
                        "failed to allocate IP \(address): provided IP is already allocated")
                }
                taken.addresses.insert(address)
            } else {
                guard let address = draw(from: range) else {
                    throw .internalError("failed to allocate a serviceIP: range \(range) is full")
                }
                taken.addresses.insert(address)
                addresses.append(address.description)
            }
        }
        spec["clusterIP"] = .string(addresses[0])
        spec["clusterIPs"] = .array(addresses.map(JSONValue.string))
        spec["ipFamilies"] = .array(families.map(JSONValue.string))
        spec["ipFamilyPolicy"] = .string(policy)
    }

    /// Takes a free address of a range: the low part of it is left to those who choose theirs themselves, as long as there
    /// is room elsewhere (KEP-3070).
    private func draw(from range: CIDR) -> IPAddress? {
        // First and last address of an IPv4 range are none.
        let usable = range.count > 2 ? range.count - 2 : 0
        guard usable > 0 else { return nil }
        let reserved = min(max(16, range.count / 16), 256, usable - 1)
        return state.withLock { state in
            func take(_ offset: UInt64) -> IPAddress? {
                let address = range.first.adding(1 + offset)
                return state.addresses.insert(address).inserted ? address : nil
            }
            var generator = SystemRandomNumberGenerator()
            for _ in 0..<Self.draws {
                if let address = take(UInt64.random(in: reserved..<usable, using: &generator)) { return address }
            }
            // Nearly full: go through it, up to what a search may cost.
            for offset in reserved..<min(usable, reserved + 1 << 20) {
                if let address = take(offset) { return address }
            }
            for offset in 0..<reserved { if let address = take(offset) { return address } }
            return nil
        }
    }

    private static func family(_ range: CIDR) -> String { range.address.family == .v4 ? "IPv4" : "IPv6" }

    static func addresses(of service: JSONValue) -> Set<IPAddress> {
        var found = Set(
            (service["spec"]?["clusterIPs"]?.array ?? []).compactMap { $0.string.flatMap { IPAddress($0) } })
        if let first = service["spec"]?["clusterIP"]?.string.flatMap({ IPAddress($0) }) { found.insert(first) }
        return found
    }

    // MARK: Ports

    private func allocatePorts(_ object: inout JSONValue, old: JSONValue?, _ taken: inout State) throws(StatusError) {
        var spec = object["spec"] ?? .object(JSONObject())
        defer { object["spec"] = spec }
        let name = object["metadata"]?["name"]?.string ?? ""
        let type = spec["type"]?.string ?? "ClusterIP"
        var ports = spec["ports"]?.array ?? []
        let wants =
            type == "NodePort" || (type == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"]?.bool != false)
        if type != "NodePort", type != "LoadBalancer" {
            // Ports left over from a type that had them.
            for index in ports.indices { ports[index]["nodePort"] = nil }
            if !ports.isEmpty { spec["ports"] = .array(ports) }
            spec["healthCheckNodePort"] = nil
            return
        }
        let had = old.map(Self.ports) ?? []
        // Two ports of a Service may share a number when their protocols differ.
        var mine: Set<NodePort> = []
        for index in ports.indices {
            let transport = ports[index]["protocol"]?.string ?? "TCP"
            if let asked = ports[index]["nodePort"]?.int, asked != 0 {
                guard let number = UInt16(exactly: asked), nodePorts.contains(number) else {
                    throw invalid(
                        name, "ports[\(index)].nodePort", .int(asked),
                        "provided port is not in the valid range. The range of valid ports is \(nodePorts.lowerBound)-\(nodePorts.upperBound)"
                    )
                }
                let port = NodePort(transport: transport, port: number)
                guard mine.insert(port).inserted else {
                    throw invalid(name, "ports[\(index)].nodePort", .int(asked), "provided port is already allocated")
                }
                if had.contains(port) { continue }
                guard state.withLock({ $0.ports.insert(port).inserted }) else {
                    throw invalid(name, "ports[\(index)].nodePort", .int(asked), "provided port is already allocated")
                }
                taken.ports.insert(port)
            } else if wants {
                let kept = Self.matching(ports[index], in: old)
                if let kept, mine.insert(NodePort(transport: transport, port: kept)).inserted {
                    ports[index]["nodePort"] = .int(Int64(kept))
                    continue
                }
                guard let port = drawPort(transport) else {
                    throw .internalError("failed to allocate a nodePort: range is full")
                }
                mine.insert(port)
                taken.ports.insert(port)
                ports[index]["nodePort"] = .int(Int64(port.port))
            }
        }
        if !ports.isEmpty { spec["ports"] = .array(ports) }
        try allocateHealthCheck(&spec, old: old, type: type, name, &taken)
    }

    /// A load balancer that keeps client addresses asks each node whether it has endpoints, on a port of its own.
    private func allocateHealthCheck(
        _ spec: inout JSONValue, old: JSONValue?, type: String, _ name: String, _ taken: inout State
    ) throws(StatusError) {
        guard type == "LoadBalancer", spec["externalTrafficPolicy"]?.string == "Local" else {
            spec["healthCheckNodePort"] = nil
            return
        }
        if (spec["healthCheckNodePort"]?.int ?? 0) == 0 {
            spec["healthCheckNodePort"] = old?["spec"]?["healthCheckNodePort"]
        }
        if let asked = spec["healthCheckNodePort"]?.int, asked != 0 {
            let port = NodePort(transport: "TCP", port: UInt16(clamping: asked))
            if old.map(Self.ports)?.contains(port) == true { return }
            guard nodePorts.contains(port.port), state.withLock({ $0.ports.insert(port).inserted }) else {
                throw invalid(
                    name, "healthCheckNodePort", .int(asked), "provided port is already allocated or out of range")
            }
            taken.ports.insert(port)
            return
        }
        guard let port = drawPort("TCP") else { throw .internalError("failed to allocate a nodePort: range is full") }
        taken.ports.insert(port)
        spec["healthCheckNodePort"] = .int(Int64(port.port))
    }

    private func drawPort(_ transport: String) -> NodePort? {
        state.withLock { state in
            var generator = SystemRandomNumberGenerator()
            for _ in 0..<Self.draws {
                let port = NodePort(transport: transport, port: .random(in: nodePorts, using: &generator))
                if state.ports.insert(port).inserted { return port }
            }
            for number in nodePorts {
                let port = NodePort(transport: transport, port: number)
                if state.ports.insert(port).inserted { return port }
            }
            return nil
        }
    }

    /// The node port that a port of the same number and protocol had before.
    private static func matching(_ port: JSONValue, in old: JSONValue?) -> UInt16? {
        let before = old?["spec"]?["ports"]?.array?.first {
            $0["port"] == port["port"] && ($0["protocol"]?.string ?? "TCP") == (port["protocol"]?.string ?? "TCP")
        }
        return before?["nodePort"]?.int.flatMap { UInt16(exactly: $0) }.flatMap { $0 == 0 ? nil : $0 }
    }

    static func ports(of service: JSONValue) -> Set<NodePort> {
        var found: Set<NodePort> = []
        for port in service["spec"]?["ports"]?.array ?? [] {
            if let number = port["nodePort"]?.int.flatMap({ UInt16(exactly: $0) }), number != 0 {
                found.insert(NodePort(transport: port["protocol"]?.string ?? "TCP", port: number))
            }
        }
        if let number = service["spec"]?["healthCheckNodePort"]?.int.flatMap({ UInt16(exactly: $0) }), number != 0 {
            found.insert(NodePort(transport: "TCP", port: number))
        }
        return found
    }

    private func invalid(_ name: String, _ field: String, _ value: JSONValue, _ why: String) -> StatusError {
        .invalid(
            GroupVersionKind(kind: "Service"), name, [FieldError.invalid(FieldPath("spec.\(field)"), value, why)])
    }

    private func invalid(_ name: String, _ field: String, _ value: String, _ why: String) -> StatusError {
        invalid(name, field, .string(value), why)
    }
}
