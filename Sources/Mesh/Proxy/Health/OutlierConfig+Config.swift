import XDS

extension OutlierConfig {
    /// An `envoy.config.cluster.v3.OutlierDetection`.
    init(_ node: ConfigNode) throws(ConfigError) {
        self.init()
        func read(_ name: String, _ field: WritableKeyPath<Self, UInt32>, _ config: inout Self) {
            if let value = node.uint32IfSet(name) { config[keyPath: field] = value }
        }
        read("consecutive_5xx", \.consecutive5xx, &self)
        read("consecutive_gateway_failure", \.consecutiveGatewayFailure, &self)
        read("consecutive_local_origin_failure", \.consecutiveLocalOriginFailure, &self)
        read("max_ejection_percent", \.maxEjectionPercent, &self)
        read("enforcing_consecutive_5xx", \.enforcingConsecutive5xx, &self)
        read("enforcing_consecutive_gateway_failure", \.enforcingConsecutiveGatewayFailure, &self)
        read("enforcing_consecutive_local_origin_failure", \.enforcingConsecutiveLocalOriginFailure, &self)
        read("enforcing_success_rate", \.enforcingSuccessRate, &self)
        read("enforcing_local_origin_success_rate", \.enforcingLocalOriginSuccessRate, &self)
        read("enforcing_failure_percentage", \.enforcingFailurePercentage, &self)
        read("enforcing_failure_percentage_local_origin", \.enforcingFailurePercentageLocalOrigin, &self)
        read("success_rate_request_volume", \.successRateRequestVolume, &self)
        read("success_rate_stdev_factor", \.successRateStdevFactor, &self)
        read("failure_percentage_threshold", \.failurePercentageThreshold, &self)
        read("failure_percentage_request_volume", \.failurePercentageRequestVolume, &self)
        successRateMinimumHosts =
            node.uint32IfSet("success_rate_minimum_hosts").map(Int.init) ?? successRateMinimumHosts
        failurePercentageMinimumHosts =
            node.uint32IfSet("failure_percentage_minimum_hosts").map(Int.init) ?? failurePercentageMinimumHosts
        interval = node.duration("interval", default: interval)
        baseEjectionTime = node.duration("base_ejection_time", default: baseEjectionTime)
        maxEjectionTime = node.duration("max_ejection_time") ?? max(baseEjectionTime, maxEjectionTime)
        maxEjectionTimeJitter = node.duration("max_ejection_time_jitter", default: maxEjectionTimeJitter)
        splitsLocalOriginErrors = node.bool("split_external_local_origin_errors")
        alwaysEjectsOneHost = node.bool("always_eject_one_host", default: false)
        successfulCheckUnejects = node.bool("successful_active_health_check_uneject_host", default: true)
        do { try validate() } catch { throw node.error(error.description) }
    }
}
