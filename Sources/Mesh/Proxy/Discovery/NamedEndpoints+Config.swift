import Bytes
import XDS

extension NamedEndpoints {
    /// A cluster of type STRICT_DNS or LOGICAL_DNS: its fields, older than those of the type `envoy.clusters.dns`.
    static func read(cluster node: ConfigNode, isLogical: Bool) throws(ConfigError) -> NamedEndpoints {
        var options = Options()
        options.isLogical = isLogical
        options.family =
            switch try node.enumeration("dns_lookup_family", as: Family.Legacy.self) {
            case .auto: .auto
            case .v4Only: .v4Only
            case .v6Only: .v6Only
            case .v4Preferred: .v4Preferred
            case .all: .all
            }
        options.refresh = node.duration("dns_refresh_rate", default: options.refresh)
        options.respectsTTL = node.bool("respect_dns_ttl")
        for resolver in node.messages("dns_resolvers") { options.servers.append(try server(resolver)) }
        try options.readFailureRate(node)
        try options.readResolver(node)
        return try assignment(node, options)
    }

    /// An `envoy.extensions.clusters.dns.v3.DnsCluster` in a cluster.
    static func read(_ node: ConfigNode, cluster: ConfigNode) throws(ConfigError) -> NamedEndpoints {
        var options = Options()
        options.isLogical = node.bool("all_addresses_in_single_endpoint")
        options.family =
            switch try node.enumeration("dns_lookup_family", as: Family.Listed.self) {
            case .unset, .auto: .auto
            case .v4Only: .v4Only
            case .v6Only: .v6Only
            case .v4Preferred: .v4Preferred
            case .all: .all
            }
        options.refresh = node.duration("dns_refresh_rate", default: options.refresh)
        options.leastRefresh = node.duration("dns_min_refresh_rate", default: options.leastRefresh)
        options.respectsTTL = node.bool("respect_dns_ttl")
        try options.readFailureRate(node)
        try options.readResolver(node)
        return try assignment(cluster, options)
    }

    private static func assignment(_ node: ConfigNode, _ options: Options) throws(ConfigError) -> NamedEndpoints {
        guard let assignment = node.message("load_assignment") else {
            throw node.error("load_assignment", "a DNS cluster needs the names of its endpoints")
        }
        return try NamedEndpoints(assignment, options)
    }

    fileprivate static func server(_ node: ConfigNode) throws(ConfigError) -> IPEndpoint {
        guard let endpoint = try SocketAddress(node).endpoint else { throw node.error("must be an IP address") }
        return endpoint.port.rawValue == 0 ? IPEndpoint(endpoint.address, Port(53)) : endpoint
    }
}

extension NamedEndpoints.Options {
    fileprivate mutating func readFailureRate(_ node: ConfigNode) throws(ConfigError) {
        guard let rate = node.message("dns_failure_refresh_rate") else { return }
        failureRefresh = rate.duration("base_interval")
        // Failures come at the base interval, which is within the bound.
        rate.ignore("max_interval")
    }

    fileprivate mutating func readResolver(_ node: ConfigNode) throws(ConfigError) {
        guard let entry = node.message("typed_dns_resolver_config") else { return }
        _ = entry.string("name")
        guard let config = try entry.typed("typed_config") else { throw entry.error("typed_config", "is missing") }
        switch config.typeName {
        case "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig":
            for resolver in config.messages("resolvers") { servers.append(try NamedEndpoints.server(resolver)) }
            config.ignore("udp_max_queries", "filter_unroutable_families", "rotate_nameservers")
        case "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig":
            config.ignore("num_retries", "num_resolver_threads")
        default: throw entry.error("typed_config", "DNS resolver \(config.typeName) is not supported")
        }
    }
}

extension NamedEndpoints.Family {
    enum Legacy: String, ConfigEnum {
        case auto = "AUTO"
        case v4Only = "V4_ONLY"
        case v6Only = "V6_ONLY"
        case v4Preferred = "V4_PREFERRED"
        case all = "ALL"
    }

    enum Listed: String, ConfigEnum {
        case unset = "UNSPECIFIED"
        case auto = "AUTO"
        case v4Only = "V4_ONLY"
        case v6Only = "V6_ONLY"
        case v4Preferred = "V4_PREFERRED"
        case all = "ALL"
    }
}
