import Bytes
import JSON
import XDS

extension EndpointAssignment {
    /// An `envoy.config.endpoint.v3.ClusterLoadAssignment` of addresses.
    init(_ node: ConfigNode) throws(ConfigError) {
        try self.init(node) { (endpoint) throws(ConfigError) in
            guard let address = try endpoint.socketAddress("address") else {
                throw endpoint.error("address", "is missing")
            }
            return address
        }
    }

    /// The same with something else for the address: what DNS clusters have is a name.
    init(_ node: ConfigNode, _ address: (ConfigNode) throws(ConfigError) -> SocketAddress) throws(ConfigError) {
        _ = node.string("cluster_name")
        self.init([])
        if let policy = node.message("policy") {
            overprovisioningFactor = policy.uint32("overprovisioning_factor", default: overprovisioningFactor)
            weightedPriorityHealth = policy.bool("weighted_priority_health")
        }
        var highest = 0
        for locality in node.messages("endpoints") {
            let place = locality.message("locality").map(Locality.init) ?? Locality()
            var group = LocalityEndpoints(
                locality: place, priority: Int(locality.uint32("priority")),
                weight: locality.uint32IfSet("load_balancing_weight"), endpoints: [])
            locality.ignore("proximity", "metadata")
            for host in locality.messages("lb_endpoints") { group.endpoints.append(try Self.endpoint(host, address)) }
            var total: UInt64 = 0
            for endpoint in group.endpoints { total += UInt64(endpoint.weight) }
            guard total <= UInt64(UInt32.max) else {
                throw locality.error("lb_endpoints", "the sum of weights in a locality must be below 4294967296")
            }
            highest = max(highest, group.priority)
            localities.append(group)
        }
        for priority in 0..<highest where !localities.contains(where: { $0.priority == priority }) {
            throw node.error("endpoints", "priority \(priority) is missing, and \(highest) is there")
        }
    }

    private static func endpoint(
        _ node: ConfigNode, _ address: (ConfigNode) throws(ConfigError) -> SocketAddress
    ) throws(ConfigError) -> Endpoint {
        guard let endpoint = node.message("endpoint") else { throw node.error("endpoint", "has no address") }
        endpoint.ignore("observability_name")
        let health = try endpoint.message("health_check_config", HealthTarget.init)
        let metadata =
            node.message("metadata").flatMap { HostMetadata.read($0, health) }
            ?? health.map { HostMetadata(JSONObject(), health: $0) }
        var marks = HostMarks()
        if metadata?.balancing["canary"] == .bool(true) { marks.insert(.canary) }
        return Endpoint(
            try address(endpoint), hostname: endpoint.string("hostname"),
            weight: node.uint32("load_balancing_weight", default: 1),
            health: try node.enumeration("health_status", as: ConfiguredHealth.self).flags, metadata: metadata,
            marks: marks)
    }
}

extension HostMetadata {
    /// A `core.v3.Metadata`; nil when it has nothing that balancing or transport sockets look at.
    static func read(_ node: ConfigNode, _ health: HealthTarget? = nil) -> HostMetadata? {
        node.ignore("typed_filter_metadata")
        let all = node.structureMap("filter_metadata")
        let balancing = all.first { $0.key == "envoy.lb" }?.value ?? JSONObject()
        let transport = all.first { $0.key == "envoy.transport_socket_match" }?.value ?? JSONObject()
        let workload = all.first { $0.key == "istio" }?.value["workload"]?.string ?? ""
        guard !balancing.isEmpty || !transport.isEmpty || !workload.isEmpty || health != nil else { return nil }
        return HostMetadata(balancing, transport: transport, workload: workload, health: health)
    }
}

extension Locality {
    /// A `core.v3.Locality`.
    init(_ node: ConfigNode) {
        self.init(region: node.string("region"), zone: node.string("zone"), subZone: node.string("sub_zone"))
    }
}
