import Bytes
import XDS

extension ListenerSnapshot {
    /// An `envoy.config.listener.v3.Listener`.
    package convenience init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        var options = Options()
        guard let address = try node.socketAddress("address") else { throw node.error("address", "is missing") }
        let more = try node.messages("additional_addresses") { (node) throws(ConfigError) in
            guard let address = try node.socketAddress("address") else { throw node.error("address", "is missing") }
            return address
        }
        options.filterTimeout = node.nanoseconds("listener_filters_timeout", default: options.filterTimeout)
        options.continuesOnTimeout = node.bool("continue_on_listener_filters_timeout")
        options.bindsToPort = node.bool("bind_to_port", default: true)
        options.backlog = Int32(clamping: node.uint32("tcp_backlog_size", default: 4096))
        options.bufferLimit = Int(node.uint32("per_connection_buffer_limit_bytes", default: 1 << 20))
        options.statPrefix = node.string("stat_prefix")
        let statName = options.statPrefix.isEmpty ? "\(address)" : options.statPrefix
        options.stats = context.stats(ListenerStat.self, .listener(statName))
        context.listenerStatName = statName
        defer { context.listenerStatName = nil }
        options.filters = try node.messages("listener_filters", ListenerFilter.init)
        // What every listener of ours does anyway, or what only says where a listener stands in a mesh.
        node.ignore("enable_reuse_port", "traffic_direction", "metadata", "reuse_port")
        var chains: [FilterChain] = []
        for chain in node.messages("filter_chains") {
            chains.append(try FilterChain(chain, index: chains.count, context))
        }
        var fallback: FilterChain?
        if let chain = node.message("default_filter_chain") {
            fallback = try FilterChain(chain, index: chains.count, context)
        }
        guard !chains.isEmpty || fallback != nil else { throw node.error("filter_chains", "no filter chain") }
        do {
            try self.init(
                name: node.string("name"), addresses: [address] + more, chains: chains, defaultChain: fallback, options)
        } catch {
            throw node.error("filter_chains", error.description)
        }
    }
}

extension ListenerFilter {
    /// An `envoy.config.listener.v3.ListenerFilter`.
    init(_ node: ConfigNode) throws(ConfigError) {
        let name = node.string("name")
        guard let config = try node.typed("typed_config") else {
            throw node.error("typed_config", "listener filter \"\(name)\" has no configuration")
        }
        switch config.typeName {
        case "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector":
            var fingerprints: ClientHelloInspector.Fingerprints = []
            if config.bool("enable_ja3_fingerprinting", default: false) { fingerprints.insert(.ja3) }
            if config.bool("enable_ja4_fingerprinting", default: false) { fingerprints.insert(.ja4) }
            let largest = config.uint32IfSet("max_client_hello_size").map(Int.init)
            self = .tlsInspector(
                ClientHelloInspector.Limits(
                    initialPeek: config.uint32IfSet("initial_read_buffer_size").map(Int.init),
                    largestHello: largest ?? ClientHelloInspector.Limits.defaultLargestHello), fingerprints)
        case "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector": self = .httpInspector
        case "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol":
            self = .proxyProtocol(
                ProxyProtocolDecoder(allowsAbsence: config.bool("allow_requests_without_proxy_protocol")))
        case "envoy.extensions.filters.listener.original_dst.v3.OriginalDst": self = .originalDestination
        default: throw node.error("typed_config", "listener filter \(config.typeName) is not supported")
        }
    }
}
