import XDS

/// Where resources come from, as something that needs them says it (`envoy.config.core.v3.ConfigSource`).
struct ConfigSource: Hashable, Sendable {
    enum Origin: Hashable, Sendable {
        case file(ConfigFile)
        /// The bootstrap's `ads_config`: one stream for all.
        case aggregated
        /// A control plane asked for one kind of resources.
        case server(DiscoveryServer)
    }

    var origin: Origin
    /// Nanoseconds after which something of which nothing was heard is taken as absent; 0 for never.
    var fetchTime: UInt64

    static let standardFetchTime: UInt64 = 15_000_000_000

    /// - Parameter context: where it is known whether there is a stream for all; nil takes it that there is.
    init(_ node: ConfigNode, _ context: BuildContext? = nil) throws(ConfigError) {
        fetchTime = node.nanoseconds("initial_fetch_timeout", default: Self.standardFetchTime)
        switch node.choice("config_source_specifier") {
        case "ads", "self":
            // `self` is the source of who says it; who says it came by the aggregated stream.
            if let own = node.message("self") { own.ignore("transport_api_version") }
            node.ignore("ads")
            try Self.checkVersion(node, "resource_api_version")
            guard context?.hasAggregatedSource ?? true else {
                throw node.error("ads", "the bootstrap has no ads_config")
            }
            origin = .aggregated
        case "api_config_source":
            guard let api = node.message("api_config_source") else { throw node.error("api_config_source is missing") }
            try Self.checkVersion(node, "resource_api_version")
            origin = .server(try DiscoveryServer(api))
        default: origin = .file(try ConfigFile(node))
        }
    }

    static func checkVersion(_ node: ConfigNode, _ field: String) throws(ConfigError) {
        guard node.enumName(field) != "V2" else { throw node.error(field, "must be V3, is V2") }
    }
}

/// A control plane and how it is spoken to (`envoy.config.core.v3.ApiConfigSource`).
struct DiscoveryServer: Hashable, Sendable {
    struct Metadata: Hashable, Sendable {
        /// In lower case.
        var name: String
        var value: String
    }

    /// Where its servers are.
    var cluster: String
    var authority: String
    var metadata: [Metadata]
    var form: DiscoveryForm
    /// The node is named in the first request of a stream only.
    var namesNodeOnce: Bool
    /// Bytes of a response at most.
    var messageLimit: Int

    /// What a response may have where the configuration does not say: enough for hundreds of thousands of endpoints.
    static let standardMessageLimit = 128 << 20

    init(_ node: ConfigNode) throws(ConfigError) {
        switch node.enumName("api_type") {
        case "GRPC", "AGGREGATED_GRPC": form = .stateOfTheWorld
        case "DELTA_GRPC", "AGGREGATED_DELTA_GRPC": form = .delta
        case let other: throw node.error("api_type", "\(other) is not supported; use GRPC or DELTA_GRPC")
        }
        try ConfigSource.checkVersion(node, "transport_api_version")
        namesNodeOnce = node.bool("set_node_on_first_message_only")
        guard node.strings("cluster_names").isEmpty else {
            throw node.error("cluster_names", "a gRPC source is named by grpc_services")
        }
        // Those of REST only.
        node.ignore("refresh_delay", "request_timeout")
        let services = node.messages("grpc_services")
        guard services.count == 1, let service = services.first else {
            throw node.error("grpc_services", "expected one, found \(services.count)")
        }
        guard service.choice("target_specifier") == "envoy_grpc", let target = service.message("envoy_grpc") else {
            throw service.error("google_grpc is not supported; use envoy_grpc")
        }
        // A stream has no end, so there is none to wait for; how it is opened again is the protocol's to say.
        service.ignore("timeout")
        target.ignore("skip_envoy_headers")
        cluster = target.string("cluster_name")
        let authority = target.string("authority")
        self.authority = authority.isEmpty ? cluster : authority
        messageLimit = Int(target.uint32("max_receive_message_length", default: UInt32(Self.standardMessageLimit)))
        metadata = service.messages("initial_metadata").map { entry in
            Metadata(name: entry.string("key").lowercased(), value: entry.string("value"))
        }
    }
}
