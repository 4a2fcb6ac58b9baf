import Bytes
import HTTP
import JSON

/// `envoy.filters.http.jwt_authn`: requests prove by signed tokens who sends them.
package final class JWTFilter: Sendable {
    struct Rule: Sendable {
        var match: RouteMatch
        var requirement: JWTRequirement
    }

    /// What a route says (`PerRouteConfig`).
    package enum Override: Sendable {
        case disabled
        case requirement(String)
    }

    struct Counters: Sendable {
        var allowed: CounterID
        var denied: CounterID
        var preflightBypassed: CounterID
        var fetchSucceeded: CounterID
        var fetchFailed: CounterID
    }

    let providers: [JWTProvider]
    let rules: [Rule]
    /// By name, for routes.
    let requirements: [String: JWTRequirement]
    let bypassesPreflight: Bool
    let stripsFailureResponse: Bool
    let counters: Counters
    /// Header fields that only this filter may set.
    private let ownHeaders: [HeaderKey]

    init(
        _ providers: [JWTProvider], rules: [Rule], requirements: [String: JWTRequirement], bypassesPreflight: Bool,
        stripsFailureResponse: Bool, counters: Counters
    ) {
        self.providers = providers
        self.rules = rules
        self.requirements = requirements
        self.bypassesPreflight = bypassesPreflight
        self.stripsFailureResponse = stripsFailureResponse
        self.counters = counters
        ownHeaders = providers.flatMap { provider in
            provider.options.claimHeaders.map(\.key) + (provider.options.payloadHeader.map { [$0] } ?? [])
        }
    }

    static let metadataName = "envoy.filters.http.jwt_authn"
    private static let preflightMethod = HeaderKey("access-control-request-method")
    /// Bytes of the path in `www-authenticate` at most.
    private static let realmPathLimit = 256

    /// A request that waits for keys.
    final class State {
        var requirement: JWTRequirement
        var ticket: KeyWait?
        init(_ requirement: JWTRequirement) { self.requirement = requirement }
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        let request = stream.request
        if bypassesPreflight, request.method == .options, request.has(.origin),
            request.find(Self.preflightMethod) != nil
        {
            stream.worker.count(counters.preflightBypassed)
            return .proceed
        }
        let requirement: JWTRequirement
        switch stream.settings(slot) {
        case .jwt(.disabled)?: return .proceed
        case .jwt(.requirement(let name))?:
            guard let named = requirements[name] else { return refuse(stream, unknown: name) }
            requirement = named
        default:
            let path = request.pathWithoutQuery
            requirement = rules.first { $0.match.matches(stream, path) }?.requirement ?? .nothing
        }
        if case .nothing = requirement {
            stream.worker.count(counters.allowed)
            return .proceed
        }
        for key in ownHeaders { request.remove(key) }
        let state = State(requirement)
        return attempt(stream, slot, state)
    }

    func ended(_ stream: HTTPStream, _ slot: Int) { (stream.filterState[slot] as? State)?.ticket?.cancel() }

    private func attempt(_ stream: HTTPStream, _ slot: Int, _ state: State) -> FilterStep {
        var awaited: [RemoteKeySet] = []
        var trial = JWTTrial(stream.request, now: UInt64(max(Timestamp.now().seconds, 0))) { provider in
            switch provider.keys {
            case .fixed(let set): return .known(set)
            case .remote(let remote):
                let found = stream.worker.keys(remote)
                if case .awaited = found { awaited.append(remote) }
                return found
            }
        }
        let failure = trial.failure(of: state.requirement)
        guard !trial.isWaiting else {
            stream.filterState[slot] = state
            state.ticket = stream.worker.awaitKeys(awaited, counters) { [unowned self] in
                state.ticket = nil
                if attempt(stream, slot, state) == .proceed { stream.resumeRequest() }
            }
            return .pause
        }
        for failed in trial.failures where !failed.provider.options.failureKey.isEmpty {
            note(
                failed.provider.options.failureKey,
                [
                    "code": .int(Int64(failed.failure.code)),
                    "message": .string(failed.failure.rawValue),
                ], stream)
        }
        // Also where another token is missing: logs tell whose request was refused.
        var clearsRoute = false
        for proof in trial.proofs {
            apply(proof, stream)
            clearsRoute = clearsRoute || proof.provider.options.clearsRoute
        }
        if let failure { return refuse(stream, failure) }
        stream.worker.count(counters.allowed)
        if clearsRoute { stream.findRoute() }
        return .proceed
    }

    // MARK: What becomes of a token

    private func apply(_ proof: JWTTrial.Proof, _ stream: HTTPStream) {
        let options = proof.provider.options
        let request = stream.request
        for header in options.claimHeaders {
            guard let text = Self.text(proof.token.claims, header.path) else { continue }
            Array(text.utf8).withUnsafeBytes { request.add(header.key, $0) }
        }
        if let key = options.payloadHeader {
            var payload = Array(proof.token.encodedPayload.utf8)
            if options.padsPayload { while payload.count % 4 != 0 { payload.append(UInt8(ascii: "=")) } }
            payload.withUnsafeBytes { request.add(key, $0) }
        }
        if !options.keepsToken { proof.place.remove(from: request) }
        if !options.payloadKey.isEmpty {
            var claims = proof.token.claims
            for name in options.spaceDelimited {
                if let text = claims[name]?.string {
                    claims[name] = .array(text.split(separator: " ").map { .string(String($0)) })
                }
            }
            note(options.payloadKey, claims, stream)
        }
        if !options.headerKey.isEmpty { note(options.headerKey, proof.token.header, stream) }
    }

    private func note(_ key: String, _ object: JSONObject, _ stream: HTTPStream) {
        stream.ownMetadata.values[Self.metadataName, default: [:]][key] = .object(object)
    }

    /// A claim as a header's value: plain ones as text, others as base64url of their JSON.
    private static func text(_ claims: JSONObject, _ path: [String]) -> String? {
        var value = JSONValue.object(claims)
        for step in path {
            guard let next = value[step] else { return nil }
            value = next
        }
        switch value {
        case .null: return nil
        case .string(let text): return text
        case .bool(let flag): return flag ? "true" : "false"
        case .int, .double: return value.encodedString()
        case .array, .object: return Base64.encodeURLSafe(value.encoded())
        }
    }

    // MARK: Refusals

    private func refuse(_ stream: HTTPStream, _ failure: JWTFailure) -> FilterStep {
        stream.worker.count(counters.denied)
        var challenge = Array("Bearer realm=\"".utf8)
        challenge += stream.request.scheme
        challenge += "://".utf8
        challenge += stream.request.authority
        challenge += (stream.request.value(HeaderKey.envoyOriginalPath) ?? stream.request.path)
            .prefix(Self.realmPathLimit)
        challenge += "\"".utf8
        if failure != .missing { challenge += ", error=\"invalid_token\"".utf8 }
        stream.detailText = failure.details
        let body = stripsFailureResponse ? [] : Array(failure.rawValue.utf8)
        body.withUnsafeBytes { body in
            stream.reply(failure.status, body: body, details: "jwt_authn_access_denied") { response in
                if !stripsFailureResponse { challenge.withUnsafeBytes { response.set(.wwwAuthenticate, $0) } }
            }
        }
        return .replied
    }

    private func refuse(_ stream: HTTPStream, unknown name: String) -> FilterStep {
        stream.worker.count(counters.denied)
        let known = requirements.keys.sorted().joined(separator: ", ")
        let text = "Wrong requirement_name: \(name). It should be one of [\(known)]"
        stream.detailText = "jwt_authn_access_denied{" + text.map { $0 == " " ? "_" : String($0) }.joined() + "}"
        Array(text.utf8).withUnsafeBytes { stream.reply(403, body: $0, details: "jwt_authn_access_denied") }
        return .replied
    }
}
