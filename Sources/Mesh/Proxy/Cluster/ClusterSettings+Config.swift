import Bytes
import HTTP
import JSON
import XDS

extension ClusterSettings {
    /// An `envoy.config.cluster.v3.Cluster`.
    package convenience init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        var options = Options()
        options.connectTimeout = node.nanoseconds("connect_timeout", default: options.connectTimeout)
        options.statName = node.string("alt_stat_name")
        options.bufferLimit = Int(node.uint32("per_connection_buffer_limit_bytes", default: 1 << 20))
        options.closesOnHealthFailure = node.bool("close_connections_on_host_health_failure")
        try options.readProtocol(node)
        if let connection = node.message("upstream_connection_options") {
            options.keepAlive = connection.message("tcp_keepalive").map(TCPKeepAlive.init)
        }
        if let bind = node.message("upstream_bind_config") {
            guard let source = bind.message("source_address") else {
                throw bind.error("source_address", "is missing")
            }
            options.sources = [try SocketAddress(socketAddress: source)]
            try bind.messages("extra_source_addresses") { (extra) throws(ConfigError) in
                guard let address = extra.message("address") else { throw extra.error("address", "is missing") }
                return try SocketAddress(socketAddress: address)
            }.forEach { options.sources.append($0) }
            let families = options.sources.map { $0.address?.family }
            guard Set(families).count == families.count else {
                throw bind.error("extra_source_addresses", "more than one address of a family")
            }
        }
        try options.readTracking(node)
        options.preconnects = try Self.preconnects(node)
        let alpn = options.upstreamProtocol.alpn
        let transport =
            try node.message("transport_socket") { (socket) throws(ConfigError) in
                try UpstreamTransport(socket, protocols: alpn, context)
            } ?? UpstreamTransport()
        guard !(options.upstreamProtocol == .auto && transport.security == nil) else {
            throw node.error("transport_socket", "auto_config needs TLS, by whose ALPN it chooses the protocol")
        }
        let upstreamProtocol = options.upstreamProtocol
        let matches = try node.messages("transport_socket_matches") { (match) throws(ConfigError) -> SocketMatch in
            _ = match.string("name")
            guard let socket = match.message("transport_socket") else {
                throw match.error("transport_socket", "is missing")
            }
            return SocketMatch(
                criteria: match.structure("match") ?? JSONObject(),
                transport: try UpstreamTransport(socket, protocols: alpn, context))
        }
        if transport.security != nil || !matches.isEmpty {
            options.securityStats = context.stats(SecurityStat.self, .cluster(node.string("name")))
        }
        let common = node.message("common_lb_config")
        options.closesOnHostSetChange = common?.bool("close_connections_on_host_set_change") ?? false
        let checks = try node.messages("health_checks") { (check) throws(ConfigError) in
            try HealthCheck(check, context)
        }
        guard checks.count <= 1 else { throw node.error("health_checks", "more than one is not supported") }
        for check in checks {
            if case .grpc = check.probe, !upstreamProtocol.maySpeakHTTP2 {
                throw node.error(
                    "health_checks", "\(node.string("name")) cluster must support HTTP/2 for gRPC healthchecking")
            }
            guard transport.proxyProtocol == nil, matches.allSatisfy({ $0.transport.proxyProtocol == nil }) else {
                throw node.error("health_checks", "behind a PROXY header are not supported")
            }
        }
        var membership = Membership()
        let ignoresNew = common?.bool("ignore_new_hosts_until_first_hc") ?? false
        let dropsRemoved = node.bool("ignore_health_on_host_removal")
        if !checks.isEmpty {
            membership.newHosts = ignoresNew ? [.failedActiveCheck, .pendingFirstCheck] : .failedActiveCheck
            membership.keepsRemovedWhileHealthy = !dropsRemoved
        }
        let balance = try BalanceConfig(cluster: node, common: common)
        let discovery = try ClusterDiscovery(cluster: node, context)
        if discovery.choosesItself {
            guard case .originalDestination = balance.policy else {
                throw node.error("lb_policy", "a cluster of this type must have CLUSTER_PROVIDED")
            }
            guard checks.isEmpty else {
                throw node.error("health_checks", "are not supported for a cluster without hosts of its own")
            }
        } else if case .originalDestination = balance.policy {
            throw node.error("lb_policy", "CLUSTER_PROVIDED is for ORIGINAL_DST and aggregate clusters")
        }
        // Hints, and what changes nothing for the kinds of clusters that are supported.
        options.metadata = node.message("metadata").map(RouteEntry.metadata) ?? [:]
        options.plaintextFallback = PlaintextFallback(metadata: options.metadata)
        guard options.plaintextFallback == nil || options.securityStats != nil else {
            throw node.error(
                "metadata", "\(PlaintextFallbackName.metadata) is for clusters with a TLS transport socket")
        }
        node.ignore("wait_for_warm_on_init", "cleanup_interval")
        self.init(
            name: node.string("name"), options: context.clusterOptions.share(options),
            balance: context.balances.share(balance), membership: membership, discovery: discovery,
            breakers: try node.message("circuit_breakers") { (node) throws(ConfigError) in
                try CircuitBreakers(node)
            } ?? CircuitBreakers(),
            outliers: try node.message("outlier_detection", OutlierConfig.init), healthCheck: checks.first,
            transport: transport, socketMatches: matches)
    }

    /// `preconnect_policy`: connections for each that is in use or wanted.
    private static func preconnects(_ node: ConfigNode) throws(ConfigError) -> Double {
        guard let policy = node.message("preconnect_policy") else { return 1 }
        // For requests that have not come, at hosts that are not chosen yet.
        guard policy.double("predictive_preconnect_ratio", default: 1) <= 1 else {
            throw policy.unsupported("predictive_preconnect_ratio")
        }
        return policy.double("per_upstream_preconnect_ratio", default: 1)
    }
}

