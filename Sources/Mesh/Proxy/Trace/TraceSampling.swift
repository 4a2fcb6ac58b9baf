import HTTP

/// Which requests are traced: parts of those that a client asks for, of the others, and of all that would be.
struct TraceSampling: Sendable {
    /// Of requests with `x-client-trace-id`.
    var client = RuntimeFraction.always
    var random = RuntimeFraction.always
    /// Of whatever would be traced.
    var overall = RuntimeFraction.always

    private static let clientTrace = HeaderKey("x-client-trace-id")
    private static let forceTrace = HeaderKey("x-envoy-force-trace")

    /// Decides for a request by the number that its ID begins with, so that all proxies on its way decide alike.
    ///
    /// - Parameter packsReason: the reason is written into the ID, for those that come after.
    func decide(_ stream: HTTPStream, packsReason: Bool) -> TraceReason {
        let request = stream.request
        guard let id = request.value(.xRequestID), id.count >= 8, let number = TraceContext.number(id, 0..<8) else {
            return .none
        }
        let was = TraceReason(requestID: id)
        var reason = was
        if reason == .none {
            if request.value(Self.clientTrace) != nil, client.happens(stream.worker) {
                reason = .clientForced
            } else if request.value(Self.forceTrace) != nil {
                reason = .serviceForced
            } else if random.holds(number % 10_000) {
                reason = .sampled
            }
        }
        if reason != .none, !overall.holds(number % 10_000) { reason = .none }
        if packsReason, reason != was { reason.write(on: request) }
        return reason
    }
}
