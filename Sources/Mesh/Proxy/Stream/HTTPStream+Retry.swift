import Bytes
import HTTP

/// Attempts after the first: what the route and the request allow, and when.
extension HTTPStream {
    /// Reads what route and request say about retries, before the first attempt.
    func prepareRetries(_ action: ForwardAction) {
        let policy = action.options.retry
        // What nearly all requests have: neither their route nor they themselves ask for any.
        if policy == nil, !request.hasEnvoyFields {
            // A redirect that the proxy followed may have left those of another route.
            if routing.retries.policy != nil || !routing.retries.conditions.isEmpty { routing.retries = RetryState() }
            routing.retries.perTryTimeout = 0
            routing.retries.hedges = action.options.hedgesOnPerTryTimeout
            retriesLeft = 0
            return
        }
        var retries = RetryState()
        retries.policy = policy
        retries.conditions = policy?.conditions ?? []
        retries.perTryTimeout = policy?.options.perTryTimeout ?? 0
        retries.hedges = action.options.hedgesOnPerTryTimeout
        var left = Int(policy?.options.retries ?? 1)
        for index in 0..<request.count where request.fields[index].name == .other {
            let field = request.fields[index]
            let name = request.name(field)
            guard name.starts(with: StaticString("x-envoy-").bytes) else { continue }
            let value = request.value(field)
            if Self.retryOn.matches(.other, name) || Self.retryGRPCOn.matches(.other, name) {
                retries.conditions.formUnion(RetryPolicy.Conditions(value))
            } else if Self.maximumRetries.matches(.other, name) {
                if let number = value.decimal, number >= 0 { left = Int(number) }
            } else if Self.retriableCodes.matches(.other, name) {
                retries.statusCodes = value.split(separator: UInt8(ascii: ",")).compactMap {
                    $0.trimmed.decimal.map(Int.init)
                }
            } else if Self.retriableNames.matches(.other, name) {
                retries.headerNames = value.split(separator: UInt8(ascii: ",")).map {
                    HeaderKey(String(decoding: $0.trimmed, as: UTF8.self))
                }
            } else if Self.hedge.matches(.other, name) {
                retries.hedges = value.elementsEqual("true".utf8)
            } else if Self.perTryTimeout.matches(.other, name) {
                if let milliseconds = value.decimal, milliseconds >= 0 {
                    retries.perTryTimeout = UInt64(milliseconds).multipliedClamped(by: 1_000_000)
                }
            }
        }
        if let allowed = policy?.options.requestHeaders, !allowed.isEmpty,
            !allowed.contains(where: { $0.matches(request) })
        {
            retries.conditions = []
        }
        // A try that lasts as long as all of them is no limit of its own.
        if routing.timeout > 0, retries.perTryTimeout >= routing.timeout { retries.perTryTimeout = 0 }
        retriesLeft = retries.conditions.isEmpty ? 0 : left
        routing.retries = retries
        if !retries.conditions.isEmpty { flags.insert(.keepsBody) }
    }

    /// The retry that was counted has its answer, or the stream is over.
    func releaseRetry() {
        guard flags.contains(.holdsRetry) else { return }
        flags.remove(.holdsRetry)
        cluster?.breakers.release(.retries, routingPriority)
    }

    /// The cluster that the next attempt is made in. Between two attempts another can have come in its place: the request goes
    /// on there, as in Envoy, with what it has tried so far. nil when the cluster is gone.
    func presentCluster() -> ClusterState? {
        guard let old = cluster, let present = old.present else { return nil }
        guard present !== old else { return old }
        if flags.contains(.holdsRetry) {
            old.breakers.release(.retries, routingPriority)
            present.breakers.add(.retries, routingPriority)
        }
        pick.avoiding = pick.avoiding?.moved(from: old.snapshot.hosts, to: present.snapshot.hosts)
        pick.subset = matchCriteria.flatMap { present.subsets($0) }
        pick.load = nil
        routing.retries.triedPriorities = []
        if attempts > 1 { routing.retries.policy?.omit(from: present.snapshot.hosts, in: &pick) }
        cluster = present
        return present
    }

    func shouldRetry(status: Int) -> Bool {
        guard !hasSentHead else { return false }
        return permitsRetry(
            !routing.retries.conditions.isEmpty && RetryDecision.wants(routing.retries, response, status: status))
    }

    func shouldRetry(_ reason: StreamReset, _ attempt: UpstreamAttempt) -> Bool {
        // Nothing of the request has reached anybody, or a kept connection died under it before it could be read: repeating is
        // safe whatever the policy says, once.
        if attempt.isReused, !attempt.hasHead, reason == .connectionTermination, !attempts.isMultiple(of: 8),
            canRepeatUnasked
        {
            return true
        }
        return permitsRetry(
            RetryDecision.wants(routing.retries, reason, hasSentRequest: attempt.hasSentHead))
    }

