import Bytes
import XDS

extension ClusterSnapshot {
    /// An `envoy.config.cluster.v3.Cluster`.
    package convenience init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        var options = Options()
        options.connectTimeout = node.nanoseconds("connect_timeout", default: options.connectTimeout)
        if let http2 = node.message("http2_protocol_options") {
            options.usesHTTP2 = true
            http2.ignore("max_concurrent_streams")
        }
        _ = try node.enumeration("type", as: DiscoveryType.self)
        _ = try node.enumeration("lb_policy", as: Policy.self)
        let hosts = try node.message("load_assignment") { (node) throws(ConfigError) in try Self.hosts(node) } ?? []
        let security = try node.message("transport_socket", UpstreamSecurity.read) ?? nil
        self.init(name: node.string("name"), options: options, hosts: hosts, security: security)
    }

    private static func hosts(_ node: ConfigNode) throws(ConfigError) -> [Upstream] {
        _ = node.string("cluster_name")
        var hosts: [Upstream] = []
        for locality in node.messages("endpoints") {
            for endpoint in locality.messages("lb_endpoints") {
                guard
                    let address = try endpoint.message(
                        "endpoint",
                        { (node) throws(ConfigError) in
                            try node.socketAddress("address")
                        }) ?? nil
                else { throw endpoint.error("endpoint", "has no address") }
                hosts.append(Upstream(address, weight: endpoint.uint32("load_balancing_weight", default: 1)))
            }
        }
        return hosts
    }

    private enum DiscoveryType: String, ConfigEnum { case fixed = "STATIC" }
    private enum Policy: String, ConfigEnum { case roundRobin = "ROUND_ROBIN" }
}
