import HTTP
import XDS

/// Answers requests beyond a rate itself, by buckets that all workers share (`envoy.filters.http.local_ratelimit`).
package final class LocalRateLimitFilter: Sendable {
    struct Settings: Sendable {
        var status = 429
        var enabled = RuntimeFraction.never
        var enforced = RuntimeFraction.never
        var bucket: TokenBucket?
        /// Strictest first.
        var descriptors: [Descriptor] = []
        /// Requests of a descriptor take a token of the default bucket, too.
        var alwaysTakesDefault = true
        /// Of the filter itself, in place of the routes'.
        var policies: [RateLimitPolicy] = []
        var stage: UInt32 = 0
        var hostPolicies = HostRateLimits.override
        /// Each connection has buckets of its own.
        var isPerConnection = false
        var showsLimits = false
        var saysResourceExhausted = false
        var whenLimited: [HeaderMutation] = []
        var whenNotEnforced: [HeaderMutation] = []
    }

    /// A bucket for requests of which a policy says just this.
    struct Descriptor: Sendable {
        let entries: [RateLimitPolicy.Descriptor.Entry]
        let bucket: TokenBucket
        /// What it would turn away passes.
        let isShadow: Bool
    }

    struct Counters: Sendable {
        var enabled, enforced, limited, ok: CounterID
    }

    let settings: Settings
    let counters: Counters
    private let serviceCluster: String

    private enum Header {
        static let limit = HeaderKey("x-ratelimit-limit")
        static let remaining = HeaderKey("x-ratelimit-remaining")
        static let reset = HeaderKey("x-ratelimit-reset")
    }

    /// What responses tell of the bucket.
    private final class State {
        let filter: LocalRateLimitFilter
        let bucket: TokenBucket
        /// The request was turned away.
        var isLimited = false
        init(_ filter: LocalRateLimitFilter, _ bucket: TokenBucket) {
            self.filter = filter
            self.bucket = bucket
        }
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        if case .localRateLimit(let override)? = stream.settings(slot) { return override.decide(stream, slot) }
        return decide(stream, slot)
    }

    private func decide(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        let worker = stream.worker
        guard settings.enabled.happens(worker) else { return .proceed }
        worker.count(counters.enabled)
        let (isAllowed, bucket) = take(stream)
        var state: State?
        if let bucket, settings.showsLimits || !isAllowed { state = State(self, bucket) }
        if let state { stream.filterState[slot] = state }
        guard !isAllowed else {
            worker.count(counters.ok)
            return .proceed
        }
        worker.count(counters.limited)
        guard settings.enforced.happens(worker) else {
            for mutation in settings.whenNotEnforced { mutation.apply(to: stream.request, stream) }
            return .proceed
        }
        worker.count(counters.enforced)
        state?.isLimited = true
        let body: StaticString = "local_rate_limited"
        stream.reply(
            settings.status, body: body.bytes, flag: .rateLimited, details: "local_rate_limited",
            grpcStatus: settings.saysResourceExhausted ? 8 : nil)
        return .replied
    }

    /// Takes a token of every bucket that the request falls under, and says which of them is the one to be told of.
    private func take(_ stream: HTTPStream) -> (isAllowed: Bool, TokenBucket?) {
        let now = stream.worker.now
        var told: TokenBucket?
        if !settings.descriptors.isEmpty {
            let policies =
                settings.policies.isEmpty
                ? stream.rateLimits(stage: settings.stage, host: settings.hostPolicies) : settings.policies
            let asked = policies.compactMap { $0.descriptor(stream, serviceCluster: serviceCluster) }
            for descriptor in settings.descriptors where asked.contains(where: { $0.entries == descriptor.entries }) {
                let bucket = own(descriptor.bucket, stream)
                if told == nil { told = bucket }
                if !bucket.take(now: now), !descriptor.isShadow { return (false, bucket) }
            }
        }
        if told != nil, !settings.alwaysTakesDefault { return (true, told) }
        guard let bucket = settings.bucket.map({ own($0, stream) }) else { return (true, told) }
        return (bucket.take(now: now), told ?? bucket)
    }

    private func own(_ bucket: TokenBucket, _ stream: HTTPStream) -> TokenBucket {
        guard settings.isPerConnection, let connection = stream.connection else { return bucket }
        return connection.tokenBucket(of: bucket) { TokenBucket(capacity: bucket.capacity, rate: bucket.rate) }
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        guard let state = stream.filterState[slot] as? State else { return .proceed }
        let settings = state.filter.settings
        if state.isLimited {
            for mutation in settings.whenLimited { mutation.apply(to: stream.response, stream) }
        }
        if settings.showsLimits {
            let now = stream.worker.now
            for (key, value) in [
                (Header.limit, state.bucket.capacity), (Header.remaining, state.bucket.tokens(now: now)),
                (Header.reset, state.bucket.secondsToNext(now: now)),
            ] {
                withDecimal(Int(clamping: value)) { stream.response.set(key, $0) }
            }
        }
        return .proceed
    }

    init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        var settings = Settings()
        // What is no failure would be taken for an answer of the upstream.
        if let status = node.message("status")?.enumNumber("code"), status >= 400 { settings.status = status }
        settings.bucket = try node.message("token_bucket") { (node) throws(ConfigError) in try TokenBucket(node) }
        settings.enabled = try node.message("filter_enabled", RuntimeFraction.init(_:)) ?? .never
        settings.enforced = try node.message("filter_enforced", RuntimeFraction.init(_:)) ?? .never
        settings.isPerConnection = node.bool("local_rate_limit_per_downstream_connection")
        settings.showsLimits = try node.enumeration("enable_x_ratelimit_headers", as: LimitHeaders.self) == .draft3
        settings.saysResourceExhausted = node.bool("rate_limited_as_resource_exhausted")
        settings.whenLimited = try node.messages("response_headers_to_add") { (node) throws(ConfigError) in
            try HeaderMutation(node)
        }
        settings.whenNotEnforced = try node.messages("request_headers_to_add_when_not_enforced") {
            (node) throws(ConfigError) in try HeaderMutation(node)
        }
        settings.descriptors = try node.messages("descriptors") { (node) throws(ConfigError) in try Descriptor(node) }
            .sorted { $0.bucket.rate < $1.bucket.rate }
        settings.alwaysTakesDefault = node.bool("always_consume_default_token_bucket", default: true)
        settings.policies = try node.messages("rate_limits") { (node) throws(ConfigError) in
            try RateLimitPolicy(node, ofFilter: true)
        }
        settings.stage = node.uint32("stage")
        settings.hostPolicies = try node.enumeration("vh_rate_limits", as: HostRateLimits.self)
        node.ignore("max_dynamic_descriptors")
        self.settings = settings
        serviceCluster = context.build.serviceCluster
        let prefix = "\(node.string("stat_prefix")).http_local_rate_limit"
        self.counters = Counters(
            enabled: context.build.counters.counter("\(prefix).enabled"),
            enforced: context.build.counters.counter("\(prefix).enforced"),
            limited: context.build.counters.counter("\(prefix).rate_limited"),
            ok: context.build.counters.counter("\(prefix).ok"))
    }

    private enum LimitHeaders: String, ConfigEnum {
        case off = "OFF"
        case draft3 = "DRAFT_VERSION_03"
    }
}

extension LocalRateLimitFilter.Descriptor {
    /// An `envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor`.
    fileprivate init(_ node: ConfigNode) throws(ConfigError) {
        entries = try node.messages("entries") { (entry) throws(ConfigError) in
            let value = entry.string("value")
            guard !value.isEmpty else { throw entry.error("value", "descriptors for any value are not supported") }
            return RateLimitPolicy.Descriptor.Entry(key: entry.string("key"), value: value)
        }
        guard
            let bucket = try node.message("token_bucket", { (node) throws(ConfigError) in try TokenBucket(node) })
        else { throw node.error("token_bucket", "is missing") }
        self.bucket = bucket
        isShadow = node.bool("shadow_mode")
    }
}
