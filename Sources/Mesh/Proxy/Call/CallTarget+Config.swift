import XDS

extension CallTarget {
    /// An `envoy.config.core.v3.HttpUri`. Where it goes is the cluster's business; of the URI the host and the path are taken.
    static func http(
        _ node: ConfigNode, retry: RetryPolicy? = nil
    ) throws(ConfigError) -> (target: CallTarget, path: String) {
        let uri = node.string("uri")
        var rest = Substring(uri)
        for scheme in ["http://", "https://"] where rest.hasPrefix(scheme) { rest = rest.dropFirst(scheme.count) }
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        let path = slash == rest.endIndex ? "/" : String(rest[slash...])
        guard node.choice("http_upstream_type") == "cluster" else { throw node.error("cluster", "is missing") }
        let target = CallTarget(
            node.string("cluster"), authority: String(rest[..<slash]),
            timeout: node.nanoseconds("timeout", default: 0), retry: retry)
        return (target, path)
    }

    /// An `envoy.config.core.v3.GrpcService` of Envoy's own client.
    ///
    /// - Parameters:
    ///   - timeout: nanoseconds, 0 for none.
    ///   - retries: `retry_policy` holds for it; else it is refused.
    static func grpc(
        _ node: ConfigNode, timeout: UInt64, _ build: BuildContext, retries: Bool = false
    ) throws(ConfigError) -> (target: CallTarget, metadata: [(HeaderKey, [UInt8])]) {
        guard node.choice("target_specifier") == "envoy_grpc", let service = node.message("envoy_grpc") else {
            throw node.error("only envoy_grpc is supported")
        }
        service.ignore("max_receive_message_length")
        let name = service.string("cluster_name")
        if let known = build.clusterNames, !known.contains(name) {
            throw service.error("cluster_name", "unknown cluster '\(name)'")
        }
        let target = CallTarget(
            name, authority: service.string("authority"), timeout: timeout,
            retry: retries
                ? try node.message("retry_policy") { (node) throws(ConfigError) in try RetryPolicy(calls: node) } : nil,
            announcesItself: !service.bool("skip_envoy_headers"))
        build.mentionedClusters.insert(target.cluster)
        let metadata = node.messages("initial_metadata").map { entry in
            (HeaderKey(entry.string("key")), Array(entry.string("value").utf8))
        }
        return (target, metadata)
    }
}
