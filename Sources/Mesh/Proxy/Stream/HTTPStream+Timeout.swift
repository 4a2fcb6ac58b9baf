import HTTP

/// How long a request may take: by its route, and by what it says itself.
extension HTTPStream {
    /// Before the first attempt. What the request asked for is taken out of it, and what is expected of the upstream put in.
    func prepareTimeouts(_ action: ForwardAction) {
        var timeout = action.options.timeout
        if let maximum = action.options.routeGRPCTimeoutMaximum, isGRPC {
            timeout = grpcTimeout ?? 0
            let offset = action.options.routeGRPCTimeoutOffset
            if offset > 0, timeout > offset {
                timeout -= offset
            }
            if maximum > 0, timeout > maximum || timeout == 0 { timeout = maximum }
        }
        if let asked = request.value(Self.timeout)?.decimal, asked >= 0 {
            timeout = UInt64(asked).multipliedClamped(by: 1_000_000)
        }
        request.remove(Self.timeout)
        routing.answersTimeoutWithNothing = request.value(Self.alternative)?.elementsEqual("1".utf8) ?? false
        routing.timeout = timeout
        if let idle = action.options.idleTimeout {
            idleTimeout = idle
            if idle == 0 { idleDeadline = LazyTimer.never }
            touch()
        }
        setDuration(action)
    }

    /// What the upstream may take, said to it: with each try less. After retries are prepared.
    func announceTimeout() {
        // A try that others are started beside may still answer until the request's own time is over.
        let perTry = routing.retries.hedges ? 0 : routing.retries.perTryTimeout
        var expected = perTry > 0 ? perTry : routing.timeout
        if attempts > 1, routing.timeout > 0, requestEndedAt > 0 {
            let elapsed = worker.now &- requestEndedAt
            // Nothing is what has no end, so the least is a millisecond.
            expected = elapsed < routing.timeout ? min(expected, routing.timeout - elapsed) : 1_000_000
        }
        request.remove(Self.perTryTimeout)
        guard expected > 0, !manager.options.suppressesEnvoyHeaders else { return }
        withDecimal(max(Int(expected / 1_000_000), 1)) { request.set(Self.expected, $0) }
    }

    private func setDuration(_ action: ForwardAction) {
        var duration = action.options.maximumStreamDuration ?? manager.options.maximumStreamDuration
        if let maximum = action.options.grpcTimeoutMaximum, isGRPC, let asked = grpcTimeout {
            duration = maximum > 0 ? min(asked, maximum) : asked
            let offset = action.options.grpcTimeoutOffset
            if offset > 0, offset < duration { duration -= offset }
        }
        durationDeadline = duration > 0 ? began &+ duration : LazyTimer.never
        arm()
    }

    /// `grpc-timeout`, in nanoseconds: at most eight digits and a unit.
    private var grpcTimeout: UInt64? {
        guard let value = request.value(.grpcTimeout), value.count >= 2, value.count <= 9,
            let number = UnsafeRawBufferPointer(rebasing: value.dropLast()).decimal, number >= 0
        else { return nil }
        let unit: UInt64
        switch value.last {
        case UInt8(ascii: "H"): unit = 3_600_000_000_000
        case UInt8(ascii: "M"): unit = 60_000_000_000
        case UInt8(ascii: "S"): unit = 1_000_000_000
        case UInt8(ascii: "m"): unit = 1_000_000
        case UInt8(ascii: "u"): unit = 1000
        case UInt8(ascii: "n"): unit = 1
        default: return nil
        }
        return UInt64(number).multipliedClamped(by: unit)
    }

    private static let timeout = HeaderKey("x-envoy-upstream-rq-timeout-ms")
    private static let perTryTimeout = HeaderKey("x-envoy-upstream-rq-per-try-timeout-ms")
    private static let alternative = HeaderKey("x-envoy-upstream-rq-timeout-alt-response")
    private static let expected = HeaderKey("x-envoy-expected-rq-timeout-ms")
}
