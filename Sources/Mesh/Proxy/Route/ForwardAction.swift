import HTTP
import JSON
import XDS

/// The request goes to a cluster (`envoy.config.route.v3.RouteAction`).
package final class ForwardAction: Sendable {
    package enum Choice: Sendable {
        case cluster(ClusterID)
        /// The cluster that a field of the request names.
        case header(HeaderKey)
        case weighted(WeightedClusters)
    }

    /// Times in nanoseconds, 0 for none, nil for what the connection manager says.
    package struct Options: Sendable {
        /// From the end of the request to the end of the response.
        package var timeout: UInt64 = 15_000_000_000
        package var idleTimeout: UInt64?
        package var maximumStreamDuration: UInt64?
        /// What `grpc-timeout` may ask for, 0 for anything; nil when it has no say.
        package var grpcTimeoutMaximum: UInt64?
        /// Taken from what `grpc-timeout` asks for, so that the client's own time-out comes second.
        package var grpcTimeoutOffset: UInt64 = 0
        /// The deprecated pair, of the route's time-out instead of the stream's.
        package var routeGRPCTimeoutMaximum: UInt64?
        package var routeGRPCTimeoutOffset: UInt64 = 0
        package var retry: RetryPolicy?
        package var hedgesOnPerTryTimeout = false
        package var isHighPriority = false
        /// nil where redirects go to the client.
        var internalRedirect: InternalRedirectPolicy?
        package var clusterNotFoundStatus = 503
        var pathRewrite: PathRewrite?
        var hostRewrite: HostRewrite?
        var appendsForwardedHost = false
        var mirrors: [MirrorPolicy] = []
        var hashPolicies: [HashPolicy] = []
        /// Of hosts, for clusters with subsets.
        var metadata: HostMetadata?
        package var rateLimits: [RateLimitPolicy] = []
        /// The virtual host's rate limits apply too.
        package var includesHostRateLimits = false
        package var upgrades: [ConnectionManager.Upgrade] = []
        package init() {}
    }

    package let choice: Choice
    private let shared: Shared<Options>
    package var options: Options { _read { yield shared.value } }

    package init(_ choice: Choice, _ options: Options = Options()) {
        self.choice = choice
        shared = Shared(options)
    }

    private init(only choice: Choice) {
        self.choice = choice
        shared = Self.usual
    }

    /// Of the many routes that say no more than where requests go.
    private static let usual = Shared(Options())
}

extension ForwardAction {
    convenience init(_ node: ConfigNode, _ context: RouteContext) throws(ConfigError) {
        if node.saysOnly("cluster"), context.host?.saysNothingOfForwarding ?? true {
            self.init(only: .cluster(try context.cluster(node.string("cluster"), node, "cluster")))
            return
        }
        var options = Options()
        try options.readTimes(node)
        try options.readRewrites(node)
        options.retry = try node.message("retry_policy", RetryPolicy.init) ?? context.host?.retry
        options.hedgesOnPerTryTimeout = try node.message("hedge_policy", Self.hedges) ?? context.host?.hedges ?? false
        options.mirrors = try node.messages("request_mirror_policies") { (node) throws(ConfigError) in
            try MirrorPolicy(node, context)
        }
        if options.mirrors.isEmpty { options.mirrors = context.host?.mirrors ?? [] }
        options.hashPolicies = try node.messages("hash_policy", HashPolicy.init)
        options.rateLimits = try node.messages("rate_limits") { (node) throws(ConfigError) in
            try RateLimitPolicy(node, ofFilter: false)
        }
        options.includesHostRateLimits = node.bool("include_vh_rate_limits", default: false)
        options.metadata = SubsetCriteria.read(node)
        options.isHighPriority = try node.enumeration("priority", as: Priority.self) == .high
        options.clusterNotFoundStatus =
            switch try node.enumeration("cluster_not_found_response_code", as: NotFound.self) {
            case .unavailable: 503
            case .notFound: 404
            case .internalError: 500
            }
        options.upgrades = node.messages("upgrade_configs").map { upgrade in
            var found = ConnectionManager.Upgrade(upgrade.string("upgrade_type").lowercased())
            found.isEnabled = upgrade.bool("enabled", default: true)
            found.endsHere = upgrade.message("connect_config") != nil
            return found
        }
        options.internalRedirect = try node.message("internal_redirect_policy", InternalRedirectPolicy.init)
        // What is said of QUIC's early data does not concern a proxy without it.
        node.ignore("early_data_policy")
        let choice: Choice
        switch node.choice("cluster_specifier") {
        case "cluster":
            choice = .cluster(try context.cluster(node.string("cluster"), node, "cluster"))
        case "cluster_header": choice = .header(HeaderKey(node.string("cluster_header")))
        case "weighted_clusters":
            guard let weighted = node.message("weighted_clusters") else {
                throw node.error("weighted_clusters", "is missing")
            }
            choice = .weighted(try WeightedClusters(weighted, context))
        case let other: throw node.error("cluster specifier \(other ?? "") is not supported")
        }
        self.init(choice, options)
    }

