import XDS

extension RateLimitFilter {
    /// An `envoy.extensions.filters.http.ratelimit.v3.RateLimit`.
    convenience init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        var options = Options()
        options.domain = node.string("domain")
        options.stage = node.uint32("stage")
        options.requestType =
            switch node.string("request_type") {
            case "internal": .internalOnly
            case "external": .externalOnly
            default: .both
            }
        options.policies = try node.messages("rate_limits") { (node) throws(ConfigError) in
            try RateLimitPolicy(node, ofFilter: true)
        }
        options.enabled = try node.message("filter_enabled", RuntimeFraction.init(_:)) ?? .always
        options.enforced = try node.message("filter_enforced", RuntimeFraction.init(_:)) ?? .always
        let denies = node.bool("failure_mode_deny")
        options.failureDenies =
            try node.message("failure_mode_deny_percent", RuntimeFraction.init(_:)) ?? (denies ? .always : .never)
        // What is no failure would be taken for an answer of the upstream.
        if let status = node.message("rate_limited_status")?.enumNumber("code"), status >= 400 {
            options.limitedStatus = status
        }
        if let status = node.message("status_on_error")?.enumNumber("code") { options.statusOnError = status }
        options.saysResourceExhausted = node.bool("rate_limited_as_resource_exhausted")
        options.saysRateLimited = !node.bool("disable_x_envoy_ratelimited_header")
        options.saysWhenToRetry = node.bool("enable_retry_after_header")
        options.showsLimits = try node.enumeration("enable_x_ratelimit_headers", as: LimitHeaders.self) == .draft3
        options.whenLimited = try node.messages("response_headers_to_add") { (node) throws(ConfigError) in
            try HeaderMutation(node)
        }
        let namespace = node.string("metadata_namespace")
        if !namespace.isEmpty { options.metadataName = namespace }
        let prefix = node.string("stat_prefix")
        if !prefix.isEmpty { options.scope += prefix + "." }
        let timeout = node.nanoseconds("timeout", default: 20_000_000)
        let service = try node.message("rate_limit_service") {
            (node) throws(ConfigError) -> (target: CallTarget, metadata: [(HeaderKey, [UInt8])]) in
            _ = node.enumName("transport_api_version")
            guard let service = node.message("grpc_service") else { throw node.error("grpc_service", "is missing") }
            // Here it is the filter that says how long an answer may take.
            service.ignore("timeout")
            return try CallTarget.grpc(service, timeout: timeout, context.build)
        }
        guard let service else { throw node.error("rate_limit_service", "is missing") }
        self.init(
            service.target, metadata: service.metadata, options, serviceCluster: context.build.serviceCluster)
    }

    private enum LimitHeaders: String, ConfigEnum {
        case off = "OFF"
        case draft3 = "DRAFT_VERSION_03"
    }
}

extension RateLimitFilter.Override {
    /// A `RateLimitPerRoute`.
    init(_ node: ConfigNode) throws(ConfigError) {
        hostPolicies = try node.enumeration("vh_rate_limits", as: HostRateLimits.self)
        policies = try node.messages("rate_limits") { (node) throws(ConfigError) in
            try RateLimitPolicy(node, ofFilter: true)
        }
        domain = node.string("domain")
    }
}
