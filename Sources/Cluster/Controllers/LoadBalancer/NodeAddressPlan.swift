import ClusterAPI
import JSON

/// Which addresses of nodes each Service of class `weft.dev/node` has: pure.
///
/// All nodes answer for all of these Services, so a port and protocol of an address is one Service's: the oldest one's.
struct NodeAddressPlan {
    /// `spec.loadBalancerClass` of what is planned here.
    static let loadBalancerClass = "weft.dev/node"
    /// Annotation of a Service: of the nodes' addresses those that it wants, separated by commas.
    static let wanted = "weft.dev/load-balancer-addresses"
    private static let excluded = "node.kubernetes.io/exclude-from-external-load-balancers"

    struct Share: Equatable {
        /// Sorted.
        var addresses: [String]
        /// Why there are none, or not all that were wanted; nil otherwise.
        var problem: String?
    }

    /// What only one Service can have.
    private struct Place: Hashable {
        let address: String
        let port: Int64
        let transport: String
    }

    private(set) var shares: [ObjectKey: Share] = [:]

    /// - Parameter hosts: Of a Service that keeps traffic on the node where it arrives: the nodes that have ready pods of it.
    init(services: [KubeObject], nodes: [KubeObject], hosts: (ObjectKey) -> Set<String>) {
        let ours = services.filter { service in
            service.spec.text("type") == "LoadBalancer" && !service.isTerminating
                && service.spec.text("loadBalancerClass") == Self.loadBalancerClass
        }.sorted { ($0.creationTimestamp ?? "", $0.key) < ($1.creationTimestamp ?? "", $1.key) }
        let able = nodes.filter { node in
            node.label(Self.excluded) == nil && node.condition("Ready")?["status"]?.string != "False"
                && node.condition("Ready")?["status"]?.string != "Unknown"
        }
        var taken: [Place: ObjectKey] = [:]
        for service in ours {
            let isLocal = service.spec.text("externalTrafficPolicy") == "Local"
            let local = isLocal ? hosts(service.key) : []
            let families = Set(service.spec.list("ipFamilies").compactMap(\.string))
            var addresses = able.filter { !isLocal || local.contains($0.name) }.flatMap(Self.addresses).filter {
                families.isEmpty || families.contains($0.contains(":") ? "IPv6" : "IPv4")
            }
            var problem = addresses.isEmpty ? "no node that is ready has an address for it" : nil
            let wanted = (service.annotation(Self.wanted) ?? service.spec.text("loadBalancerIP")).split(separator: ",")
                .map { String($0.filter { !$0.isWhitespace }) }.filter { !$0.isEmpty }
            if !wanted.isEmpty {
                let missing = wanted.filter { !addresses.contains($0) }
                if !missing.isEmpty { problem = "\(missing.joined(separator: ", ")) is no address of a node" }
                addresses = addresses.filter { wanted.contains($0) }
            }
            // A Service that wants no address in particular has a port at all nodes or at none: where it is found must not depend on
            // which node is asked.
            let places = addresses.flatMap { address in
                service.spec.list("ports").map {
                    Place(
                        address: address, port: $0.number("port"),
                        transport: $0.text("protocol").isEmpty ? "TCP" : $0.text("protocol"))
                }
            }
            let conflicts = places.filter { taken[$0] != nil }
            if let conflict = conflicts.first, let other = taken[conflict] {
                let others =
                    wanted.isEmpty
                    ? []
                    : addresses.filter { address in
                        !conflicts.contains { $0.address == address }
                    }
                let place = wanted.isEmpty ? "the nodes" : conflict.address
                problem =
                    "port \(conflict.port)/\(conflict.transport) of \(place) is that of Service \(other), which is older"
                addresses = others
            }
            for place in places where addresses.contains(place.address) { taken[place] = service.key }
            shares[service.key] = Share(addresses: Array(Set(addresses)).sorted(), problem: problem)
        }
    }

    private static func addresses(_ node: KubeObject) -> [String] {
        node.status.list("addresses").filter { $0.text("type") == "InternalIP" }.map { $0.text("address") }
    }
}
