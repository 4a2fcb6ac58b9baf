/// Whose a statistic is: the first part of its name, and the labels that Prometheus gets instead, as Envoy's default tags
/// have it.
///
/// Names keep their dots in labels; Envoy, which takes labels out of the finished text, would cut a cluster's name at the first.
package enum StatScope: Hashable, Sendable {
    /// Of the process: `server.`, `cluster_manager.` and so on, as part of the leaf.
    case process
    case cluster(String)
    /// Of one host of a cluster.
    case endpoint(cluster: String, address: String, hostname: String)
    /// Of a connection manager's prefix.
    case http(String)
    /// A route configuration that comes by name, of a connection manager's prefix.
    case routes(prefix: String, name: String)
    case virtualCluster(host: String, name: String)
    /// A secret that comes by name.
    case secret(String)
    case listener(String)
    case listenerHTTP(listener: String, prefix: String)
    case listenerWorker(listener: String, worker: Int)
    case tcp(String)
    /// Of `local_ratelimit`'s own prefix.
    case httpLocalRateLimit(String)
    case networkLocalRateLimit(String)

    /// What stands before the leaf in Envoy's name; colons become underlines there.
    var prefix: String {
        switch self {
        case .process: ""
        case .cluster(let name): "cluster.\(Self.clean(name))."
        case .endpoint(let cluster, let address, _):
            "cluster.\(Self.clean(cluster)).endpoint.\(Self.clean(address))."
        case .http(let prefix): "http.\(Self.clean(prefix))."
        case .routes(let prefix, let name): "http.\(Self.clean(prefix)).rds.\(Self.clean(name))."
        case .virtualCluster(let host, let name): "vhost.\(Self.clean(host)).vcluster.\(Self.clean(name))."
        case .secret(let name): "sds.\(Self.clean(name))."
        case .listener(let name): "listener.\(Self.clean(name))."
        case .listenerHTTP(let name, let prefix): "listener.\(Self.clean(name)).http.\(Self.clean(prefix))."
        case .listenerWorker(let name, let worker): "listener.\(Self.clean(name)).worker_\(worker)."
        case .tcp(let prefix): "tcp.\(Self.clean(prefix))."
        case .httpLocalRateLimit(let prefix): "\(Self.clean(prefix)).http_local_rate_limit."
        case .networkLocalRateLimit(let prefix): "local_ratelimit.\(Self.clean(prefix))."
        }
    }

    /// The same without what is in labels.
    var metricPrefix: String {
        switch self {
        case .process: ""
        case .cluster: "cluster."
        case .endpoint: "cluster.endpoint."
        case .http: "http."
        case .routes: "http.rds."
        case .virtualCluster: "vhost.vcluster."
        case .secret: "sds."
        case .listener: "listener."
        case .listenerHTTP: "listener.http."
        case .listenerWorker: "listener.worker."
        case .tcp: "tcp."
        case .httpLocalRateLimit: "http_local_rate_limit."
        case .networkLocalRateLimit: "local_ratelimit."
        }
    }

    var labels: [(name: String, value: String)] {
        switch self {
        case .process: []
        case .cluster(let name): [("envoy_cluster_name", Self.clean(name))]
        case .endpoint(let cluster, let address, let hostname):
            [("envoy_cluster_name", Self.clean(cluster)), ("envoy_endpoint_address", address)]
                + (hostname.isEmpty ? [] : [("envoy_endpoint_hostname", hostname)])
        case .http(let prefix): [("envoy_http_conn_manager_prefix", Self.clean(prefix))]
        case .routes(let prefix, let name):
            [("envoy_http_conn_manager_prefix", Self.clean(prefix)), ("envoy_rds_route_config", Self.clean(name))]
        case .virtualCluster(let host, let name):
            [("envoy_virtual_host", Self.clean(host)), ("envoy_virtual_cluster", Self.clean(name))]
        case .secret(let name): [("envoy_xds_resource_name", Self.clean(name))]
        case .listener(let name): [("envoy_listener_address", Self.clean(name))]
        case .listenerHTTP(let name, let prefix):
            [("envoy_http_conn_manager_prefix", Self.clean(prefix)), ("envoy_listener_address", Self.clean(name))]
        case .listenerWorker(let name, let worker):
            [("envoy_worker_id", "\(worker)"), ("envoy_listener_address", Self.clean(name))]
        case .tcp(let prefix): [("envoy_tcp_prefix", Self.clean(prefix))]
        case .httpLocalRateLimit(let prefix): [("envoy_local_http_ratelimit_prefix", Self.clean(prefix))]
        case .networkLocalRateLimit(let prefix): [("envoy_local_ratelimit_prefix", Self.clean(prefix))]
        }
    }

    private static func clean(_ text: String) -> String {
        text.utf8.contains(UInt8(ascii: ":")) ? String(text.map { $0 == ":" ? "_" : $0 }) : text
    }
}
