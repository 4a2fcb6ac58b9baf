import XDS

extension CircuitBreakers {
    /// An `envoy.config.cluster.v3.CircuitBreakers`.
    convenience init(_ node: ConfigNode) throws(ConfigError) {
        var (usual, high) = (CircuitBreakerThresholds(), CircuitBreakerThresholds())
        var seen: Set<RoutingPriority> = []
        for threshold in node.messages("thresholds") {
            let priority = try threshold.enumeration("priority", as: ConfiguredPriority.self).priority
            let read = CircuitBreakerThresholds(threshold)
            // The first of a priority counts, as in Envoy.
            guard seen.insert(priority).inserted else { continue }
            if priority == .high { high = read } else { usual = read }
        }
        var perHost = UInt32.max
        for threshold in node.messages("per_host_thresholds") {
            if try threshold.enumeration("priority", as: ConfiguredPriority.self) == .usual {
                perHost = threshold.uint32("max_connections", default: .max)
            } else {
                threshold.ignore("max_connections")
            }
        }
        self.init(usual, high: high, maxConnectionsPerHost: perHost)
    }
}

extension CircuitBreakerThresholds {
    /// A `CircuitBreakers.Thresholds`, without its priority.
    init(_ node: ConfigNode) {
        self.init()
        maxConnections = node.uint32("max_connections", default: maxConnections)
        maxPendingRequests = node.uint32("max_pending_requests", default: maxPendingRequests)
        maxRequests = node.uint32("max_requests", default: maxRequests)
        maxRetries = node.uint32("max_retries", default: maxRetries)
        maxConnectionPools = node.uint32("max_connection_pools", default: maxConnectionPools)
        tracksRemaining = node.bool("track_remaining")
        retryBudget = node.message("retry_budget").map { node in
            RetryBudget(
                percent: node.percent("budget_percent") ?? 20,
                minimumConcurrency: node.uint32("min_retry_concurrency", default: 3))
        }
    }
}

enum ConfiguredPriority: String, ConfigEnum {
    case usual = "DEFAULT"
    case high = "HIGH"

    var priority: RoutingPriority { self == .high ? .high : .default }
}
