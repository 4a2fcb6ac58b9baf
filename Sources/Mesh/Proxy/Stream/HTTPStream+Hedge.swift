import HTTP

/// Tries that run beside each other: the first good answer is the request's, and the others are dropped.
extension HTTPStream {
    func isRival(_ attempt: UpstreamAttempt) -> Bool { rivals.contains { $0 === attempt } }

    /// A try takes too long: it goes on, and another begins beside it while one is left.
    func hedge(_ attempt: UpstreamAttempt) {
        attempt.hasTimedOut = true
        // Nobody asked for others.
        guard !routing.retries.conditions.isEmpty else { return }
        guard retriesLeft > 0 else {
            cluster?.stats.retryLimitsExceeded &+= 1
            countForVirtualCluster(.retryLimitsExceeded)
            responseFlags.insert(.upstreamRetryLimitExceeded)
            return
        }
        rivals.append(attempt)
        self.attempt = nil
        if retry() { return markTimeoutRetry() }
        rivals.removeLast()
        self.attempt = attempt
    }

    /// An earlier try has its answer, which `response` holds, or has failed. It becomes the present one where that decides the
    /// request; false when others may still do better.
    func adopt(_ rival: UpstreamAttempt, failed: Bool) -> Bool {
        guard let index = rivals.firstIndex(where: { $0 === rival }) else { return false }
        rivals.remove(at: index)
        let isLast = attempt == nil && rivals.isEmpty && !flags.contains(.waitsForRetry)
        let isBad = failed || RetryDecision.wants(routing.retries, response, status: response.status)
        guard isLast || !isBad else {
            rival.pool?.record(failed ? .failed : .status(UInt16(clamping: response.status)))
            drop(rival)
            return false
        }
        dropAttempt()
        flags.remove(.waitsForRetry)
        attempt = rival
        if let pool = rival.pool { upstream.remote = pool.address }
        return true
    }

    /// The present try has ended badly, or well. Others that still run are waited for, or dropped.
    func waitsForRivals(afterFailure: Bool) -> Bool {
        guard !rivals.isEmpty, !hasSentHead else { return false }
        if afterFailure || RetryDecision.wants(routing.retries, response, status: response.status) {
            dropPresentAttempt()
            response.clear()
            return true
        }
        dropRivals()
        return false
    }

    func dropRivals() {
        let dropped = rivals
        rivals = []
        for rival in dropped { drop(rival) }
    }

    private func drop(_ rival: UpstreamAttempt) {
        rival.giveUp()
        worker.giveBack(rival)
    }
}
