import XDS

/// What a cluster's configuration says: its settings, which stay, and the endpoints that it names itself, which become hosts and
/// are not kept beside them.
struct ConfiguredCluster: Sendable {
    let settings: ClusterSettings
    /// Of clusters without discovery; else none.
    let endpoints: EndpointAssignment

    /// An `envoy.config.cluster.v3.Cluster`.
    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        settings = try ClusterSettings(node, context)
        guard case .fixed = settings.discovery else {
            endpoints = EndpointAssignment([])
            return
        }
        endpoints =
            try node.message("load_assignment") { (node) throws(ConfigError) in
                try EndpointAssignment(node)
            } ?? EndpointAssignment([])
    }
}
