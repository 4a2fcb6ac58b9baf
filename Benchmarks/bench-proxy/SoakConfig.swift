/// A proxy's configuration while it soaks: a bootstrap, and the two files that its subscriptions watch. Every variant is valid
/// and routes every request; they differ in what makes a proxy replace listeners, chains, routes and clusters.
struct SoakConfig: Sendable {
    var folder: String
    var plainPort: UInt16
    var securePort: UInt16
    var adminPort: UInt16
    var backends: [UInt16]

    private static let types = "type.googleapis.com/envoy.extensions."

    /// With subscriptions to files, or with the first variant inside for a proxy that has none.
    func bootstrap(isDynamic: Bool) -> String {
        let resources =
            isDynamic
            ? """
            "dynamic_resources": {
              "lds_config": {"path_config_source": {"path": "\(folder)/lds.json"}},
              "cds_config": {"path_config_source": {"path": "\(folder)/cds.json"}}}
            """
            : #""static_resources": {"listeners": [\#(listeners(0).joined(separator: ", "))], "clusters": [\#(cluster(0))]}"#
        return """
            {"node": {"id": "soak", "cluster": "soak"},
             "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": \(adminPort)}}},
             \(resources)}
            """
    }

    func listenerResponse(_ variant: Int) -> String {
        let typed = listeners(variant).map { self.typed($0, "type.googleapis.com/envoy.config.listener.v3.Listener") }
        return #"{"version_info": "\#(variant)", "resources": [\#(typed.joined(separator: ",\n"))]}"#
    }

    func clusterResponse(_ variant: Int) -> String {
        let typed = self.typed(cluster(variant), "type.googleapis.com/envoy.config.cluster.v3.Cluster")
        return #"{"version_info": "\#(variant)", "resources": [\#(typed)]}"#
    }

    private func typed(_ object: String, _ type: String) -> String { #"{"@type": "\#(type)", "# + object.dropFirst() }

    private func listeners(_ variant: Int) -> [String] {
        [listener("plain", plainPort, isTLS: false, variant), listener("secure", securePort, isTLS: true, variant)]
    }

    private func listener(_ name: String, _ port: UInt16, isTLS: Bool, _ variant: Int) -> String {
        // Without the predicate every try draws among all three backends: of millions of requests some meet the dead one with
        // each of their nine. With it a second try is elsewhere.
        let tls = """
            "transport_socket": {"name": "tls", "typed_config": {
              "@type": "\(Self.types)transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": {"tls_certificates": [
                {"certificate_chain": {"filename": "\(folder)/server.pem"}, "private_key": {"filename": "\(folder)/server.key"}}]}}},
            """
        let headers =
            variant % 3 == 0
            ? "" : #", "response_headers_to_add": [{"header": {"key": "x-variant", "value": "\#(variant)"}}]"#
        return """
            {"name": "\(name)", "address": {"socket_address": {"address": "127.0.0.1", "port_value": \(port)}},
             "filter_chains": [{\(isTLS ? tls : "")"filters": [{"name": "http", "typed_config": {
               "@type": "\(Self.types)filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "\(name)",
               "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                 {"match": {"prefix": "/"}, "route": {"cluster": "backends", "timeout": "30s", "retry_policy": {
                   "retry_on": "5xx,reset,connect-failure", "num_retries": 8, "host_selection_retry_max_attempts": "20",
                   "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {
                     "@type": "\(Self.types)retry.host.previous_hosts.v3.PreviousHostsPredicate"}}],
                   "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"}}}}]}]\(headers)},
               "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": "\(Self.types)filters.http.router.v3.Router"}}]}}]}]}
            """
    }

    private func cluster(_ variant: Int) -> String {
        // Three retries at once, which is the default, are fewer than a killed backend makes.
        // The endpoints in another order, and time-outs that differ: the cluster is replaced as a whole.
        let ports = backends[(variant % backends.count)...] + backends[..<(variant % backends.count)]
        let endpoints = ports.map {
            #"{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": \#($0)}}}}"#
        }
        return """
            {"name": "backends", "connect_timeout": "\(1 + variant % 4)s",
             "circuit_breakers": {"thresholds": [{"max_retries": 1000}]}, "load_assignment": {"cluster_name": "backends",
             "endpoints": [{"lb_endpoints": [\(endpoints.joined(separator: ", "))]}]}}
            """
    }
}
