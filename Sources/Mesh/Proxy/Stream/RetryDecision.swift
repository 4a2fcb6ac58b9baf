import HTTP

/// Whether a failed attempt is one that the policy repeats. Pure.
enum RetryDecision {
    /// - Parameter response: the head of the response.
    static func wants(_ retries: RetryState, _ response: HeaderBlock, status: Int) -> Bool {
        let asked = retries.conditions
        guard !asked.isEmpty else { return false }
        // Who limits the rate does not want to be asked again at once, whatever else is asked for.
        if response.value(Self.rateLimited) != nil { return asked.contains(.envoyRateLimited) }
        if status >= 500, asked.contains(.serverError) { return true }
        if (502...504).contains(status), asked.contains(.gatewayError) { return true }
        if status == 409, asked.contains(.retriable4xx) { return true }
        if asked.contains(.retriableStatusCodes),
            retries.policy?.options.statusCodes.contains(status) == true || retries.statusCodes.contains(status)
        {
            return true
        }
        if asked.contains(.retriableHeaders) {
            if retries.policy?.options.responseHeaders.contains(where: { $0.matches(response) }) == true { return true }
            if retries.headerNames.contains(where: { response.value($0) != nil }) { return true }
        }
        guard !asked.isDisjoint(with: .grpc), let code = response.value(.grpcStatus)?.decimal else { return false }
        switch code {
        case 1: return asked.contains(.grpcCancelled)
        case 4: return asked.contains(.grpcDeadlineExceeded)
        case 8: return asked.contains(.grpcResourceExhausted)
        case 13: return asked.contains(.grpcInternal)
        case 14: return asked.contains(.grpcUnavailable)
        default: return false
        }
    }

    static func wants(_ retries: RetryState, _ reason: StreamReset, hasSentRequest: Bool) -> Bool {
        let asked = retries.conditions
        switch reason {
        case .overflow: return false
        case .connectionFailure, .connectTimeout:
            return !asked.isDisjoint(with: [.connectFailure, .serverError, .gatewayError, .reset, .resetBeforeRequest])
        case .refused:
            return !asked.isDisjoint(with: [.refusedStream, .serverError, .gatewayError, .reset])
        case .connectionTermination, .remoteReset, .protocolError, .localReset:
            if !hasSentRequest, asked.contains(.resetBeforeRequest) { return true }
            return !asked.isDisjoint(with: [.reset, .serverError, .gatewayError])
        }
    }

    /// When the upstream wants to be asked again, in nanoseconds from now, as the policy reads it; nil when it does not say.
    ///
    /// - Parameter now: seconds of the wall clock.
    static func requestedDelay(_ policy: RetryPolicy, _ response: HeaderBlock, now: Int64) -> UInt64? {
        for header in policy.options.resetHeaders {
            guard let number = response.value(header.key)?.decimal, number >= 0 else { continue }
            let seconds = header.format == .seconds ? number : number - now
            guard seconds >= 0 else { continue }
            let delay = UInt64(seconds).multipliedClamped(by: 1_000_000_000)
            if delay <= policy.options.maximumReset { return delay }
        }
        return nil
    }

    private static let rateLimited = HeaderKey("x-envoy-ratelimited")
}
