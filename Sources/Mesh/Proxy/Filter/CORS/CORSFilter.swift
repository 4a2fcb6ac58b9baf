import HTTP

/// Answers preflight requests of browsers and marks responses that pages of other origins may read (`envoy.filters.http.cors`,
/// the Fetch standard's CORS protocol). What is allowed is said by routes.
package final class CORSFilter: Sendable {
    private let valid, invalid: CounterID

    init(_ context: FilterContext) {
        valid = context.counter("cors.origin_valid")
        invalid = context.counter("cors.origin_invalid")
    }

    private enum Header {
        static let origin = HeaderKey("origin")
        static let requestMethod = HeaderKey("access-control-request-method")
        static let requestHeaders = HeaderKey("access-control-request-headers")
        static let requestPrivateNetwork = HeaderKey("access-control-request-private-network")
        static let allowOrigin = HeaderKey("access-control-allow-origin")
        static let allowCredentials = HeaderKey("access-control-allow-credentials")
        static let allowMethods = HeaderKey("access-control-allow-methods")
        static let allowHeaders = HeaderKey("access-control-allow-headers")
        static let allowPrivateNetwork = HeaderKey("access-control-allow-private-network")
        static let exposeHeaders = HeaderKey("access-control-expose-headers")
        static let maxAge = HeaderKey("access-control-max-age")
        static let yes: StaticString = "true"
    }

    /// What responses to the request get.
    private final class State {
        let policy: CORSPolicy
        init(_ policy: CORSPolicy) { self.policy = policy }
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        guard let origin = stream.request.value(Header.origin), let policy = policy(stream, slot) else {
            return .proceed
        }
        let isEnabled = policy.enabled.happens(stream.worker)
        guard isEnabled || policy.shadow.happens(stream.worker) else { return .proceed }
        let isPreflight =
            stream.request.method == .options && stream.request.value(Header.requestMethod)?.isEmpty == false
        guard policy.allows(origin) else {
            stream.worker.count(invalid)
            if isEnabled, isPreflight, policy.forwardsOtherPreflights == false {
                // What it says means nothing without the origin's own field, and Envoy says it, too.
                answer(stream, policy)
                return .replied
            }
            return .proceed
        }
        stream.worker.count(valid)
        guard isEnabled else { return .proceed }
        stream.filterState[slot] = State(policy)
        guard isPreflight else { return .proceed }
        answer(stream, policy)
        return .replied
    }

    private func policy(_ stream: HTTPStream, _ slot: Int) -> CORSPolicy? {
        var policy: CORSPolicy?
        stream.eachSettings(slot) { settings in
            guard case .cors(let level) = settings else { return }
            policy = policy?.filled(from: level) ?? level
        }
        return policy
    }

    private func answer(_ stream: HTTPStream, _ policy: CORSPolicy) {
        let request = stream.request
        let empty = UnsafeRawBufferPointer(start: nil, count: 0)
        let asksForPrivateNetwork =
            request.value(Header.requestPrivateNetwork).map { equalsIgnoringCase($0, Header.yes) } ?? false
        stream.reply(200, body: empty, details: "cors_response") { response in
            // The head passes this filter's own response phase, which adds the rest.
            Self.set(Header.allowMethods, policy.methods, or: request.value(Header.requestMethod), response)
            Self.set(Header.allowHeaders, policy.headers, or: request.value(Header.requestHeaders), response)
            Self.set(Header.maxAge, policy.maximumAge, or: nil, response)
            if policy.allowsCredentials == true { response.set(Header.allowCredentials, Header.yes.bytes) }
            if policy.allowsPrivateNetwork == true, asksForPrivateNetwork {
                response.set(Header.allowPrivateNetwork, Header.yes.bytes)
            }
        }
    }

    /// `*` allows what is asked for: browsers take the star itself for a name where there are credentials.
    private static func set(
        _ key: HeaderKey, _ allowed: [UInt8], or asked: UnsafeRawBufferPointer?, _ response: HeaderBlock
    ) {
        guard !allowed.isEmpty else { return }
        if let asked, allowed == [UInt8(ascii: "*")] { return response.set(key, asked) }
        allowed.withUnsafeBytes { response.set(key, $0) }
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        guard let policy = (stream.filterState[slot] as? State)?.policy else { return .proceed }
        if let origin = stream.request.value(Header.origin) { stream.response.set(Header.allowOrigin, origin) }
        if policy.allowsCredentials == true { stream.response.set(Header.allowCredentials, Header.yes.bytes) }
        if !policy.exposed.isEmpty {
            policy.exposed.withUnsafeBytes { stream.response.set(Header.exposeHeaders, $0) }
        }
        return .proceed
    }
}