    /// An `envoy.config.route.v3.HedgePolicy`.
    static func hedges(_ node: ConfigNode) throws(ConfigError) -> Bool {
        // Envoy reads how many tries begin at once, and begins one.
        node.ignore("initial_requests")
        let hedges = node.bool("hedge_on_per_try_timeout")
        _ = node.message("additional_request_chance").map { $0.ignore("numerator", "denominator") }
        return hedges
    }

    fileprivate enum Priority: String, ConfigEnum {
        case usual = "DEFAULT"
        case high = "HIGH"
    }

    fileprivate enum NotFound: String, ConfigEnum {
        case unavailable = "SERVICE_UNAVAILABLE"
        case notFound = "NOT_FOUND"
        case internalError = "INTERNAL_SERVER_ERROR"
    }
}

extension ForwardAction.Options {
    fileprivate mutating func readTimes(_ node: ConfigNode) throws(ConfigError) {
        timeout = node.nanoseconds("timeout", default: timeout)
        idleTimeout = node.nanoseconds("idle_timeout")
        routeGRPCTimeoutMaximum = node.nanoseconds("max_grpc_timeout")
        routeGRPCTimeoutOffset = node.nanoseconds("grpc_timeout_offset", default: 0)
        guard let duration = node.message("max_stream_duration") else { return }
        maximumStreamDuration = duration.nanoseconds("max_stream_duration")
        grpcTimeoutMaximum = duration.nanoseconds("grpc_timeout_header_max")
        grpcTimeoutOffset = duration.nanoseconds("grpc_timeout_header_offset", default: 0)
    }

    fileprivate mutating func readRewrites(_ node: ConfigNode) throws(ConfigError) {
        let kinds = [
            !node.string("prefix_rewrite").isEmpty, node.has("regex_rewrite"), node.has("path_rewrite_policy"),
        ]
        guard kinds.count(where: { $0 }) <= 1 else {
            throw node.error("only one of prefix_rewrite, regex_rewrite and path_rewrite_policy may be set")
        }
        let prefix = Array(node.string("prefix_rewrite").utf8)
        if !prefix.isEmpty { pathRewrite = .prefix(prefix) }
        if let regex = try node.message("regex_rewrite", RegexSubstitution.init) { pathRewrite = .regex(regex) }
        if let policy = node.message("path_rewrite_policy") { pathRewrite = .template(try Self.template(policy)) }
        appendsForwardedHost = node.bool("append_x_forwarded_host")
        switch node.choice("host_rewrite_specifier") {
        case nil: break
        case "host_rewrite_literal":
            let host = Array(node.string("host_rewrite_literal").utf8)
            if !host.isEmpty { hostRewrite = .literal(host) }
        case "host_rewrite_header": hostRewrite = .header(HeaderKey(node.string("host_rewrite_header")))
        case "host_rewrite_path_regex":
            hostRewrite = try node.message("host_rewrite_path_regex", RegexSubstitution.init).map { .path($0) }
        case "auto_host_rewrite": if node.bool("auto_host_rewrite", default: false) { hostRewrite = .upstream }
        case let other: throw node.unsupported(other ?? "")
        }
    }

    private static func template(_ node: ConfigNode) throws(ConfigError) -> PathTemplate.Rewrite {
        _ = node.string("name")
        guard let policy = try node.typed("typed_config") else { throw node.error("typed_config", "is missing") }
        guard policy.typeName == "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig" else {
            throw node.error("typed_config", "path rewrite policy \(policy.typeName) is not supported")
        }
        do throws(PathTemplate.Invalid) {
            return try PathTemplate.Rewrite(policy.string("path_template_rewrite"))
        } catch {
            throw policy.error("path_template_rewrite", error.description)
        }
    }
}
