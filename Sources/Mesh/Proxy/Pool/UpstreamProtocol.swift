import XDS

/// Which HTTP a cluster's connections speak.
package enum UpstreamProtocol: Hashable, Sendable {
    case http1, http2
    /// What ALPN comes to.
    case auto
    /// That of the request's own connection.
    case downstream

    var maySpeakHTTP2: Bool { self != .http1 }

    /// What TLS offers where its context names nothing.
    var alpn: [String] {
        switch self {
        case .http1: []
        case .http2: ["h2"]
        case .auto: ["h2", "http/1.1"]
        case .downstream: []
        }
    }
}

extension ClusterSettings.Options {
    /// `HttpProtocolOptions` of a cluster, or the older fields that they stand for.
    mutating func readProtocol(_ node: ConfigNode) throws(ConfigError) {
        for (name, extensionOptions) in try node.typedMap("typed_extension_protocol_options") {
            switch extensionOptions.typeName {
            case "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": try readHTTP(extensionOptions)
            default: throw node.error("typed_extension_protocol_options", "\(name) is not supported")
            }
        }
        if let http2 = node.message("http2_protocol_options") {
            upstreamProtocol = .http2
            try readHTTP2(http2)
        }
        if let names = node.message("upstream_http_protocol_options") { requestedNames = RequestedNames(names) }
        if let http1 = node.message("http_protocol_options") { try readHTTP1(http1) }
        if let common = node.message("common_http_protocol_options") { try readCommon(common) }
        maximumRequestsPerConnection = node.uint32(
            "max_requests_per_connection", default: maximumRequestsPerConnection)
        if try node.enumeration("protocol_selection", as: Selection.self) == .downstream {
            upstreamProtocol = .downstream
        }
    }

    private mutating func readHTTP(_ node: ConfigNode) throws(ConfigError) {
        if let common = node.message("common_http_protocol_options") { try readCommon(common) }
        if let names = node.message("upstream_http_protocol_options") { requestedNames = RequestedNames(names) }
        let field = node.choice("upstream_protocol_options") ?? ""
        guard let chosen = node.message(field) else { throw node.error("upstream_protocol_options is missing") }
        if chosen.has("http3_protocol_options") { throw chosen.unsupported("http3_protocol_options") }
        let http1 = chosen.message("http_protocol_options")
        let http2 = chosen.message("http2_protocol_options")
        switch field {
        case "explicit_http_config": upstreamProtocol = http2 == nil ? .http1 : .http2
        case "use_downstream_protocol_config": upstreamProtocol = .downstream
        default: upstreamProtocol = .auto
        }
        if let http1 { try readHTTP1(http1) }
        if let http2 { try readHTTP2(http2) }
    }

    private mutating func readCommon(_ node: ConfigNode) throws(ConfigError) {
        idleTimeout = node.nanoseconds("idle_timeout", default: idleTimeout)
        connectionDuration = node.nanoseconds("max_connection_duration", default: connectionDuration)
        streamDuration = node.nanoseconds("max_stream_duration", default: streamDuration)
        maximumRequestsPerConnection = node.uint32(
            "max_requests_per_connection", default: maximumRequestsPerConnection)
    }

    private mutating func readHTTP1(_ node: ConfigNode) throws(ConfigError) {
        http1.enablesTrailers = node.bool("enable_trailers")
        http1.headerForm = try HeaderForm(http1: node)
        // What only the proxy's clients meet.
        node.ignore("allow_absolute_url", "accept_http_10", "default_host_for_http_10", "use_balsa_parser")
    }

    private mutating func readHTTP2(_ node: ConfigNode) throws(ConfigError) {
        http2KeepAlive = try node.message("connection_keepalive", HTTP2KeepAlive.Options.init)
        http2.streamWindow = Int(node.uint32("initial_stream_window_size", default: UInt32(http2.streamWindow)))
        http2.connectionWindow = Int(
            node.uint32("initial_connection_window_size", default: UInt32(http2.connectionWindow)))
        // Bounds against a hostile peer, which the session has of its own, and what is so anyway.
        node.ignore(
            "max_concurrent_streams", "max_outbound_frames", "max_outbound_control_frames",
            "max_consecutive_inbound_frames_with_empty_payload", "max_inbound_priority_frames_per_stream",
            "max_inbound_window_update_frames_per_data_frame_sent", "use_oghttp2_codec", "hpack_table_size",
            "override_stream_error_on_invalid_http_message", "allow_connect")
    }

    private enum Selection: String, ConfigEnum {
        case configured = "USE_CONFIGURED_PROTOCOL"
        case downstream = "USE_DOWNSTREAM_PROTOCOL"
    }
}
