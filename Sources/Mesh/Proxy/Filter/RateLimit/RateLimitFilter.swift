import HTTP
import TLS

/// `envoy.filters.http.ratelimit`: a service that counts for many proxies says whether a request is one too many.
package final class RateLimitFilter: Sendable {
    /// Whose requests it is asked about.
    enum RequestType: Sendable { case internalOnly, externalOnly, both }

    struct Options: Sendable {
        var domain = ""
        var stage: UInt32 = 0
        var requestType = RequestType.both
        /// Of the filter itself, in place of the routes'.
        var policies: [RateLimitPolicy] = []
        var enabled = RuntimeFraction.always
        var enforced = RuntimeFraction.always
        /// Of failures of the service, those that requests are refused for.
        var failureDenies = RuntimeFraction.never
        var limitedStatus = 429
        var statusOnError = 500
        var saysResourceExhausted = false
        var saysRateLimited = true
        var showsLimits = false
        var saysWhenToRetry = false
        var whenLimited: [HeaderMutation] = []
        /// Where dynamic metadata of answers goes.
        var metadataName = "envoy.filters.http.ratelimit"
        /// Before the names of counters: `ratelimit.` or `ratelimit.PREFIX.`
        var scope = "ratelimit."
    }

    /// What a route says (`RateLimitPerRoute`).
    package struct Override: Sendable {
        var hostPolicies = HostRateLimits.override
        /// In place of the route's.
        var policies: [RateLimitPolicy] = []
        /// "" for the filter's.
        var domain = ""
    }

    private enum Header {
        static let rateLimited = HeaderKey("x-envoy-ratelimited")
        static let limit = HeaderKey("x-ratelimit-limit")
        static let remaining = HeaderKey("x-ratelimit-remaining")
        static let reset = HeaderKey("x-ratelimit-reset")
        static let retryAfter = HeaderKey("retry-after")
    }

    /// What is remembered of a request that was asked about.
    private final class State {
        var call: Call?
        /// What the response gets.
        var headers: [RateLimitAnswer.Field] = []
        var wasEnabled = true
    }

    let target: CallTarget
    let metadata: [(HeaderKey, [UInt8])]
    let options: Options
    private let serviceCluster: String

    init(_ target: CallTarget, metadata: [(HeaderKey, [UInt8])], _ options: Options, serviceCluster: String) {
        self.target = target
        self.metadata = metadata
        self.options = options
        self.serviceCluster = serviceCluster
    }

    // MARK: Phases

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        let state = State()
        stream.filterState[slot] = state
        guard options.enabled.happens(stream.worker) else {
            state.wasEnabled = false
            return .proceed
        }
        guard asksAbout(stream) else { return .proceed }
        let descriptors = self.descriptors(stream, slot, whenDone: false)
        guard !descriptors.isEmpty else { return .proceed }
        state.call = ask(stream, slot, descriptors) { [unowned self] answer in
            state.call = nil
            apply(answer, stream, state)
        }
        return .pause
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int) {
        guard let state = stream.filterState[slot] as? State else { return }
        for field in state.headers { field.add(to: stream.response) }
        state.headers = []
    }

    /// Policies that count what a stream has come to are asked about now; the answer changes nothing any more.
    func ended(_ stream: HTTPStream, _ slot: Int) {
        guard let state = stream.filterState[slot] as? State else { return }
        if let call = state.call { return call.cancel() }
        guard state.wasEnabled else { return }
        let descriptors = self.descriptors(stream, slot, whenDone: true)
        if !descriptors.isEmpty { _ = ask(stream, slot, descriptors) { _ in } }
    }

    // MARK: What is asked

    private func asksAbout(_ stream: HTTPStream) -> Bool {
        switch options.requestType {
        case .both: true
        case .internalOnly: stream.isInternal
        case .externalOnly: !stream.isInternal
        }
    }

    private func override(_ stream: HTTPStream, _ slot: Int) -> Override? {
        guard case .rateLimit(let override)? = stream.settings(slot) else { return nil }
        return override
    }

    private func descriptors(_ stream: HTTPStream, _ slot: Int, whenDone: Bool) -> [RateLimitPolicy.Descriptor] {
        let override = self.override(stream, slot)
        var policies = override?.policies ?? []
        if policies.isEmpty { policies = options.policies }
        if policies.isEmpty {
            policies = stream.rateLimits(stage: options.stage, host: override?.hostPolicies ?? .override)
        }
        return policies.compactMap { policy in
            guard policy.appliesWhenDone == whenDone else { return nil }
            return policy.descriptor(stream, serviceCluster: serviceCluster)
        }
    }

    private func ask(
        _ stream: HTTPStream, _ slot: Int, _ descriptors: [RateLimitPolicy.Descriptor],
        _ completion: @escaping (RateLimitAnswer) -> Void
    ) -> Call {
        let domain = override(stream, slot)?.domain ?? ""
        let query = RateLimitQuery(domain: domain.isEmpty ? options.domain : domain, descriptors: descriptors)
        return GRPCCall.start(
            stream.worker, target, path: "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
            message: query.encoded(),
            metadata: { head in
                for (key, value) in metadata { value.withUnsafeBytes { head.add(key, $0) } }
            }
        ) { result in
            guard case .message(let bytes) = result, let answer = try? RateLimitAnswer(bytes) else {
                return completion(RateLimitAnswer(.failed))
            }
            completion(answer)
        }
    }

    // MARK: What becomes of the answer

    private func apply(_ answer: RateLimitAnswer, _ stream: HTTPStream, _ state: State) {
        if let metadata = answer.metadata, !metadata.isEmpty {
            stream.ownMetadata.values[options.metadataName] = metadata
        }
        state.headers = answer.responseHeaders
        if answer.code == .overLimit, options.saysRateLimited {
            state.headers.append(.init(Header.rateLimited, "true"))
        }
        if options.showsLimits, let shown = answer.strictest {
            state.headers.append(.init(Header.limit, shown.limit))
            state.headers.append(.init(Header.remaining, "\(shown.remaining)"))
            state.headers.append(.init(Header.reset, "\(shown.secondsUntilReset)"))
        }
        switch answer.code {
        case .ok:
            count(stream, "ok")
            proceed(answer, stream)
        case .failed:
            count(stream, "error")
            guard options.failureDenies.happens(stream.worker) else {
                count(stream, "failure_mode_allowed")
                return proceed(answer, stream)
            }
            state.headers = []
            stream.reply(options.statusOnError, flag: .rateLimitServiceError, details: "rate_limiter_error")
        case .overLimit:
            count(stream, "over_limit")
            if let id = stream.clusterID, let cluster = stream.worker.cluster(id) {
                cluster.stats.internalResponses.count(options.limitedStatus)
            }
            guard options.enforced.happens(stream.worker) else { return proceed(answer, stream) }
            if options.saysWhenToRetry, let seconds = answer.secondsToRetry {
                state.headers.append(.init(Header.retryAfter, "\(max(seconds, 1))"))
            }
            refuse(answer, stream, state)
        }
    }

    private func proceed(_ answer: RateLimitAnswer, _ stream: HTTPStream) {
        for field in answer.requestHeaders { field.add(to: stream.request) }
        stream.resumeRequest()
    }

    private func refuse(_ answer: RateLimitAnswer, _ stream: HTTPStream, _ state: State) {
        let fields = state.headers
        state.headers = []
        answer.body.withUnsafeBytes { body in
            stream.reply(
                options.limitedStatus, body: body, flag: .rateLimited, details: "request_rate_limited",
                grpcStatus: options.saysResourceExhausted ? 8 : nil
            ) { response in
                // What the service says of its text counts for more than what is said of texts in general.
                if fields.contains(where: { $0.key.name == .contentType }) { response.remove(.contentType) }
                for field in fields { field.add(to: response) }
                for mutation in options.whenLimited { mutation.apply(to: response, stream) }
            }
        }
    }

    private func count(_ stream: HTTPStream, _ leaf: String) { stream.countForCluster(options.scope + leaf) }
}