extension ClusterDiscovery {
    /// The type of an `envoy.config.cluster.v3.Cluster` and what belongs to it.
    init(cluster node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        try self.init(of: node, context)
        // Control planes say these of all clusters alike; they mean something only where a name server is asked.
        if case .names = self, node.choice("cluster_discovery_type") != "cluster_type" { return }
        node.ignore(
            "dns_lookup_family", "dns_refresh_rate", "dns_failure_refresh_rate", "dns_jitter", "respect_dns_ttl",
            "dns_resolvers", "dns_resolution_config", "typed_dns_resolver_config", "use_tcp_for_dns_lookups")
    }

    private init(of node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        if node.choice("cluster_discovery_type") == "cluster_type" {
            guard let type = node.message("cluster_type"), let config = try type.typed("typed_config") else {
                throw node.error("cluster_type", "has no configuration")
            }
            _ = type.string("name")
            switch config.typeName {
            case "envoy.extensions.clusters.dns.v3.DnsCluster":
                self = .names(try NamedEndpoints.read(config, cluster: node))
            case "envoy.extensions.clusters.original_dst.v3.OriginalDstCluster":
                var destination = try OriginalDestination(config)
                destination.cleanupInterval = node.nanoseconds(
                    "cleanup_interval", default: destination.cleanupInterval)
                self = .originalDestination(destination)
            case "envoy.extensions.clusters.aggregate.v3.ClusterConfig":
                self = .aggregate(config.strings("clusters").map { ClusterID($0) })
            default: throw type.error("typed_config", "cluster type \(config.typeName) is not supported")
            }
            return
        }
        switch try node.enumeration("type", as: Kind.self) {
        case .fixed: self = .fixed
        case .strictDNS: self = .names(try NamedEndpoints.read(cluster: node, isLogical: false))
        case .logicalDNS: self = .names(try NamedEndpoints.read(cluster: node, isLogical: true))
        case .endpoints:
            guard let eds = node.message("eds_cluster_config"), let source = eds.message("eds_config") else {
                throw node.error("eds_cluster_config", "is missing")
            }
            var name = eds.string("service_name")
            if name.isEmpty { name = node.string("name") }
            let config = try ConfigSource(source, context)
            if case .file(let file) = config.origin {
                self = .file(file, name)
            } else {
                self = .discovered(config, name)
            }
        case .originalDestination: self = .originalDestination(try OriginalDestination.read(cluster: node))
        }
    }

    private enum Kind: String, ConfigEnum {
        case fixed = "STATIC"
        case strictDNS = "STRICT_DNS"
        case logicalDNS = "LOGICAL_DNS"
        case endpoints = "EDS"
        case originalDestination = "ORIGINAL_DST"
    }
}

extension TCPKeepAlive {
    /// A `core.v3.TcpKeepalive`.
    init(_ node: ConfigNode) {
        self.init(
            probes: node.uint32IfSet("keepalive_probes"), time: node.uint32IfSet("keepalive_time"),
            interval: node.uint32IfSet("keepalive_interval"))
    }
}

extension ClusterSettings.Options {
    /// Where a connection to this address leaves from: an address of its family, else the first, with which it will fail.
    func source(to address: SocketAddress) -> SocketAddress? {
        guard sources.count > 1 else { return sources.first }
        return sources.first { $0.address?.family == address.address?.family } ?? sources.first
    }
}
