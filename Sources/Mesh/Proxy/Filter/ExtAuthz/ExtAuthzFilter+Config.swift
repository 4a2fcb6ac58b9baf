import XDS

extension ExtAuthzFilter {
    /// An `envoy.extensions.filters.http.ext_authz.v3.ExtAuthz`.
    convenience init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        var options = Options()
        options.enabled = try node.message("filter_enabled", RuntimeFraction.init(_:)) ?? .always
        options.enabledMetadata = try node.message("filter_enabled_metadata", MetadataMatcher.init)
        if let flag = node.message("deny_at_disable") {
            options.deniesDisabled = flag.bool("default_value", default: false)
            flag.ignore("runtime_key")
        }
        options.takesMetadata = node.bool("enable_dynamic_metadata_ingestion", default: true)
        options.allowsFailure = node.bool("failure_mode_allow")
        options.marksAllowedFailure = node.bool("failure_mode_allow_header_add")
        options.clearsRoute = node.bool("clear_route_cache")
        options.buffering = node.message("with_request_body").map(Buffering.init)
        options.maximumDeniedBody = Int(node.uint32("max_denied_response_body_bytes"))
        if let status = node.message("status_on_error") { options.statusOnError = status.enumNumber("code") }
        _ = node.enumName("transport_api_version")
        // Spans and these statistics of the service's cluster are not there.
        node.ignore("charge_cluster_response_stats", "emit_client_span")
        var attributes: AuthzAttributes? = try AuthzAttributes(node)
        guard let service = try Service(node, context.build, &attributes) else {
            throw node.error("a service is missing: grpc_service or http_service")
        }
        let prefix = node.string("stat_prefix")
        if !prefix.isEmpty { options.scope += prefix + "." }
        let scope = options.scope
        self.init(
            service, attributes ?? AuthzAttributes(), options,
            Counters(
                ok: context.counter(scope + "ok"), denied: context.counter(scope + "denied"),
                error: context.counter(scope + "error"), disabled: context.counter(scope + "disabled"),
                failureModeAllowed: context.counter(scope + "failure_mode_allowed")))
    }
}

extension ExtAuthzFilter.Buffering {
    /// `ext_authz.v3.BufferSettings`
    fileprivate init(_ node: ConfigNode) {
        limit = Int(node.uint32("max_request_bytes"))
        allowsPartial = node.bool("allow_partial_message")
        packsAsBytes = node.bool("pack_as_bytes")
    }
}

extension ExtAuthzFilter.Override {
    /// An `ExtAuthzPerRoute`.
    init(_ node: ConfigNode, _ build: BuildContext) throws(ConfigError) {
        isDisabled = node.bool("disabled")
        guard let settings = node.message("check_settings") else { return }
        settings.ignore("emit_client_span")
        contextExtensions = settings.stringMap("context_extensions")
        buffersNothing = settings.bool("disable_request_body_buffering")
        buffering = settings.message("with_request_body").map(ExtAuthzFilter.Buffering.init)
        // What services see is the filter's to say.
        var none: AuthzAttributes?
        service = try ExtAuthzFilter.Service(settings, build, &none)
    }
}

extension ExtAuthzFilter.Service {
    /// The service that `node` names, if it names one.
    ///
    /// - Parameter attributes: the filter's; nil where a route names the service.
    fileprivate init?(
        _ node: ConfigNode, _ build: BuildContext, _ attributes: inout AuthzAttributes?
    ) throws(ConfigError) {
        if let service = node.message("grpc_service") {
            let (target, metadata) = try CallTarget.grpc(
                service, timeout: service.nanoseconds("timeout", default: 200_000_000), build, retries: true)
            self = .grpc(AuthzGRPCService(target, metadata: metadata))
            return
        }
        guard let service = node.message("http_service") else { return nil }
        let retry = try service.message("retry_policy") { (node) throws(ConfigError) in
            try RetryPolicy(calls: node)
        }
        guard
            let (target, _) = try service.message(
                "server_uri", { (uri) throws(ConfigError) in try CallTarget.http(uri, retry: retry) })
        else { throw service.error("server_uri", "is missing") }
        let prefix = service.string("path_prefix")
        guard prefix.isEmpty || prefix.hasPrefix("/") else {
            throw service.error("path_prefix", "must begin with \"/\"")
        }
        var added: [(key: HeaderKey, value: [UInt8])] = []
        if let request = service.message("authorization_request") {
            if let asked = attributes?.asked, let list = try request.message("allowed_headers", HeaderNameMatcher.init)
            {
                guard asked.isEmpty else { throw request.error("allowed_headers", "is said twice") }
                attributes?.asked = list
            }
            for field in request.messages("headers_to_add") {
                added.append((HeaderKey(field.string("key")), Array(field.string("value").utf8)))
            }
        }
        attributes?.asked.names = ["authorization"]
        var answers = AuthzHTTPService.Answers()
        if let response = service.message("authorization_response") {
            func list(_ name: String) throws(ConfigError) -> HeaderNameMatcher {
                try response.message(name, HeaderNameMatcher.init) ?? HeaderNameMatcher()
            }
            answers.upstream = try list("allowed_upstream_headers")
            answers.upstreamAppended = try list("allowed_upstream_headers_to_append")
            answers.clientOnSuccess = try list("allowed_client_headers_on_success")
            answers.metadata = try list("dynamic_metadata_from_headers")
            var client = try list("allowed_client_headers")
            if !client.isEmpty {
                client.names = ["content-length", "www-authenticate", "location"]
                answers.client = client
            }
        }
        self = .http(
            AuthzHTTPService(
                target, pathPrefix: prefix, pathOverride: service.string("path_override"),
                added: added, answers: answers))
    }
}
