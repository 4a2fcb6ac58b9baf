import HTTP
import XDS

/// Bounds the bytes a second that bodies take, of all streams together (`envoy.filters.http.bandwidth_limit`).
package final class BandwidthLimitFilter: Sendable {
    struct Settings: Sendable {
        var limitsRequests = false
        var limitsResponses = false
        var isEnabled = true
        /// A runtime layer may say otherwise.
        var key: RuntimeKey?
        /// Nanoseconds between two pieces of a body.
        var interval: UInt64 = 50_000_000
        /// Of an interval.
        var share = 0
        var addsTrailers = false
        var trailers = BandwidthTrailers(prefix: "")
    }

    let settings: Settings
    /// Bytes that may pass; each direction has its own.
    let requests, responses: TokenBucket
    let requestStats, responseStats: Counters

    struct Counters: Sendable {
        var enabled, enforced, incoming, allowed: CounterID

        init(_ context: BuildContext, _ prefix: String) {
            enabled = context.counters.counter("\(prefix)_enabled")
            enforced = context.counters.counter("\(prefix)_enforced")
            incoming = context.counters.counter("\(prefix)_incoming_total_size")
            allowed = context.counters.counter("\(prefix)_allowed_total_size")
        }
    }

    private final class State {
        var request: BandwidthPacer?
        var response: BandwidthPacer?
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        var filter = self
        if case .bandwidthLimit(let override)? = stream.settings(slot) { filter = override }
        guard filter.settings.limitsRequests || filter.settings.limitsResponses,
            filter.settings.key?.value.map({ $0 != 0 }) ?? filter.settings.isEnabled
        else { return .proceed }
        let state = State()
        if filter.settings.limitsRequests {
            stream.worker.count(filter.requestStats.enabled)
            state.request = BandwidthPacer(stream, slot, filter, isRequest: true)
        }
        if filter.settings.limitsResponses { state.response = BandwidthPacer(stream, slot, filter, isRequest: false) }
        stream.filterState[slot] = state
        return .proceed
    }

    private func state(_ stream: HTTPStream, _ slot: Int) -> State? { stream.filterState[slot] as? State }

    func requestData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        state(stream, slot)?.request?.pass(&piece)
        return true
    }

    /// Trailers of requests wait for nobody: what is left of the body goes before them at once.
    func requestTrailers(_ stream: HTTPStream, _ slot: Int) { state(stream, slot)?.request?.release() }

    func responseHead(_ stream: HTTPStream, _ slot: Int) {
        guard let pacer = state(stream, slot)?.response else { return }
        stream.worker.count(pacer.filter.responseStats.enabled)
    }

    func responseData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        guard let state = state(stream, slot), let pacer = state.response else { return true }
        pacer.requestDelay = state.request?.delay ?? 0
        pacer.pass(&piece)
        return true
    }

    func responseTrailers(_ stream: HTTPStream, _ slot: Int, _ trailers: HeaderBlock) -> Bool {
        guard let state = state(stream, slot), let pacer = state.response else { return true }
        pacer.requestDelay = state.request?.delay ?? 0
        return pacer.passTrailers(trailers)
    }

    func ended(_ stream: HTTPStream, _ slot: Int) {
        state(stream, slot)?.request?.stop()
        state(stream, slot)?.response?.stop()
    }

    /// The filter, and what a route says instead, have one form.
    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        var settings = Settings()
        let mode = node.enumName("enable_mode")
        settings.limitsRequests = mode == "REQUEST" || mode == "REQUEST_AND_RESPONSE"
        settings.limitsResponses = mode == "RESPONSE" || mode == "REQUEST_AND_RESPONSE"
        let limit = node.uint64IfSet("limit_kbps")
        guard limit != nil || mode == "DISABLED" else { throw node.error("bandwidthlimit filter: limit must be set") }
        settings.interval = node.nanoseconds("fill_interval", default: settings.interval)
        let rate = (limit ?? 1).multipliedClamped(by: 1024)
        settings.share = max(1, Int(clamping: rate.multipliedClamped(by: settings.interval / 1_000_000) / 1000))
        if let flag = node.message("runtime_enabled") {
            settings.isEnabled = flag.bool("default_value", default: true)
            settings.key = RuntimeKey.named(flag.string("runtime_key"))
        }
        settings.addsTrailers = node.bool("enable_response_trailers")
        settings.trailers = BandwidthTrailers(prefix: node.string("response_trailer_prefix"))
        self.settings = settings
        requests = TokenBucket(capacity: rate, rate: Double(rate) / 1e9)
        responses = TokenBucket(capacity: rate, rate: Double(rate) / 1e9)
        let prefix = "\(node.string("stat_prefix")).http_bandwidth_limit."
        requestStats = Counters(context, prefix + "request")
        responseStats = Counters(context, prefix + "response")
    }
}
