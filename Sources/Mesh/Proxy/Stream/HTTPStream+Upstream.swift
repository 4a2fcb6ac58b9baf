import HTTP
import TLS

/// The router: from a route to an attempt on an upstream, and to another when it fails.
extension HTTPStream {
    func startRouting() {
        guard let route else {
            worker.stats(manager).pointee.noRoutes &+= 1
            return reply(404, "", flag: .noRouteFound, details: "route_not_found")
        }
        switch route.action {
        case .direct(let response):
            worker.stats(manager).pointee.directResponses &+= 1
            direct(response)
        case .forward(let action): forward(action)
        }
    }

    private func direct(_ direct: DirectResponse) {
        direct.body.withUnsafeBytes { reply(direct.status, body: $0, details: "direct_response") }
    }

    private func forward(_ action: ForwardAction) {
        guard case .cluster(let id) = action.choice, let cluster = worker.cluster(id) else {
            worker.stats(manager).pointee.noClusters &+= 1
            return reply(
                action.options.clusterNotFoundStatus, "", flag: .noClusterFound, details: "cluster_not_found")
        }
        self.cluster = cluster
        for mutation in route?.requestHeaders ?? [] { mutation.apply(to: request, self) }
        if let retry = action.options.retry {
            retriesLeft = retry.retries
            flags.insert(.keepsBody)
        }
        if let timeout = action.options.idleTimeout { idleTimeout = timeout }
        if flags.contains(.requestEnded) { startRouteClock() }
        startAttempt()
    }

    private var forwardAction: ForwardAction? {
        if case .forward(let action)? = route?.action { action } else { nil }
    }

    /// The time-out of a route counts from the end of the request.
    private func startRouteClock() {
        guard let action = forwardAction, action.options.timeout > 0, !flags.contains(.isTunnel) else { return }
        routeDeadline = worker.now &+ action.options.timeout
        arm()
    }

    private func startAttempt() {
        guard let cluster else { return }
        guard let pool = cluster.choose(self) else {
            cluster.stats.noneHealthy &+= 1
            return reply(503, "no healthy upstream", flag: .noHealthyUpstream, details: "no_healthy_upstream")
        }
        attempts &+= 1
        if let retry = forwardAction?.options.retry, retry.perTryTimeout > 0 {
            tryDeadline = worker.now &+ retry.perTryTimeout
            arm()
        }
        if attempts == 1 { worker.stats(manager).pointee.routed &+= 1 }
        let attempt = worker.takeAttempt(self)
        upstream.remote = pool.address
        upstream.hostname = pool.host.hostname
        self.attempt = attempt
        pool.acquire(attempt)
    }

    /// The attempt has a connection: the request goes out.
    func attemptIsReady(_ attempt: UpstreamAttempt) {
        guard let codec = attempt.codec else { return }
        upstream.remote = codec.pool.address
        upstream.local = codec.connection.origin.local
        upstream.version = codec.version
        upstream.connectionID = codec.connection.id
        upstreamSendBeganAt = worker.now
        if flags.contains(.requestEnded) { upstreamSendEndedAt = worker.now }
        let hasBody = !requestBody.isEmpty
        let isWhole = flags.contains(.requestEnded)
        codec.start(attempt, request, end: isWhole && !hasBody)
        guard attempt === self.attempt else { return }
        if hasBody { forwardBufferedBody() }
    }

    func forwardBufferedBody() {
        guard let attempt, let codec = attempt.codec, !attempt.hasSentBody else { return }
        guard !requestBody.isEmpty else { return }
        attempt.hasSentBody = true
        codec.sendData(attempt, requestBody.bytes, end: flags.contains(.requestEnded))
        if !flags.contains(.keepsBody) { requestBody.deallocate() }
    }

