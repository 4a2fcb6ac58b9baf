import XDS

/// What those who read routes need to know besides the route.
struct RouteContext {
    var build: BuildContext
    /// nil above the level of virtual hosts.
    var host: VirtualHostOptions?
    /// Clusters that routes may name; nil when any name will do (`validate_clusters`).
    var knownClusters: Set<String>?
    var bodyLimit = DirectResponse.defaultBodyLimit

    func cluster(_ name: String, _ node: ConfigNode, _ field: String) throws(ConfigError) -> ClusterID {
        if let knownClusters, !knownClusters.contains(name) { throw node.error(field, "unknown cluster '\(name)'") }
        let id = ClusterID(name)
        build.mentionedClusters.insert(id)
        return id
    }
}
