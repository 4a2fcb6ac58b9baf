/// Pieces of bootstraps of proxies, ours and Envoy, in YAML.
package enum ProxyBootstrap {
    /// An element of `static_resources.clusters` below four spaces: a socket where HTTP/2 is spoken, as pods have them.
    package static func pipe(_ name: String, _ path: String) -> String {
        """
          - name: \(name)
            type: STATIC
            connect_timeout: 5s
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: {http2_protocol_options: {}}
            load_assignment:
              cluster_name: \(name)
              endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: "\(path)"}}}}]}]
        """
    }

    /// `dynamic_resources` of a proxy that learns everything by one stream from the cluster `xds-grpc`, in deltas.
    package static let discovery = """
        dynamic_resources:
          ads_config:
            api_type: DELTA_GRPC
            transport_api_version: V3
            set_node_on_first_message_only: true
            grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]
          cds_config: {ads: {}, initial_fetch_timeout: 0s, resource_api_version: V3}
          lds_config: {ads: {}, initial_fetch_timeout: 0s, resource_api_version: V3}
        """
}
