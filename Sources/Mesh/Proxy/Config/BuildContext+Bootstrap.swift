import XDS

// A bootstrap, but for the resources in it.
extension BuildContext {
    /// Takes note of what static configuration says of itself.
    ///
    /// - Parameter options: the command line, which goes before the bootstrap's node.
    func know(
        _ bootstrap: ConfigNode, _ found: [ResourceKind: [Resource]], _ options: ServerOptions = ServerOptions()
    ) throws(ConfigError) {
        // With others to come from elsewhere nothing can be said of a name.
        staticSecrets = Dictionary((found[.secret] ?? []).map { ($0.name, $0) }) { first, _ in first }
        let names = Set((found[.cluster] ?? []).map(\.name))
        clusterNames = bootstrap.has("dynamic_resources") ? nil : names
        hasAggregatedSource = bootstrap.has("ads_config", in: "dynamic_resources")
        runtime = try bootstrap.message("layered_runtime", RuntimeLayers.init) ?? RuntimeLayers()
        overload = try bootstrap.message("overload_manager", OverloadSettings.init)
        globalLimit.set(overload)
        statSettings = try bootstrap.message("stats_config", StatSettings.init) ?? StatSettings()
        let locality = know(bootstrap.message("node"), options)
        home =
            try bootstrap.message("cluster_manager") { (node) throws(ConfigError) in
                let name = node.string("local_cluster_name")
                guard !name.isEmpty else { return nil }
                guard names.contains(name) else {
                    throw node.error("local_cluster_name", "local cluster '\(name)' must be defined")
                }
                return (ClusterID(name), locality)
            } ?? nil
        if let provider = bootstrap.message("tracing")?.message("http") {
            commonTraceExport = try traceExport(of: provider)
        }
        // Hints for memory that is not kept here, or only as long as it is used, and times of sinks, of which there are none.
        bootstrap.ignore(
            "deferred_stat_options", "grpc_async_client_manager_config", "inline_headers", "memory_allocator_manager",
            "node_context_params", "stats_eviction_interval", "stats_flush_interval", "stats_flush_on_admin")
    }

    /// Who this proxy is; answers with where it is.
    private func know(_ node: ConfigNode?, _ options: ServerOptions) -> Locality {
        func said(_ option: String, _ configured: String?) -> String { option.isEmpty ? configured ?? "" : option }
        serviceCluster = said(options.serviceCluster, node?.string("cluster"))
        nodeName = said(options.serviceNode, node?.string("id"))
        var locality = node?.message("locality").map(Locality.init) ?? Locality()
        locality.zone = said(options.serviceZone, locality.zone)
        serviceZone = locality.zone
        // All of it is told to control planes.
        node?.ignore(
            "client_features", "dynamic_parameters", "extensions", "listening_addresses", "metadata",
            "user_agent_build_version", "user_agent_name", "user_agent_version")
        return locality
    }
}
