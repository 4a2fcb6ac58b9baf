import Bytes
import XDS

extension ConnectionManager {
    /// An `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`.
    convenience init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        var options = Options()
        options.statPrefix = node.string("stat_prefix")
        options.codec =
            switch try node.enumeration("codec_type", as: Codec.self) {
            case .auto: .auto
            case .http1: .http1
            case .http2: .http2
            }
        if let name = node.stringIfSet("server_name"), !name.isEmpty { options.serverName = name }
        options.serverHeader =
            switch try node.enumeration("server_header_transformation", as: ServerHeaderKind.self) {
            case .overwrite: .overwrite
            case .appendIfAbsent: .appendIfAbsent
            case .passThrough: .passThrough
            }
        options.via = Array(node.string("via").utf8)
        options.usesRemoteAddress = node.bool("use_remote_address", default: false)
        options.trustedHops = Int(node.uint32("xff_num_trusted_hops"))
        options.skipsXFFAppend = node.bool("skip_xff_append")
        options.clientDetectors = try node.messages("original_ip_detection_extensions", ClientDetector.init)
        if !options.clientDetectors.isEmpty {
            if options.usesRemoteAddress {
                throw node.error("Original IP detection extensions and use_remote_address may not be mixed")
            }
            if options.trustedHops > 0 {
                throw node.error("Original IP detection extensions and xff_num_trusted_hops may not be mixed")
            }
        }
        for mutations in node.messages("early_header_mutation_extensions") {
            options.earlyMutations += try HeaderMutation.early(mutations)
        }
        options.generatesRequestID = node.bool("generate_request_id", default: true)
        options.preservesExternalRequestID = node.bool("preserve_external_request_id")
        options.alwaysSetsRequestIDInResponse = node.bool("always_set_request_id_in_response")
        options.normalizesPath = node.bool("normalize_path", default: false)
        options.mergesSlashes = node.bool("merge_slashes")
        options.escapedSlashes =
            switch try node.enumeration("path_with_escaped_slashes_action", as: EscapedSlashesKind.self) {
            case .keep, .implementation: .keep
            case .reject: .reject
            case .redirect: .unescapeAndRedirect
            case .forward: .unescapeAndForward
            }
        options.stripsAnyPort = node.bool("strip_any_host_port")
        options.stripsMatchingPort = node.bool("strip_matching_host_port")
        if options.stripsAnyPort, options.stripsMatchingPort {
            throw node.error("Cannot enable both strip_matching_host_port and strip_any_host_port options.")
        }
        options.stripsTrailingDot = node.bool("strip_trailing_host_dot")
        options.appendsForwardedPort = node.bool("append_x_forwarded_port")
        if let internalAddresses = node.message("internal_address_config") {
            options.trustsUnixSockets = internalAddresses.bool("unix_sockets")
            options.internalAddresses = AddressRanges(try internalAddresses.messages("cidr_ranges", CIDR.init))
        }
        if let scheme = node.message("scheme_header_transformation") {
            options.scheme = Array(scheme.string("scheme_to_overwrite").utf8)
            options.matchesUpstreamScheme = scheme.bool("match_upstream")
        }
        if node.bool("add_user_agent", default: false) {
            options.addsUserAgent = true
            options.serviceCluster = Array(context.serviceCluster.utf8)
            options.nodeName = Array(context.nodeName.utf8)
        }
        options.clientCertificate = try ForwardedClientCertificate(manager: node)
        options.endsHTTP1Safely = node.bool("http1_safe_max_connection_duration")
        options.proxies100Continue = node.bool("proxy_100_continue")
        options.maximumHeadKilobytes = Int(node.uint32("max_request_headers_kb", default: 60))
        options.streamIdleTimeout = node.nanoseconds("stream_idle_timeout", default: options.streamIdleTimeout)
        options.requestTimeout = node.nanoseconds("request_timeout", default: 0)
        options.requestHeadersTimeout = node.nanoseconds("request_headers_timeout", default: 0)
        options.delayedCloseTimeout = node.nanoseconds("delayed_close_timeout", default: options.delayedCloseTimeout)
        options.drainTimeout = node.nanoseconds("drain_timeout", default: options.drainTimeout)
        node.message("common_http_protocol_options").map { options.read(common: $0) }
        if let http1 = node.message("http_protocol_options") { try options.read(http1: http1) }
        if options.underscores != .allow { options.underscoreCounters = UnderscoreCounters(context) }
        options.http2.malformedEndsStream = node.bool("stream_error_on_invalid_http_message", default: false)
        if let http2 = node.message("http2_protocol_options") {
            options.read(http2: http2)
            options.http2.keepAlive = try http2.message("connection_keepalive", HTTP2KeepAlive.Options.init)
            if options.http2.keepAlive != nil {
                options.http2.keepAliveTimeouts = context.counters.counter("http2.keepalive_timeout")
            }
        }
        for upgrade in node.messages("upgrade_configs") {
            var found = Upgrade(upgrade.string("upgrade_type").lowercased())
            found.isEnabled = upgrade.bool("enabled", default: true)
            guard !options.upgrades.contains(where: { $0.kind == found.kind }) else {
                throw upgrade.error("upgrade_type", "\"\(found.kind)\" is there already")
            }
            options.upgrades.append(found)
        }
        let routes: RouteSource
        switch node.choice("route_specifier") {
        case "route_config":
            guard
                let table = try node.message(
                    "route_config", { (table) throws(ConfigError) in try RouteTable(table, context, isStatic: true) })
            else { throw node.error("route_config", "is missing") }
            routes = .fixed(table)
        case "rds":
            guard let rds = node.message("rds") else { throw node.error("rds", "is missing") }
            routes = .named(try Self.subscribe(rds, options.statPrefix, context))
        case "scoped_routes": throw node.unsupported("scoped_routes")
        case let other: throw node.error("route specifier \(other ?? "") is not supported")
        }
        var filters: [InstalledFilter] = []
        var discovered: [DiscoveredFilter] = []
        let filterContext = FilterContext(build: context, prefix: "http.\(options.statPrefix).")
        var hasRouter = false
        for filter in node.messages("http_filters") {
            guard !hasRouter else { throw filter.error("a filter behind the router") }
            let name = filter.string("name")
            if let discovery = filter.message("config_discovery") {
                let found = try DiscoveredFilter(discovery, name: name, slot: filters.count, filterContext)
                discovered.append(found)
                filters.append(
                    InstalledFilter(found.substitute, name: name, isDisabled: filter.bool("disabled")))
                continue
            }
            guard let config = try filter.typed("typed_config") else {
                throw filter.error("typed_config", "filter \"\(name)\" has no configuration")
            }
            if config.typeName == Self.routerType {
                hasRouter = true
                options.suppressesEnvoyHeaders = config.bool("suppress_envoy_headers")
                _ = config.bool("dynamic_stats", default: true)
                options.upstreamLogs = try config.messages("upstream_log") { (node) throws(ConfigError) in
                    try AccessLog(node, context)
                }
                options.logsUpstreamReady =
                    config.message("upstream_log_options")?.bool("flush_upstream_log_on_upstream_stream") ?? false
                continue
            }
            filters.append(
                InstalledFilter(
                    try HTTPFilter(config, filterContext), name: name, isDisabled: filter.bool("disabled")))
            guard filters.count < Self.filterLimit else { throw filter.error("more than \(Self.filterLimit) filters") }
        }
        let logs = try node.messages("access_log") { (node) throws(ConfigError) in try AccessLog(node, context) }
        let requestID = try node.message("request_id_extension", RequestIDOptions.init) ?? RequestIDOptions()
        let prefix = options.statPrefix
        let tracing = try node.message("tracing") { (node) throws(ConfigError) in
            try Tracing(node, requestID: requestID, prefix: prefix, context)
        }
        guard hasRouter else { throw node.error("http_filters", "the last filter must be the router") }
        let place = discovered.isEmpty ? nil : context.filterChains.make()
        self.init(
            options, filters: filters,
            discovered: place.map { DiscoveredFilters(place: $0, prefix: filterContext.prefix, filters: discovered) },
            routes: routes, logs: logs, tracing: tracing,
            localReplies: try node.message("local_reply_config", LocalReplyRules.init),
            statsID: context.managerStatsID(options.statPrefix),
            listenerStats: context.listenerStatName.map {
                context.stats(ListenerHTTPStat.self, .listenerHTTP(listener: $0, prefix: options.statPrefix))
            })
    }

    static let routerType = "envoy.extensions.filters.http.router.v3.Router"

    /// An `Rds`.
    private static func subscribe(
        _ node: ConfigNode, _ prefix: String, _ context: BuildContext
    ) throws(ConfigError) -> NamedResource {
        guard let source = node.message("config_source") else { throw node.error("config_source", "is missing") }
        let name = node.string("route_config_name")
        guard !name.isEmpty else { throw node.error("route_config_name", "is missing") }
        let config = try ConfigSource(source, context)
        return context.routes.subscribe(
            NamedSubscriptions.Source(origin: config.origin, name: name), prefix: prefix, fetchTimeout: config.fetchTime
        )
    }

    private enum Codec: String, ConfigEnum {
        case auto = "AUTO"
        case http1 = "HTTP1"
        case http2 = "HTTP2"
    }

    private enum ServerHeaderKind: String, ConfigEnum {
        case overwrite = "OVERWRITE"
        case appendIfAbsent = "APPEND_IF_ABSENT"
        case passThrough = "PASS_THROUGH"
    }

    private enum EscapedSlashesKind: String, ConfigEnum {
        case implementation = "IMPLEMENTATION_SPECIFIC_DEFAULT"
        case keep = "KEEP_UNCHANGED"
        case reject = "REJECT_REQUEST"
        case redirect = "UNESCAPE_AND_REDIRECT"
        case forward = "UNESCAPE_AND_FORWARD"
    }
}

