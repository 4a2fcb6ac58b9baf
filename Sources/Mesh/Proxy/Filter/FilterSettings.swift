import XDS

/// What a route says to one of the filters (`typed_per_filter_config`): a closed set.
package enum FilterSettings: Sendable {
    case fault(FaultFilter)
    case rbac(RBACFilter.Override)
    case cors(CORSPolicy)
    case csrf(CSRFPolicy)
    case buffer(BufferFilter.Override)
    case headerMutation(HeaderMutationFilter.Mutations)
    case localRateLimit(LocalRateLimitFilter)
    case basicAuth(BasicAuthFilter.Users)
    case headerToMetadata(HeaderToMetadataFilter)
    case extAuthz(ExtAuthzFilter.Override)
    case jwt(JWTFilter.Override)
    case compressor(CompressorFilter.Override)
    case statefulSession(StatefulSessionFilter.Override)
    case rateLimit(RateLimitFilter.Override)
    case onDemand(OnDemandFilter)
    case apiKeyAuth(APIKeyAuthFilter.Override)
    case bandwidthLimit(BandwidthLimitFilter)
    case customResponse(CustomResponseFilter)

    /// - Returns: nil when the type is unknown and may be.
    static func read(
        _ node: ConfigNode, isOptional: Bool, _ context: BuildContext
    ) throws(ConfigError) -> FilterSettings? {
        let context = FilterContext(build: context, prefix: "")
        switch node.typeName.dropPrefix("envoy.extensions.filters.http.") {
        case "fault.v3.HTTPFault": return .fault(try FaultFilter(node, context))
        case "rbac.v3.RBACPerRoute": return .rbac(try RBACFilter.Override(node, context))
        case "cors.v3.CorsPolicy": return .cors(try CORSPolicy(node))
        case "csrf.v3.CsrfPolicy": return .csrf(try CSRFPolicy(node))
        case "buffer.v3.BufferPerRoute": return .buffer(try BufferFilter.Override(node))
        case "header_mutation.v3.HeaderMutationPerRoute":
            return .headerMutation(try HeaderMutationFilter.Mutations(in: node))
        case "local_ratelimit.v3.LocalRateLimit": return .localRateLimit(try LocalRateLimitFilter(node, context))
        case "basic_auth.v3.BasicAuthPerRoute": return .basicAuth(try BasicAuthFilter.Users(in: node))
        case "header_to_metadata.v3.Config": return .headerToMetadata(try HeaderToMetadataFilter(node))
        case "ext_authz.v3.ExtAuthzPerRoute": return .extAuthz(try ExtAuthzFilter.Override(node, context.build))
        case "jwt_authn.v3.PerRouteConfig": return .jwt(try JWTFilter.Override(node))
        case "compressor.v3.CompressorPerRoute": return .compressor(try CompressorFilter.Override(node))
        case "stateful_session.v3.StatefulSessionPerRoute":
            return .statefulSession(try StatefulSessionFilter.Override(node))
        case "on_demand.v3.PerRouteConfig": return .onDemand(try OnDemandFilter(node, context.build))
        case "ratelimit.v3.RateLimitPerRoute": return .rateLimit(try RateLimitFilter.Override(node))
        case "api_key_auth.v3.ApiKeyAuthPerRoute": return .apiKeyAuth(try APIKeyAuthFilter.Override(node))
        case "bandwidth_limit.v3.BandwidthLimit":
            return .bandwidthLimit(try BandwidthLimitFilter(node, context.build))
        case "custom_response.v3.CustomResponse": return .customResponse(try CustomResponseFilter(node))
        default:
            if isOptional { return nil }
            throw node.error("settings of type \(node.typeName) are not supported")
        }
    }
}

extension HTTPFilter {
    /// What is packed in an `http_filters` entry.
    init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        switch node.typeName.dropPrefix("envoy.extensions.filters.http.") {
        case "fault.v3.HTTPFault": self = .fault(try FaultFilter(node, context))
        case "rbac.v3.RBAC": self = .rbac(try RBACFilter(node, context))
        case "cors.v3.Cors": self = .cors(CORSFilter(context))
        case "csrf.v3.CsrfPolicy": self = .csrf(try CSRFFilter(node, context))
        case "buffer.v3.Buffer": self = .buffer(try BufferFilter(node, context))
        case "header_mutation.v3.HeaderMutation": self = .headerMutation(try HeaderMutationFilter(node))
        case "local_ratelimit.v3.LocalRateLimit": self = .localRateLimit(try LocalRateLimitFilter(node, context))
        case "health_check.v3.HealthCheck": self = .healthCheck(try HealthCheckFilter(node, context))
        case "basic_auth.v3.BasicAuth": self = .basicAuth(try BasicAuthFilter(node, context))
        case "set_metadata.v3.Config": self = .setMetadata(try SetMetadataFilter(node))
        case "header_to_metadata.v3.Config": self = .headerToMetadata(try HeaderToMetadataFilter(node))
        case "ext_authz.v3.ExtAuthz": self = .extAuthz(try ExtAuthzFilter(node, context))
        case "jwt_authn.v3.JwtAuthentication": self = .jwt(try JWTFilter(node, context))
        case "compressor.v3.Compressor": self = .compressor(try CompressorFilter(node, context))
        case "decompressor.v3.Decompressor": self = .decompressor(try DecompressorFilter(node, context))
        case "grpc_stats.v3.FilterConfig": self = .grpcStats(try GRPCStatsFilter(node))
        case "grpc_web.v3.GrpcWeb": self = .grpcWeb
        case "stateful_session.v3.StatefulSession": self = .statefulSession(try StatefulSessionFilter(node))
        case "on_demand.v3.OnDemand": self = .onDemand(try OnDemandFilter(node, context.build))
        case "original_src.v3.OriginalSrc": self = .originalSource(OriginalSourceFilter(node))
        case "ratelimit.v3.RateLimit": self = .rateLimit(try RateLimitFilter(node, context))
        case "api_key_auth.v3.ApiKeyAuth": self = .apiKeyAuth(try APIKeyAuthFilter(node, context))
        case "bandwidth_limit.v3.BandwidthLimit":
            self = .bandwidthLimit(try BandwidthLimitFilter(node, context.build))
        case "custom_response.v3.CustomResponse": self = .customResponse(try CustomResponseFilter(node))
        default: throw node.error("HTTP filter \(node.typeName) is not supported")
        }
    }
}

extension String {
    /// The text behind a prefix; all of it without that.
    fileprivate func dropPrefix(_ prefix: String) -> String {
        hasPrefix(prefix) ? String(dropFirst(prefix.count)) : self
    }
}
