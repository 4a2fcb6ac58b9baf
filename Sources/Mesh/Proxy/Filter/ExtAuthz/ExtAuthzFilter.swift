import HTTP
import TLS

/// `envoy.filters.http.ext_authz`: a service says whether a request may go on, and what of it is changed.
package final class ExtAuthzFilter: Sendable {
    enum Service: Sendable {
        case http(AuthzHTTPService)
        case grpc(AuthzGRPCService)
    }

    /// How much of the body the service sees.
    struct Buffering: Sendable {
        /// Bytes of it at most.
        var limit: Int
        /// What is beyond the limit is not shown; otherwise it is refused.
        var allowsPartial: Bool
        var packsAsBytes = false
    }

    /// What a route says (`ExtAuthzPerRoute`).
    package struct Override: Sendable {
        var isDisabled = false
        var contextExtensions: [(key: String, value: String)] = []
        var buffersNothing = false
        var buffering: Buffering?
        var service: Service?
    }

    struct Counters: Sendable {
        var ok: CounterID
        var denied: CounterID
        var error: CounterID
        var disabled: CounterID
        var failureModeAllowed: CounterID
    }

    struct Options: Sendable {
        var enabled = RuntimeFraction.always
        /// Only requests of which other filters say this are asked about.
        var enabledMetadata: MetadataMatcher?
        /// Requests that the two above leave out are refused instead of let through.
        var deniesDisabled = false
        var allowsFailure = false
        var marksAllowedFailure = false
        var statusOnError = 403
        var clearsRoute = false
        var buffering: Buffering?
        var maximumDeniedBody = 0
        var takesMetadata = true
        /// Before the names of counters: `ext_authz.` or `ext_authz.PREFIX.`
        var scope = "ext_authz."
    }

    let service: Service
    let attributes: AuthzAttributes
    let options: Options
    let counters: Counters

    init(_ service: Service, _ attributes: AuthzAttributes, _ options: Options, _ counters: Counters) {
        self.service = service
        self.attributes = attributes
        self.options = options
        self.counters = counters
    }

    static let failureAllowed = HeaderKey("x-envoy-auth-failure-mode-allowed")

    /// What is remembered of one request.
    final class State {
        var call: Call?
        /// When it was asked, in nanoseconds of the worker's clock.
        var began: UInt64 = 0
        /// While the body is gathered.
        var buffering: Buffering?
        var responseHeaders: [AuthzVerdict.Change] = []
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int, end: Bool) -> FilterStep {
        let override = self.override(stream, slot)
        if override?.isDisabled == true { return .proceed }
        guard options.enabled.happens(stream.worker), options.enabledMetadata?.matches(stream.metadata) ?? true else {
            stream.worker.count(counters.disabled)
            guard options.deniesDisabled else { return .proceed }
            fail(stream)
            return .replied
        }
        let state = State()
        stream.filterState[slot] = state
        let buffering = override?.buffersNothing == true ? nil : override?.buffering ?? options.buffering
        guard let buffering, !end, !stream.flags.contains(.isUpgrade) else {
            check(stream, slot, state, override, nil)
            return .pause
        }
        state.buffering = buffering
        return .pause
    }

    func requestData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        guard let state = stream.filterState[slot] as? State, let buffering = state.buffering else { return true }
        let total = stream.requestBody.count + piece.bytes.count
        if total > buffering.limit, !buffering.allowsPartial {
            state.buffering = nil
            stream.reply(413, "Payload Too Large", details: "request_payload_too_large")
            return false
        }
        guard piece.end || total >= buffering.limit else { return true }
        state.buffering = nil
        var body = AuthzBody(bytes: [], isPartial: total > buffering.limit, packsAsBytes: buffering.packsAsBytes)
        body.bytes.reserveCapacity(min(total, buffering.limit))
        body.bytes += stream.requestBody.bytes.prefix(buffering.limit)
        body.bytes += piece.bytes.prefix(buffering.limit - body.bytes.count)
        check(stream, slot, state, override(stream, slot), body)
        return true
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        guard let state = stream.filterState[slot] as? State else { return .proceed }
        for change in state.responseHeaders { change.apply(to: stream.response) }
        return .proceed
    }

    func ended(_ stream: HTTPStream, _ slot: Int) { (stream.filterState[slot] as? State)?.call?.cancel() }

    private func override(_ stream: HTTPStream, _ slot: Int) -> Override? {
        guard case .extAuthz(let override)? = stream.settings(slot) else { return nil }
        return override
    }

    private func check(
        _ stream: HTTPStream, _ slot: Int, _ state: State, _ override: Override?, _ body: AuthzBody?
    ) {
        let completion: (AuthzVerdict) -> Void = { [unowned self] verdict in
            state.call = nil
            apply(verdict, stream, state)
        }
        state.began = stream.worker.now
        switch override?.service ?? service {
        case .http(let service): state.call = service.check(stream, attributes, body, completion)
        case .grpc(let service):
            state.call = service.check(stream, attributes, body, override?.contextExtensions ?? [], completion)
        }
    }

    private func apply(_ verdict: AuthzVerdict, _ stream: HTTPStream, _ state: State) {
        if options.takesMetadata, var metadata = verdict.metadata {
            if verdict.kind == .ok {
                let took = Int64(clamping: (stream.worker.now &- state.began) / 1_000_000)
                metadata["ext_authz_duration"] = .int(took)
            }
            stream.ownMetadata.values["envoy.filters.http.ext_authz"] = metadata
        }
        switch verdict.kind {
        case .ok:
            stream.worker.count(counters.ok)
            stream.countForCluster(options.scope + "ok")
            state.responseHeaders = verdict.responseHeaders
            if verdict.apply(to: stream.request), options.clearsRoute { stream.findRoute() }
            stream.resumeRequest()
        case .denied:
            stream.worker.count(counters.denied)
            stream.countForCluster(options.scope + "denied")
            refuse(stream, verdict.status ?? 403, verdict, details: "ext_authz_denied")
        case .failed:
            stream.worker.count(counters.error)
            stream.countForCluster(options.scope + "error")
            guard options.allowsFailure else { return fail(stream, verdict) }
            stream.worker.count(counters.failureModeAllowed)
            stream.countForCluster(options.scope + "failure_mode_allowed")
            if options.marksAllowedFailure { stream.request.add(Self.failureAllowed, StaticString("true").bytes) }
            stream.resumeRequest()
        }
    }
}

extension ExtAuthzFilter {
    private func fail(_ stream: HTTPStream, _ verdict: AuthzVerdict = AuthzVerdict(.failed)) {
        refuse(stream, verdict.status ?? options.statusOnError, verdict, details: "ext_authz_error")
    }

    private func refuse(_ stream: HTTPStream, _ status: Int, _ verdict: AuthzVerdict, details: StaticString) {
        var body = verdict.body
        if options.maximumDeniedBody > 0, body.count > options.maximumDeniedBody {
            body.removeLast(body.count - options.maximumDeniedBody)
        }
        body.withUnsafeBytes { bytes in
            stream.reply(status, body: bytes, flag: .unauthorizedExternalService, details: details) { response in
                for change in verdict.headers { response.remove(change.key) }
                for change in verdict.headers { change.apply(to: response) }
            }
        }
    }
}

/// What a service sees of the body.
struct AuthzBody {
    var bytes: [UInt8]
    var isPartial: Bool
    var packsAsBytes: Bool
}