    func sendUpstream(_ data: UnsafeRawBufferPointer, end: Bool) {
        if end {
            startRouteClock()
            upstreamSendEndedAt = worker.now
        }
        if flags.contains(.keepsBody), !data.isEmpty {
            if requestBody.count + data.count <= manager.options.bufferLimit {
                requestBody.append(data)
            } else if attempt?.codec != nil {
                // Too much to keep: this attempt is the last.
                flags.remove(.keepsBody)
                retriesLeft = 0
                requestBody.deallocate()
            }
        }
        guard let attempt, let codec = attempt.codec else {
            // Waits for a connection.
            if !flags.contains(.keepsBody) { requestBody.append(data) }
            if requestBody.count > manager.options.bufferLimit / 2, !end { pauseDownstream() }
            return
        }
        attempt.hasSentBody = true
        codec.sendData(attempt, data, end: end)
        if !end, attempt === self.attempt, !codec.isWritable(attempt) { pauseDownstream() }
    }

    // MARK: What the attempt tells

    /// An informational head, which `response` holds; the final one follows.
    func attemptInformed(_ attempt: UpstreamAttempt) {
        guard attempt === self.attempt, response.status != 100, !hasSentHead else { return }
        RequestHygiene.removeHopByHop(response, keepsUpgrade: false)
        downstream?.sendHead(self, response, end: false)
    }

    /// `response` holds the final head.
    func attemptHead(_ attempt: UpstreamAttempt, end: Bool) {
        guard attempt === self.attempt else { return }
        attempt.hasHead = true
        details = "via_upstream"
        tryDeadline = LazyTimer.never
        cluster?.stats.count(response, isInternal: isInternal)
        attempt.pool?.record(.status(UInt16(clamping: response.status)))
        if shouldRetry(status: response.status), retry() { return }
        responseHead(end: end)
    }

    func attemptData(_ attempt: UpstreamAttempt, _ bytes: UnsafeRawBufferPointer, end: Bool) {
        guard attempt === self.attempt else { return }
        responseData(bytes, end: end)
    }

    func attemptTrailers(_ attempt: UpstreamAttempt, _ block: HeaderBlock) {
        guard attempt === self.attempt else { return }
        responseTrailers(block)
    }

    /// The upstream, or the way to it, failed.
    func attemptFailed(_ attempt: UpstreamAttempt, _ reason: StreamReset) {
        guard attempt === self.attempt else { return }
        if attempt.isCounted, reason != .localReset, reason != .overflow {
            switch reason {
            case .protocolError: cluster?.stats.protocolErrors &+= 1
            default: cluster?.stats.remoteResets &+= 1
            }
            if !attempt.hasHead { attempt.pool?.record(.failed) }
        }
        if !hasSentHead, !flags.contains(.isLocalReply), shouldRetry(reason, attempt), retry() { return }
        let hadRequest = attempt.hasSentHead
        upstream.failure = attempt.failureText
        dropAttempt()
        switch reason {
        case .overflow: responseFlags.insert(.upstreamOverflow)
        case .connectionFailure, .connectTimeout: responseFlags.insert(.upstreamConnectionFailure)
        case .connectionTermination: responseFlags.insert(.upstreamConnectionTermination)
        case .remoteReset, .refused: responseFlags.insert(.upstreamRemoteReset)
        case .protocolError: responseFlags.insert(.upstreamProtocolError)
        case .localReset: responseFlags.insert(.localReset)
        }
        if forwardAction?.options.retry != nil, attempts > 1 { responseFlags.insert(.upstreamRetryLimitExceeded) }
        guard !hasSentHead else {
            details = UpstreamFailure(reason: reason, afterRequest: true).detailsAfterHead
            return cut(reason)
        }
        UpstreamFailure(reason: reason, afterRequest: hadRequest).reply(on: self)
    }

    func attemptTimedOut() {
        guard let attempt else { return }
        cluster?.stats.perTryTimeouts &+= 1
        attempt.pool?.record(.timedOut)
        guard !hasSentHead else { return }
        if shouldRetry(status: 504), retry() { return }
        attempt.giveUp()
        dropAttempt()
        reply(
            504, "upstream request timeout", flag: .upstreamRequestTimeout, details: "upstream_per_try_timeout")
    }

    func routeTimedOut() {
        cluster?.stats.timeouts &+= 1
        if attempt?.isCounted ?? false { attempt?.pool?.record(.timedOut) }
        dropAttempt()
        guard !hasSentHead else {
            responseFlags.insert(.upstreamRequestTimeout)
            return cut(.localReset)
        }
        reply(504, "upstream request timeout", flag: .upstreamRequestTimeout, details: "upstream_response_timeout")
    }

