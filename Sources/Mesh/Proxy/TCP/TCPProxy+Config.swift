import JSON
import XDS

extension TCPProxy {
    /// An `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`.
    convenience init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        var options = Options()
        options.statPrefix = node.string("stat_prefix")
        options.idleTimeout = node.nanoseconds("idle_timeout", default: options.idleTimeout)
        options.maximumDuration = node.nanoseconds("max_downstream_connection_duration", default: 0)
        if let jitter = node.message("max_downstream_connection_duration_jitter_percentage") {
            options.durationJitter = jitter.double("value")
        }
        options.connectAttempts = Int(node.uint32("max_connect_attempts", default: 1))
        if let backOff = node.message("backoff_options") {
            options.backOff = backOff.nanoseconds("base_interval", default: 0)
            options.maximumBackOff = backOff.nanoseconds("max_interval", default: options.backOff * 10)
            guard options.maximumBackOff >= options.backOff else {
                throw backOff.error("max_interval", "must be greater than or equal to the base_interval")
            }
        }
        options.onDemand = try node.message("on_demand") { (node) throws(ConfigError) in
            try OnDemandSource(node, "odcds_config", timeout: Self.standardDemandTimeout, context)
        }
        _ = try node.enumeration("upstream_connect_mode", as: ConnectMode.self)
        if let log = node.message("access_log_options") {
            options.logInterval = log.nanoseconds("access_log_flush_interval", default: 0)
            options.logsConnected = log.bool("flush_access_log_on_connected")
            options.logsStart = log.bool("flush_access_log_on_start")
        } else {
            options.logInterval = node.nanoseconds("access_log_flush_interval", default: 0)
            options.logsConnected = node.bool("flush_access_log_on_connected")
        }
        for policy in node.messages("hash_policy") {
            guard policy.message("source_ip") != nil else {
                throw policy.error("hash policy \(policy.choice("policy_specifier") ?? "") is not supported")
            }
            options.hashesSource = true
        }
        let common = Self.criteria(node)
        var destinations: [Destination] = []
        switch node.choice("cluster_specifier") {
        case "cluster":
            let criteria = common.map { HostMetadata($0) }
            destinations = [Destination(cluster: ClusterID(node.string("cluster")), criteria: criteria)]
        case "weighted_clusters":
            destinations =
                node.message("weighted_clusters")?.messages("clusters").map { cluster in
                    let own = Self.criteria(cluster)
                    var all = own == nil ? common : common ?? JSONObject()
                    for (key, value) in own ?? JSONObject() { all?[key] = value }
                    return Destination(
                        cluster: ClusterID(cluster.string("name")), weight: cluster.uint32("weight"),
                        criteria: all.map { HostMetadata($0) })
                } ?? []
        default: break
        }
        let logs = try node.messages("access_log") { (node) throws(ConfigError) in try AccessLog(node, context) }
        context.mentionedClusters.formUnion(destinations.map(\.cluster))
        self.init(
            options, destinations: destinations, logs: logs, statsID: context.tcpStatsID(options.statPrefix))
    }

    /// Nanoseconds where the configuration has none, as in Envoy.
    private static let standardDemandTimeout: UInt64 = 60_000_000_000

    /// `metadata_match`: what is under `envoy.lb`.
    private static func criteria(_ node: ConfigNode) -> JSONObject? {
        node.message("metadata_match")?.structureMap("filter_metadata").first { $0.key == "envoy.lb" }?.value
    }

    private enum ConnectMode: String, ConfigEnum { case immediate = "IMMEDIATE" }
}
