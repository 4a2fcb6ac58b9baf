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
        case .redirect(let action):
            worker.stats(manager).pointee.redirects &+= 1
            redirect(action, route.match)
        case .forward(let action): forward(action, route)
        case .nonForwarding:
            worker.stats(manager).pointee.noClusters &+= 1
            reply(503, "", flag: .noClusterFound, details: "cluster_not_found")
        }
    }

    private func direct(_ direct: DirectResponse) {
        // What was made, or is elsewhere, is said to be where the request was.
        let location =
            direct.status == 201 || direct.status / 100 == 3 ? RedirectAction().location(request, nil) : []
        func send(_ body: UnsafeRawBufferPointer) {
            reply(direct.status, body: body, details: "direct_response") { response in
                if let type = direct.format?.contentType, !body.isEmpty {
                    type.withUnsafeBytes { response.set(.contentType, $0) }
                }
                if !location.isEmpty { location.withUnsafeBytes { response.set(.location, $0) } }
            }
        }
        guard let format = direct.format else { return direct.body.withUnsafeBytes(send) }
        localReplyBody = direct.body
        var text = GrowingBytes()
        format.render(self, into: &text)
        send(text.bytes)
        text.deallocate()
    }

    private func redirect(_ action: RedirectAction, _ match: RouteMatch) {
        let location = action.location(request, match)
        reply(
            action.status, body: UnsafeRawBufferPointer(start: nil, count: 0), details: "direct_response"
        ) { response in location.withUnsafeBytes { response.set(.location, $0) } }
    }

    /// The cluster that is meant; nil when there can be none.
    func clusterID(_ choice: ForwardAction.Choice) -> ClusterID? {
        switch choice {
        case .cluster(let id): id
        case .header(let key): request.value(key).flatMap { ClusterID(known: String(decoding: $0, as: UTF8.self)) }
        case .weighted: routing.weighted.flatMap { clusterID($0.choice) }
        }
    }

    /// The name of the cluster that the route means, known or not.
    var wantedCluster: String? {
        guard case .forward(let action)? = route?.action else { return nil }
        func name(_ choice: ForwardAction.Choice) -> String? {
            switch choice {
            case .cluster(let id): id.name
            case .header(let key): request.value(key).map { String(decoding: $0, as: UTF8.self) }
            case .weighted: routing.weighted.flatMap { name($0.choice) }
            }
        }
        return name(action.choice)
    }

    private func forward(_ action: ForwardAction, _ route: RouteEntry) {
        guard let id = clusterID(action.choice), let cluster = worker.cluster(id) else {
            worker.stats(manager).pointee.noClusters &+= 1
            return reply(
                action.options.clusterNotFoundStatus, "", flag: .noClusterFound, details: "cluster_not_found")
        }
        self.cluster = cluster
        prepareTimeouts(action)
        if !action.options.hashPolicies.isEmpty { pick.hash = HashPolicy.hash(action.options.hashPolicies, self) }
        if let criteria = matchCriteria { pick.subset = cluster.subsets(criteria) }
        prepareRetries(action)
        // What may be asked for elsewhere is kept.
        if action.options.internalRedirect != nil { flags.insert(.keepsBody) }
        findVirtualCluster()
        announceTimeout()
        mutateRequest(action, route)
        removeRouterHeaders()
        if flags.contains(.requestEnded) { startRouteClock() }
        if !action.options.mirrors.isEmpty { startMirrors(action.options.mirrors) }
        startAttempt()
    }

    /// What the route does to the request before an upstream sees it.
    private func mutateRequest(_ action: ForwardAction, _ route: RouteEntry) {
        if route.host.countsAttemptsInRequest { request.set(Self.attemptCount, decimal: 1) }
        if let weighted = routing.weighted {
            weighted.requestHeaders.apply(to: request, self)
            if !weighted.host.isEmpty { weighted.host.withUnsafeBytes { request.setAuthority($0) } }
        }
        for mutations in route.requestHeaders { mutations.apply(to: request, self) }
        let keepsOriginal = !manager.options.suppressesEnvoyHeaders
        action.options.hostRewrite?.apply(
            to: request, appendsForwardedHost: action.options.appendsForwardedHost, keepsOriginal: keepsOriginal)
        guard let rewrite = action.options.pathRewrite, let range = rewrite.append(to: request, route.match) else {
            return
        }
        if keepsOriginal { request.set(Self.originalPath, request.path) }
        request.setPath(request.bytes(range))
    }

    /// What was said to this router and not to the next.
    private func removeRouterHeaders() {
        guard request.hasEnvoyFields else { return }
        request.removeAll { field in
            guard field.name == .other else { return false }
            let name = request.name(field)
            guard name.starts(with: StaticString("x-envoy-").bytes) else { return false }
            let rest = UnsafeRawBufferPointer(rebasing: name[8...])
            for own in Self.routerHeaders where rest.elementsEqual(own.bytes) { return true }
            return false
        }
    }

    static let attemptCount = HeaderKey("x-envoy-attempt-count")
    private static let originalPath = HeaderKey("x-envoy-original-path")
    private static let isTimeoutRetry = HeaderKey("x-envoy-is-timeout-retry")
    /// Behind `x-envoy-`.
    private static let routerHeaders: [StaticString] = [
        "retry-on", "retry-grpc-on", "max-retries", "retriable-status-codes", "retriable-header-names",
        "upstream-rq-timeout-alt-response", "hedge-on-per-try-timeout",
    ]

    /// What the route asks of hosts.
    var matchCriteria: HostMetadata? { routing.weighted?.metadata ?? forwardAction?.options.metadata }

    /// A CONNECT whose tunnel ends here: the upstream is given its bytes, and nothing of HTTP.
    var endsConnect: Bool {
        guard isConnect, request.protocolRange.isEmpty, let upgrades = forwardAction?.options.upgrades else {
            return false
        }
        return upgrades.contains { $0.endsHere && $0.kind == "connect" }
    }

    var forwardAction: ForwardAction? {
        if case .forward(let action)? = route?.action { action } else { nil }
    }

    /// The time-out of a route counts from the end of the request.
    private func startRouteClock() {
        guard routing.timeout > 0, !flags.contains(.isTunnel) else { return }
        routeDeadline = worker.now &+ routing.timeout
        arm()
    }

    func startAttempt() {
        guard cluster != nil else { return }
        attempts &+= 1
        guard let cluster = presentCluster() else { return replyNoHost() }
        sharePriorities(cluster)
        guard let pool = cluster.choose(self) else {
            cluster.stats.noneHealthy &+= 1
            return replyNoHost()
        }
        if case .upstream? = forwardAction?.options.hostRewrite, let action = forwardAction,
            !pool.host.hostname.isEmpty, !routing.isMirror
        {
            var hostname = pool.host.hostname
            hostname.withUTF8 { name in
                HostRewrite.set(
                    UnsafeRawBufferPointer(name), on: request,
                    appendsForwardedHost: action.options.appendsForwardedHost,
                    keepsOriginal: attempts == 1 && !manager.options.suppressesEnvoyHeaders)
            }
        }
        if attempts > 1 {
            announceTimeout()
            if route?.host.countsAttemptsInRequest == true { request.set(Self.attemptCount, decimal: attempts) }
        }
        if manager.options.matchesUpstreamScheme {
            request.setScheme(cluster.settings.transport(to: pool.host).security == nil ? "http" : "https")
        }
        if routing.retries.perTryTimeout > 0 {
            tryDeadline = worker.now &+ routing.retries.perTryTimeout
            arm()
        }
        if attempts == 1 { worker.stats(manager).pointee.routed &+= 1 }
        if let policy = routing.retries.policy { policy.avoid(pool.host, in: &pick) }
        if routing.retries.policy != nil { notePriority(of: pool.host, cluster) }
        let attempt = worker.takeAttempt(self)
        upstream.remote = pool.address
        upstream.hostname = pool.host.hostname
        if worker.watch.stats != nil { upstream.watchNumber = pool.watchNumber }
        self.attempt = attempt
        trail.begin(pool.address, at: worker.now)
        trace?.attemptBegins(self)
        pool.acquire(attempt)
    }

    private func replyNoHost() {
        if routing.isMirror { return finishMirror() }
        countFailure(503)
        reply(503, "no healthy upstream", flag: .noHealthyUpstream, details: "no_healthy_upstream")
    }

    /// The attempt has a connection: the request goes out.
    func attemptIsReady(_ attempt: UpstreamAttempt) {
        guard let codec = attempt.codec else { return }
        upstream.remote = codec.pool.address
        upstream.peer = codec.pool.address
        upstream.local = codec.connection.origin.local
        upstream.version = codec.version
        upstream.tls = codec.connection.tlsSession
        upstream.connectionID = codec.connection.id
        upstreamSendBeganAt = worker.now
        trail.ready(at: worker.now, isReused: attempt.isReused)
        if flags.contains(.requestEnded) { upstreamSendEndedAt = worker.now }
        countForVirtualCluster(.total)
        if manager.options.logsUpstreamReady { logUpstream(attempt, "UpstreamPoolReady") }
        if codec.pool.cluster.settings.options.streamDuration > 0 {
            attemptDeadline = worker.now &+ codec.pool.cluster.settings.options.streamDuration
            arm()
        }
        let hasBody = !requestBody.isEmpty
        let isWhole = flags.contains(.requestEnded)
        codec.start(attempt, request, end: isWhole && !hasBody)
        guard attempt === self.attempt || isRival(attempt) else { return }
        if hasBody { forwardBufferedBody(attempt) }
    }

    private func forwardBufferedBody(_ attempt: UpstreamAttempt) {
        guard let codec = attempt.codec, !attempt.hasSentBody else { return }
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
        if !routing.mirrors.isEmpty { sendToMirrors(data, end: end) }
        if flags.contains(.keepsBody), !data.isEmpty {
            if requestBody.count + data.count <= manager.options.bufferLimit {
                requestBody.append(data)
            } else if attempt?.codec != nil {
                // Too much to keep: this attempt is the last.
                flags.remove(.keepsBody)
                cluster?.stats.retriesAbandoned &+= 1
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
        if !end, attempt === self.attempt, !codec.isWritable(attempt) {
            cluster?.stats.backedUp &+= 1
            pauseDownstream()
        }
    }

    // MARK: What the attempt tells

    /// An informational head, which `response` holds; the final one follows.
    func attemptInformed(_ attempt: UpstreamAttempt) {
        guard attempt === self.attempt, !hasSentHead, !routing.isMirror else { return }
        // Else the client has heard that already, or never asked.
        guard response.status != 100 || manager.proxies100Continue else { return }
        RequestHygiene.removeHopByHop(response, keepsUpgrade: false)
        downstream?.sendHead(self, response, end: false)
    }

    /// `response` holds the final head.
    func attemptHead(_ attempt: UpstreamAttempt, end: Bool) {
        guard attempt === self.attempt || adopt(attempt, failed: false) else { return }
        attempt.hasHead = true
        responseBeganAt = worker.now
        trail.ended(.answered, status: response.status, at: worker.now)
        details = "via_upstream"
        tryDeadline = LazyTimer.never
        let status = response.status
        attempt.pool?.record(.status(UInt16(clamping: status)))
        if routing.isMirror {
            countAnswer()
            if end { finishMirror() }
            return
        }
        if shouldRetry(status: status), retry() {
            cluster?.stats.retriedResponses.count(status)
            return
        }
        if waitsForRivals(afterFailure: false) { return }
        if followRedirect() { return }
        countAnswer()
        responseHead(end: end)
    }

    func attemptData(_ attempt: UpstreamAttempt, _ bytes: UnsafeRawBufferPointer, end: Bool) {
        guard attempt === self.attempt else { return }
        if routing.isMirror {
            if end { finishMirror() }
            return
        }
        responseData(bytes, end: end)
    }

    func attemptTrailers(_ attempt: UpstreamAttempt, _ block: HeaderBlock) {
        guard attempt === self.attempt else { return }
        if routing.isMirror { return finishMirror() }
        responseTrailers(block)
    }

    /// The upstream, or the way to it, failed.
    func attemptFailed(_ attempt: UpstreamAttempt, _ reason: StreamReset) {
        guard attempt === self.attempt || adopt(attempt, failed: true) else { return }
        attempt.failure = reason
        if attempt.isCounted, reason != .localReset, reason != .overflow {
            switch reason {
            case .protocolError: cluster?.stats.protocolErrors &+= 1
            case .remoteReset: cluster?.stats.remoteResets &+= 1
            // Its connection may carry others; over HTTP/1 it is counted as `upstream_cx_destroy_with_active_rq` only.
            case .connectionTermination where upstream.version == .http2: cluster?.stats.pendingFailures &+= 1
            default: break
            }
            if !attempt.hasHead { attempt.pool?.record(.failed) }
        }
        trace?.attemptFailed(reason)
        if routing.isMirror { return finishMirror() }
        trail.ended(.failed, failure: reason, at: worker.now)
        if !attempt.failureText.isEmpty { trail.failure = attempt.failureText }
        if !hasSentHead, !flags.contains(.isLocalReply), shouldRetry(reason, attempt), retry() { return }
        if waitsForRivals(afterFailure: true) { return }
        upstream.failure = attempt.failureText
        dropAttempt()
        responseFlags.insert(reason.responseFlag)
        guard !hasSentHead else {
            worker.stats(manager).pointee.cutAfterHead &+= 1
            details = UpstreamFailure(reason: reason).detailsAfterHead
            return cut(reason)
        }
        UpstreamFailure(reason: reason, isRetry: attempts > 1).reply(on: self)
    }

    /// The answer in `response` is the request's.
    private func countAnswer() {
        cluster?.stats.count(response, isInternal: isInternal)
        countForVirtualCluster(status: response.status)
    }

    /// There is no answer, which counts as one with this status.
    func countFailure(_ status: Int) {
        cluster?.stats.count(status, isInternal: isInternal)
        countForVirtualCluster(status: status)
    }

    func attemptTimedOut() {
        guard let attempt else { return }
        attempt.pool?.record(.timedOut)
        guard !hasSentHead else { return }
        trail.ended(.timedOut, at: worker.now)
        response.clear()
        // It may still answer, so it is none of those that were cut.
        if routing.retries.hedges, flags.contains(.requestEnded) { return hedge(attempt) }
        cluster?.stats.perTryTimeouts &+= 1
        if shouldRetryTimeout(attempt), retry() {
            markTimeoutRetry()
            return
        }
        attempt.giveUp()
        dropAttempt()
        countFailure(504)
        reply(
            504, "upstream request timeout", flag: .upstreamRequestTimeout, details: "upstream_per_try_timeout")
    }

    /// `max_stream_duration` of the cluster: the attempt has lasted too long, whether it answers or not.
    func attemptReachedDuration() {
        guard let attempt else { return }
        cluster?.stats.durationsReached &+= 1
        trail.ended(.timedOut, at: worker.now)
        if routing.isMirror { return finishMirror() }
        if !hasSentHead, shouldRetry(.localReset, attempt), retry() { return }
        dropAttempt()
        responseFlags.insert(.upstreamMaxStreamDurationReached)
        guard !hasSentHead else {
            details = "upstream_max_stream_duration_reached"
            return cut(.localReset)
        }
        reply(
            flags.contains(.requestEnded) ? 504 : 408, "upstream max stream duration reached",
            details: "upstream_max_stream_duration_reached")
    }

    func markTimeoutRetry() {
        if route?.host.marksTimeoutRetries == true { request.set(Self.isTimeoutRetry, StaticString("true").bytes) }
    }

    func routeTimedOut() {
        guard flags.contains(.requestEnded) else { return requestTimedOut() }
        countTimeouts()
        if routing.isMirror { return finishMirror() }
        dropAttempt()
        guard !hasSentHead else {
            responseFlags.insert(.upstreamRequestTimeout)
            details = "response_timeout"
            return cut(.localReset)
        }
        if routing.answersTimeoutWithNothing {
            return reply(204, "", flag: .upstreamRequestTimeout, details: "response_timeout")
        }
        reply(504, "upstream request timeout", flag: .upstreamRequestTimeout, details: "response_timeout")
    }

    /// Each try that still runs has run out of time. What a host's record has of it already is not said again.
    private func countTimeouts() {
        let status = routing.answersTimeoutWithNothing ? 204 : 504
        for attempt in rivals + (attempt.map { [$0] } ?? []) {
            cluster?.stats.timeouts &+= 1
            countForVirtualCluster(.timeouts)
            if !attempt.hasTimedOut, attempt.isCounted { attempt.pool?.record(.timedOut) }
            if !hasSentHead { countFailure(status) }
        }
    }

    /// `request_timeout`: the client did not send all of it.
    private func requestTimedOut() {
        worker.stats(manager).pointee.requestTimeouts &+= 1
        dropAttempt()
        guard !hasSentHead else { return cut(.localReset) }
        reply(408, "request timeout", details: "request_overall_timeout")
    }

    /// Lets go of all attempts, which may still be running.
    func dropAttempt() {
        if !rivals.isEmpty { dropRivals() }
        dropPresentAttempt()
    }

    func dropPresentAttempt() {
        guard let attempt else { return }
        trace?.attemptEnded(self, attempt)
        if !manager.options.upstreamLogs.isEmpty { logUpstream(attempt, "UpstreamEnd") }
        self.attempt = nil
        tryDeadline = LazyTimer.never
        attemptDeadline = LazyTimer.never
        attempt.giveUp()
        worker.giveBack(attempt)
    }

    /// The response of the upstream has come to its end, or the request to its own.
    func countUpstreamTime() {
        guard let cluster, attempts > 0, requestEndedAt > 0 else { return }
        let time = (worker.now &- requestEndedAt) / 1_000_000
        if cluster.settings.options.tracking.isOn { cluster.stats.track(self, cluster.settings.options.tracking) }
        if isInternal {
            cluster.stats.internalRequestTime.record(time)
        } else {
            cluster.stats.externalRequestTime.record(time)
        }
    }

    var routingPriority: RoutingPriority { isHighPriority ? .high : .default }
    var isHighPriority: Bool { forwardAction?.options.isHighPriority ?? false }
}
