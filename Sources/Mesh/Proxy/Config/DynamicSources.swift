import JSON
import XDS

/// Where a bootstrap's dynamic resources come from.
struct DynamicSources {
    var aggregated: DiscoveryServer?
    var clusters: ConfigSource?
    var listeners: ConfigSource?

    /// - Parameter known: static clusters, of which a control plane has to be one.
    init(_ bootstrap: ConfigNode, _ context: BuildContext, _ known: [Resource]) throws(ConfigError) {
        guard let node = bootstrap.message("dynamic_resources") else { return }
        let names = Set(known.map(\.name))
        func check(_ server: DiscoveryServer, _ field: String) throws(ConfigError) {
            guard !names.contains(server.cluster) else { return }
            throw node.error(field, "unknown gRPC client cluster '\(server.cluster)': it has to be a static one")
        }
        if let api = node.message("ads_config") {
            let server = try DiscoveryServer(api)
            try check(server, "ads_config")
            aggregated = server
        }
        clusters = try node.message("cds_config") { (node) throws(ConfigError) in try ConfigSource(node, context) }
        listeners = try node.message("lds_config") { (node) throws(ConfigError) in try ConfigSource(node, context) }
        for (source, field) in [(clusters, "cds_config"), (listeners, "lds_config")] {
            if case .server(let server)? = source?.origin { try check(server, field) }
        }
    }

    /// Where listeners can be asked for by name, if the node says nothing against it.
    func listenersOnDemand(_ node: JSONValue) -> ConfigSource.Origin? {
        guard node["metadata"]?[ListenersOnDemand.choice]?.string != "false", let origin = listeners?.origin else {
            return nil
        }
        // In the state of the world nobody says that there is none of a name.
        switch origin {
        case .aggregated: return aggregated?.form == .delta ? origin : nil
        case .server(let server): return server.form == .delta ? origin : nil
        case .file: return nil
        }
    }
}