    /// Lets go of the attempt, which may still be running.
    func dropAttempt() {
        guard let attempt else { return }
        self.attempt = nil
        tryDeadline = LazyTimer.never
        attempt.giveUp()
        worker.giveBack(attempt)
    }

    /// The response of the upstream has come to its end, or the request to its own.
    func countUpstreamTime() {
        guard let cluster, attempts > 0, requestEndedAt > 0 else { return }
        let time = (worker.now &- requestEndedAt) / 1_000_000
        if isInternal {
            cluster.stats.internalRequestTime.record(time)
        } else {
            cluster.stats.externalRequestTime.record(time)
        }
    }

    /// The request came from within the mesh, by the word of hygiene.
    var isInternal: Bool {
        guard let value = request.value(Self.internalKey) else { return false }
        return value.elementsEqual("true".utf8)
    }

    private static let internalKey = HeaderKey("x-envoy-internal")

    // MARK: Retries

    var routingPriority: RoutingPriority { isHighPriority ? .high : .default }
    var isHighPriority: Bool { forwardAction?.options.isHighPriority ?? false }

    /// The retry that was counted has its answer, or the stream is over.
    func releaseRetry() {
        guard flags.contains(.holdsRetry) else { return }
        flags.remove(.holdsRetry)
        cluster?.breakers.release(.retries, routingPriority)
    }

    private func shouldRetry(status: Int) -> Bool {
        guard retriesLeft > 0, let policy = forwardAction?.options.retry, !hasSentHead else { return false }
        return RetryDecision.wants(policy, response, status: status)
    }

    private func shouldRetry(_ reason: StreamReset, _ attempt: UpstreamAttempt) -> Bool {
        // Nothing of the request has reached anybody, or a kept connection died under it before it could be read: repeating is
        // safe whatever the policy says, once.
        if attempt.isReused, !attempt.hasHead, reason == .connectionTermination, !attempts.isMultiple(of: 8),
            canRepeatUnasked
        {
            return true
        }
        guard retriesLeft > 0, let policy = forwardAction?.options.retry else { return false }
        return RetryDecision.wants(policy, reason, hasSentRequest: attempt.hasSentHead)
    }

    /// All of the request is still here, or it had no body.
    private var canRepeatUnasked: Bool {
        flags.contains(.requestEnded) && (requestBytes == 0 || flags.contains(.keepsBody))
            && (request.method.isIdempotent || retriesLeft > 0)
    }

    private func retry() -> Bool {
        guard let cluster, flags.contains(.requestEnded) || flags.contains(.keepsBody) else { return false }
        let wasAsked = retriesLeft > 0
        releaseRetry()
        if wasAsked {
            guard cluster.breakers.take(.retries, routingPriority) else {
                cluster.stats.retryOverflows &+= 1
                responseFlags.insert(.upstreamOverflow)
                return false
            }
            flags.insert(.holdsRetry)
        }
        if wasAsked { retriesLeft &-= 1 }
        cluster.stats.retries &+= 1
        let delay = wasAsked ? backoff : 0
        dropAttempt()
        response.clear()
        guard delay > 0 else {
            startAttempt()
            return true
        }
        flags.insert(.waitsForRetry)
        let id = id
        worker.loop.schedule(after: .nanoseconds(Int64(delay))) { [weak self] in
            guard let self, self.id == id, flags.contains(.waitsForRetry) else { return }
            flags.remove(.waitsForRetry)
            startAttempt()
            worker.flush()
        }
        return true
    }

    /// Uniform in [0, (2^n − 1) · base), at most the maximum interval: full jitter.
    private var backoff: UInt64 {
        guard let policy = forwardAction?.options.retry else { return 0 }
        let factor = UInt64(1) << UInt64(min(attempts, 16)) &- 1
        let bound = min(
            policy.baseInterval.multipliedReportingOverflow(by: factor).partialValue, policy.maximumInterval)
        return bound > 0 ? worker.random.next(upperBound: bound) : 0
    }
}
