import Bytes
import Reactor
import XDS

extension ListenerSnapshot {
    /// An `envoy.config.listener.v3.Listener`.
    package convenience init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        var options = Options()
        let common = try SocketSettings(listener: node)
        guard let first = try node.message("address", ListenAddress.init) else {
            throw node.error("address", "is missing")
        }
        var addresses = [first.address]
        options.sockets = [try SocketSettings(common, first)]
        for additional in node.messages("additional_addresses") {
            guard let address = try additional.message("address", ListenAddress.init) else {
                throw additional.error("address", "is missing")
            }
            addresses.append(address.address)
            options.sockets.append(try SocketSettings(common, address, additional: additional))
        }
        options.filterTimeout = node.nanoseconds("listener_filters_timeout", default: options.filterTimeout)
        options.continuesOnTimeout = node.bool("continue_on_listener_filters_timeout")
        options.bindsToPort = node.bool("bind_to_port", default: true)
        options.backlog = Int32(clamping: node.uint32("tcp_backlog_size", default: 4096))
        options.bufferLimit = Int(node.uint32("per_connection_buffer_limit_bytes", default: 1 << 20))
        options.statPrefix = node.string("stat_prefix")
        let statName = options.statPrefix.isEmpty ? "\(first.address)" : options.statPrefix
        options.stats = context.stats(ListenerStat.self, .listener(statName))
        context.listenerStatName = statName
        let direction = node.enumName("traffic_direction")
        context.listenerIsOutbound = direction == "OUTBOUND"
        options.isInbound = direction == "INBOUND"
        defer { (context.listenerStatName, context.listenerIsOutbound) = (nil, false) }
        for filter in node.messages("listener_filters") {
            options.disabled.append(try filter.message("filter_disabled", DestinationPredicate.read))
            options.filters.append(try ListenerFilter(filter, context))
        }
        if node.bool("use_original_dst", default: false) {
            options.usesOriginalDestination = true
            options.filters.insert(.originalDestination, at: 0)
            options.disabled.insert(nil, at: 0)
        }
        if let old = node.message("deprecated_v1") {
            options.bindsToPort = old.bool("bind_to_port", default: options.bindsToPort)
        }
        options.logs = try node.messages("access_log") { (node) throws(ConfigError) in try AccessLog(node, context) }
        options.fingerprint = node.message.fingerprint(
            without: ["filter_chains", "default_filter_chain", "filter_chain_matcher"])
        if let balance = node.message("connection_balance_config") {
            guard balance.choice("balance_type") == "exact_balance" else {
                throw balance.error("only exact_balance is supported")
            }
            _ = balance.message("exact_balance")
            options.isBalanced = true
        }
        options.bypassesOverload = node.bool("bypass_overload_manager")
        if !node.bool("ignore_global_conn_limit"), !options.bypassesOverload {
            options.allowances.append((context.globalAllowance, .globalOverflows))
        }
        let key = RuntimeKey.named("envoy.resource_limits.listener.\(node.string("name")).connection_limit")
        options.allowances.append((ConnectionAllowance { key?.value.map { Int(clamping: $0) } }, .overflows))
        if let metadata = node.message("metadata").map(RouteEntry.metadata) {
            options.demand = ListenerDemand(metadata: metadata, context.listenersOnDemand)
            options.serverFirst = ServerFirst(metadata: metadata)
        }
        // What only says where a listener stands in a mesh.
        node.ignore("reuse_port", "drain_type")
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
                name: node.string("name"), addresses: addresses, chains: chains, defaultChain: fallback, options)
        } catch {
            throw node.error("filter_chains", error.description)
        }
    }
}

extension ListenerFilter {
    /// An `envoy.config.listener.v3.ListenerFilter`.
    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
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
                ProxyProtocolDecoder(allowsAbsence: config.bool("allow_requests_without_proxy_protocol")),
                ProxyProtocolCounters(context, prefix: config.string("stat_prefix")))
        case "envoy.extensions.filters.listener.original_dst.v3.OriginalDst": self = .originalDestination
        case "envoy.extensions.filters.listener.original_src.v3.OriginalSrc":
            self = .originalSource(keepsPort: config.bool("bind_port"), mark: config.uint32("mark"))
        default: throw node.error("typed_config", "listener filter \(config.typeName) is not supported")
        }
    }
}