    /// An attempt that took too long is cut, which is a reset, and would be answered with 504.
    func shouldRetryTimeout(_ attempt: UpstreamAttempt) -> Bool {
        let retries = routing.retries
        return permitsRetry(
            RetryDecision.wants(retries, .localReset, hasSentRequest: attempt.hasSentHead)
                || RetryDecision.wants(retries, response, status: 504))
    }

    /// Counts what becomes of the wish.
    private func permitsRetry(_ wants: Bool) -> Bool {
        guard wants else {
            if routing.retries.isRetrying {
                cluster?.stats.retrySuccesses &+= 1
                countForVirtualCluster(.retrySuccesses)
            }
            routing.retries.isRetrying = false
            return false
        }
        guard flags.contains(.requestEnded) || flags.contains(.keepsBody) else { return false }
        guard retriesLeft > 0 else {
            cluster?.stats.retryLimitsExceeded &+= 1
            countForVirtualCluster(.retryLimitsExceeded)
            responseFlags.insert(.upstreamRetryLimitExceeded)
            routing.retries.isRetrying = false
            return false
        }
        return true
    }

    /// All of the request is still here, or it had no body.
    private var canRepeatUnasked: Bool {
        flags.contains(.requestEnded) && (requestBytes == 0 || flags.contains(.keepsBody))
            && (request.method.isIdempotent || retriesLeft > 0)
    }

    func retry() -> Bool {
        guard let cluster, flags.contains(.requestEnded) || flags.contains(.keepsBody) else { return false }
        let wasAsked = retriesLeft > 0
        var delay: UInt64 = 0
        releaseRetry()
        if wasAsked {
            guard cluster.breakers.take(.retries, routingPriority) else {
                cluster.stats.retryOverflows &+= 1
                countForVirtualCluster(.retryOverflows)
                responseFlags.insert(.upstreamOverflow)
                return false
            }
            flags.insert(.holdsRetry)
            retriesLeft &-= 1
            routing.retries.isRetrying = true
            routing.retries.policy?.omit(from: cluster.snapshot.hosts, in: &pick)
            if let policy = routing.retries.policy,
                let asked = RetryDecision.requestedDelay(policy, response, now: Timestamp.now().seconds)
            {
                cluster.stats.retryBackoffsByLimit &+= 1
                // Not all who were told the same moment come at it.
                delay = asked &+ (asked > 1 ? worker.random.next(upperBound: asked / 2) : 0)
            } else {
                cluster.stats.retryBackoffs &+= 1
                delay = backoff
            }
        }
        cluster.stats.retries &+= 1
        countForVirtualCluster(.retries)
        dropPresentAttempt()
        response.clear()
        guard delay > 0 else {
            startAttempt()
            return true
        }
        flags.insert(.waitsForRetry)
        let id = id
        worker.loop.schedule(after: .nanoseconds(Int64(clamping: delay))) { [weak self] in
            guard let self, self.id == id, flags.contains(.waitsForRetry), !flags.contains(.isOver) else { return }
            flags.remove(.waitsForRetry)
            startAttempt()
            worker.flush()
        }
        return true
    }

    /// `previous_priorities`: before every so many tries load is shared anew among the priorities that were not tried.
    func sharePriorities(_ cluster: ClusterState) {
        guard let every = routing.retries.policy?.options.priorityUpdates, every > 0 else { return }
        let tried = routing.retries.triedPriorities
        guard !tried.isEmpty, tried.count.isMultiple(of: Int(every)) else { return }
        let hosts = cluster.snapshot.hosts
        pick.load = PriorityLoad(
            hosts.availability, without: Set(tried), panicThreshold: hosts.config.panicThreshold)
        if pick.load == nil { routing.retries.triedPriorities = [] }
    }

    func notePriority(of host: Host, _ cluster: ClusterState) {
        guard routing.retries.policy?.options.priorityUpdates ?? 0 > 0 else { return }
        let hosts = cluster.snapshot.hosts
        guard let index = hosts.index(of: host.id) else { return }
        routing.retries.triedPriorities.append(hosts.places[Int(hosts[index].place)].priority)
    }

    /// Uniform in [0, (2^n − 1) · base), at most the maximum interval: full jitter.
    private var backoff: UInt64 {
        let options = (routing.retries.policy ?? .none).options
        let factor = UInt64(1) << UInt64(min(attempts, 16)) &- 1
        let bound = min(options.baseInterval.multipliedClamped(by: factor), options.maximumInterval)
        return bound > 0 ? worker.random.next(upperBound: bound) : 0
    }

    private static let retryOn = HeaderKey("x-envoy-retry-on")
    private static let retryGRPCOn = HeaderKey("x-envoy-retry-grpc-on")
    private static let maximumRetries = HeaderKey("x-envoy-max-retries")
    private static let retriableCodes = HeaderKey("x-envoy-retriable-status-codes")
    private static let retriableNames = HeaderKey("x-envoy-retriable-header-names")
    private static let hedge = HeaderKey("x-envoy-hedge-on-per-try-timeout")
    private static let perTryTimeout = HeaderKey("x-envoy-upstream-rq-per-try-timeout-ms")
}