extension ConnectionManager.Options {
    /// `core.v3.HttpProtocolOptions`
    fileprivate mutating func read(common node: ConfigNode) {
        idleTimeout = node.nanoseconds("idle_timeout", default: idleTimeout)
        maximumConnectionDuration = node.nanoseconds("max_connection_duration", default: 0)
        maximumStreamDuration = node.nanoseconds("max_stream_duration", default: 0)
        switch node.enumName("headers_with_underscores_action") {
        case "REJECT_REQUEST": underscores = .reject
        case "DROP_HEADER": underscores = .drop
        default: break
        }
        maximumHeaders = Int(node.uint32("max_headers_count", default: 100))
        maximumRequestsPerConnection = node.uint32("max_requests_per_connection", default: 0)
    }

    /// `core.v3.Http2ProtocolOptions`
    fileprivate mutating func read(http2 node: ConfigNode) {
        http2.maximumStreams = Int(node.uint32("max_concurrent_streams", default: 1024))
        http2.streamWindow = Int(node.uint32("initial_stream_window_size", default: 16 << 20))
        http2.connectionWindow = Int(node.uint32("initial_connection_window_size", default: 24 << 20))
        http2.allowsConnect = node.bool("allow_connect")
        http2.malformedEndsStream = node.bool(
            "override_stream_error_on_invalid_http_message", default: http2.malformedEndsStream)
    }

    /// `core.v3.Http1ProtocolOptions`
    fileprivate mutating func read(http1 node: ConfigNode) throws(ConfigError) {
        http1.acceptsHTTP10 = node.bool("accept_http_10")
        http1.defaultHost = node.string("default_host_for_http_10")
        http1.enablesTrailers = node.bool("enable_trailers")
        http1.allowsAbsoluteURL = node.bool("allow_absolute_url", default: true)
        http1.allowsChunkedLength = node.bool("allow_chunked_length")
        http1.headerForm = try HeaderForm(http1: node)
        http1.ignoredUpgrades = try node.messages("ignore_http_11_upgrade", StringMatcher.init)
        // A connection whose framing is in doubt ends whatever is said here.
        node.ignore("override_stream_error_on_invalid_http_message", "use_balsa_parser", "send_fully_qualified_url")
    }
}
