import XDS

extension JWTFilter {
    /// An `envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`.
    convenience init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        var providers: [String: JWTProvider] = [:]
        var list: [JWTProvider] = []
        for (name, provider) in node.messageMap("providers") {
            let made = try JWTProvider(name, provider)
            providers[name] = made
            list.append(made)
        }
        let reader = RequirementReader(providers: providers, all: list)
        var named: [String: JWTRequirement] = [:]
        for (name, requirement) in node.messageMap("requirement_map") { named[name] = try reader.read(requirement) }
        let rules = try node.messages("rules") { (rule) throws(ConfigError) -> Rule in
            guard let match = try rule.message("match", RouteMatch.init) else {
                throw rule.error("match", "is missing")
            }
            switch rule.choice("requirement_type") {
            case "requires":
                return Rule(match: match, requirement: try rule.message("requires", reader.read) ?? .nothing)
            case "requirement_name":
                let name = rule.string("requirement_name")
                guard let requirement = named[name] else {
                    throw rule.error("requirement_name", "\"\(name)\" is not in requirement_map")
                }
                return Rule(match: match, requirement: requirement)
            default: return Rule(match: match, requirement: .nothing)
            }
        }
        let scope = "jwt_authn." + (node.string("stat_prefix").isEmpty ? "" : node.string("stat_prefix") + ".")
        self.init(
            list, rules: rules, requirements: named, bypassesPreflight: node.bool("bypass_cors_preflight"),
            stripsFailureResponse: node.bool("strip_failure_response"),
            counters: Counters(
                allowed: context.counter(scope + "allowed"), denied: context.counter(scope + "denied"),
                preflightBypassed: context.counter(scope + "cors_preflight_bypassed"),
                fetchSucceeded: context.counter(scope + "jwks_fetch_success"),
                fetchFailed: context.counter(scope + "jwks_fetch_failed")))
    }
}

extension JWTFilter.Override {
    /// A `PerRouteConfig`.
    init(_ node: ConfigNode) throws(ConfigError) {
        switch node.choice("requirement_specifier") {
        case "disabled":
            guard node.bool("disabled") else { throw node.error("disabled", "must be true") }
            self = .disabled
        default: self = .requirement(node.string("requirement_name"))
        }
    }
}

extension JWTProvider {
    /// A `JwtProvider`.
    convenience init(_ name: String, _ node: ConfigNode) throws(ConfigError) {
        var options = Options()
        options.issuer = node.string("issuer")
        options.audiences = Set(node.strings("audiences").map(Self.plain))
        options.subjects = try node.message("subjects", StringMatcher.init)
        options.requiresExpiration = node.bool("require_expiration")
        options.maximumLifetime = (node.nanoseconds("max_lifetime") ?? 0) / 1_000_000_000
        let skew = UInt64(node.uint32("clock_skew_seconds"))
        if skew > 0 { options.clockSkew = skew }
        options.keepsToken = node.bool("forward")
        options.padsPayload = node.bool("pad_forward_payload_header")
        let payloadHeader = node.string("forward_payload_header")
        if !payloadHeader.isEmpty { options.payloadHeader = HeaderKey(payloadHeader) }
        options.payloadKey = node.string("payload_in_metadata")
        options.headerKey = node.string("header_in_metadata")
        options.failureKey = node.string("failed_status_in_metadata")
        options.clearsRoute = node.bool("clear_route_cache")
        options.spaceDelimited = node.message("normalize_payload_in_metadata")?.strings("space_delimited_claims") ?? []
        options.claimHeaders = node.messages("claim_to_headers").map { entry in
            let claim = entry.string("claim_name")
            let path = entry.messages("claim_path").map { $0.string("key") }
            return ClaimHeader(
                key: HeaderKey(entry.string("header_name")),
                path: path.isEmpty ? claim.split(separator: ".").map(String.init) : path)
        }
        // A cache of verified tokens is a means to be fast, not a promise.
        node.ignore("jwt_cache_config")
        options.places = Self.places(node)
        let keys: Keys
        switch node.choice("jwks_source_specifier") {
        case "local_jwks":
            let text = try node.message("local_jwks", DataSource.inline) ?? []
            do throws(JWTFailure) { keys = .fixed(try KeySet(text)) } catch {
                throw node.error("local_jwks", error.rawValue)
            }
        default:
            guard let remote = try node.message("remote_jwks", RemoteKeySet.read) else {
                throw node.error("the keys are missing: remote_jwks or local_jwks")
            }
            keys = .remote(remote)
        }
        self.init(name, keys, options)
    }

