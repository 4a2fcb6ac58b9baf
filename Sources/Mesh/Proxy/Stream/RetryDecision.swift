import HTTP

/// Whether a failed attempt is one that the policy repeats. Pure.
enum RetryDecision {
    static func wants(_ policy: RetryPolicy, _ response: HeaderBlock, status: Int) -> Bool {
        let asked = policy.conditions
        if status >= 500, asked.contains(.serverError) { return true }
        if (502...504).contains(status), asked.contains(.gatewayError) { return true }
        if status == 409, asked.contains(.retriable4xx) { return true }
        if asked.contains(.retriableStatusCodes), policy.statusCodes.contains(status) { return true }
        return false
    }

    static func wants(_ policy: RetryPolicy, _ reason: StreamReset, hasSentRequest: Bool) -> Bool {
        let asked = policy.conditions
        switch reason {
        case .overflow: return false
        case .connectionFailure, .connectTimeout:
            return !asked.isDisjoint(with: [.connectFailure, .serverError, .gatewayError, .reset, .resetBeforeRequest])
        case .refused: return !asked.isDisjoint(with: [.refusedStream, .serverError, .reset])
        case .connectionTermination, .remoteReset, .protocolError, .localReset:
            if !hasSentRequest, asked.contains(.resetBeforeRequest) { return true }
            return !asked.isDisjoint(with: [.reset, .serverError])
        }
    }
}
