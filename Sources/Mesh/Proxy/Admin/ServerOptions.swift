import JSON

/// What the command line asked for, as far as the proxy acts on it or tells it on `/server_info`.
package struct ServerOptions: Sendable {
    package var configPath = ""
    package var configYAML = ""
    package var adminAddressPath = ""
    package var allowsUnknownStaticFields = false
    package var rejectsUnknownDynamicFields = false
    package var ignoresUnknownDynamicFields = false
    package var logLevel = "info"
    package var componentLogLevel = ""
    package var logFormat = ""
    package var logPath = ""
    package var serviceCluster = ""
    package var serviceNode = ""
    package var serviceZone = ""
    package var logInterval = Duration.seconds(10)
    package var drainTime = Duration.seconds(600)
    package var drainsAtOnce = false
    package var parentShutdownTime = Duration.seconds(900)
    package var restartEpoch = 0
    package var baseID = 0
    /// Requests of each worker that `/explain` knows; 0 for none.
    package var explainedRequests = RequestMemory.standardSize
    package static let mostExplainedRequests = RequestMemory.largestSize
    package var disablesHotRestart = true
    package var listensOnIPv6 = false
    package init() {}

    func commandLine(concurrency: Int) -> JSONValue {
        [
            "base_id": .string("\(baseID)"), "concurrency": .int(Int64(concurrency)),
            "config_path": .string(configPath), "config_yaml": .string(configYAML),
            "allow_unknown_static_fields": .bool(allowsUnknownStaticFields),
            "admin_address_path": .string(adminAddressPath),
            "local_address_ip_version": .string(listensOnIPv6 ? "v6" : "v4"), "log_level": .string(logLevel),
            "component_log_level": .string(componentLogLevel), "log_format": .string(logFormat),
            "log_path": .string(logPath), "service_cluster": .string(serviceCluster),
            "service_node": .string(serviceNode), "service_zone": .string(serviceZone),
            "file_flush_interval": .string(Self.text(logInterval)), "drain_time": .string(Self.text(drainTime)),
            "parent_shutdown_time": .string(Self.text(parentShutdownTime)), "mode": "Serve",
            "disable_hot_restart": .bool(disablesHotRestart), "restart_epoch": .int(Int64(restartEpoch)),
            "reject_unknown_dynamic_fields": .bool(rejectsUnknownDynamicFields),
            "ignore_unknown_dynamic_fields": .bool(ignoresUnknownDynamicFields),
            "drain_strategy": .string(drainsAtOnce ? "Immediate" : "Gradual"),
            // What there is no flag for here, at its default.
            "base_id_path": "", "cpuset_threads": false, "disable_extensions": [], "enable_core_dump": false,
            "enable_fine_grain_logging": false, "enable_mutex_tracing": false, "file_flush_min_size": 64,
            "log_format_escaped": false, "log_stacktrace_single_entry": false, "skip_deprecated_logs": false,
            "skip_hot_restart_on_no_parent": false, "skip_hot_restart_parent_stats": false, "socket_mode": 0,
            "socket_path": "@envoy_domain_socket", "stats_tag": [], "use_dynamic_base_id": false,
        ]
    }

    /// As in protobuf's JSON: `1.500s`.
    static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let milliseconds = attoseconds / 1_000_000_000_000_000
        guard milliseconds > 0 else { return "\(seconds)s" }
        return
            "\(seconds).\(String(repeating: "0", count: milliseconds < 10 ? 2 : milliseconds < 100 ? 1 : 0))\(milliseconds)s"
    }
}