    private static func places(_ node: ConfigNode) -> [Place] {
        var places = node.messages("from_headers").map { header in
            Place.header(HeaderKey(header.string("name")), prefix: Array(header.string("value_prefix").utf8))
        }
        places += node.strings("from_params").map { .parameter(Array($0.utf8)) }
        places += node.strings("from_cookies").map { .cookie(Array($0.utf8)) }
        guard places.isEmpty else { return places }
        return [
            .header(HeaderKey("authorization"), prefix: Array("Bearer ".utf8)),
            .parameter(Array("access_token".utf8)),
        ]
    }
}

extension RemoteKeySet {
    fileprivate static func read(_ node: ConfigNode) throws(ConfigError) -> RemoteKeySet {
        let retry = try node.message("retry_policy") { (node) throws(ConfigError) in
            try RetryPolicy(calls: node, standard: [.gatewayError, .connectFailure, .reset])
        }
        guard
            let (target, path) = try node.message(
                "http_uri", { (uri) throws(ConfigError) in try CallTarget.http(uri, retry: retry) })
        else { throw node.error("http_uri", "is missing") }
        var refetch: UInt64?
        if let fetch = node.message("async_fetch") {
            refetch = fetch.nanoseconds("failed_refetch_duration", default: 1_000_000_000)
            fetch.ignore("fast_listener")
        }
        return RemoteKeySet(
            target, path: path, cacheDuration: node.nanoseconds("cache_duration", default: 600_000_000_000),
            refetchAfterFailure: refetch)
    }
}

/// Reads requirements, which name providers.
private struct RequirementReader {
    let providers: [String: JWTProvider]
    let all: [JWTProvider]

    func read(_ node: ConfigNode) throws(ConfigError) -> JWTRequirement { try read(node, beside: all) }

    /// - Parameter beside: whose tokens `allow_missing` is about.
    private func read(_ node: ConfigNode, beside: [JWTProvider]) throws(ConfigError) -> JWTRequirement {
        switch node.choice("requires_type") {
        case "provider_name":
            return .provider(try provider(node, node.string("provider_name")), audiences: nil)
        case "provider_and_audiences":
            guard let named = node.message("provider_and_audiences") else { return .nothing }
            return .provider(
                try provider(named, named.string("provider_name")),
                audiences: Set(named.strings("audiences").map(JWTProvider.plain)))
        case "requires_any":
            let list = node.message("requires_any")?.messages("requirements") ?? []
            return .any(try readList(list))
        case "requires_all":
            let list = node.message("requires_all")?.messages("requirements") ?? []
            return .all(try readList(list))
        case "allow_missing":
            _ = node.message("allow_missing")
            return .allowMissing(beside)
        case "allow_missing_or_failed":
            _ = node.message("allow_missing_or_failed")
            return .allowMissingOrFailed(beside)
        case nil: return .nothing
        case let other?: throw node.unsupported(other)
        }
    }

    /// In a list with providers of its own, `allow_missing` is about their tokens.
    private func readList(_ list: [ConfigNode]) throws(ConfigError) -> [JWTRequirement] {
        var own: [JWTProvider] = []
        for node in list {
            switch node.choice("requires_type") {
            case "provider_name": own.append(try provider(node, node.string("provider_name")))
            case "provider_and_audiences":
                if let named = node.message("provider_and_audiences") {
                    own.append(try provider(named, named.string("provider_name")))
                }
            default: break
            }
        }
        var requirements: [JWTRequirement] = []
        for node in list { requirements.append(try read(node, beside: own.isEmpty ? all : own)) }
        return requirements
    }

    private func provider(_ node: ConfigNode, _ name: String) throws(ConfigError) -> JWTProvider {
        guard let provider = providers[name] else { throw node.error("no provider is called \"\(name)\"") }
        return provider
    }
}
