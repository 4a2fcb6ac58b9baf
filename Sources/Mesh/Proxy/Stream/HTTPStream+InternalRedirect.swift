import HTTP
import TLS

/// Redirects that the proxy follows itself: the request begins anew as if the client had asked for the other place.
extension HTTPStream {
    /// Follows what `response` says where the route allows it. False when the answer goes to the client as it is.
    func followRedirect() -> Bool {
        guard let policy = forwardAction?.options.internalRedirect, policy.follows(response.status),
            !routing.isMirror, !hasSentHead
        else { return false }
        guard redirect(policy) else {
            cluster?.stats.redirectsNotFollowed &+= 1
            return false
        }
        cluster?.stats.redirectsFollowed &+= 1
        restart()
        return true
    }

    /// Writes the new place into the request, and finds its route. Where that cannot be all stays as it was.
    private func redirect(_ policy: InternalRedirectPolicy) -> Bool {
        let stats = worker.stats(manager)
        // All of the request must be there to be sent once more.
        guard flags.contains(.requestEnded), requestBytes == 0 || flags.contains(.keepsBody) else { return false }
        guard let target = response.value(.location).flatMap({ RedirectTarget($0) }) else {
            stats.pointee.redirectsToNowhere &+= 1
            return false
        }
        let isFromTLS = equalsIgnoringCase(request.scheme, "https")
        guard policy.allowsCrossScheme || isFromTLS == target.isHTTPS else {
            stats.pointee.redirectsAcrossSchemes &+= 1
            return false
        }
        guard routing.redirects < policy.maximum else {
            stats.pointee.redirectsTooMany &+= 1
            return false
        }
        let (oldRoute, oldWeighted) = (route, routing.weighted)
        let old = (Array(request.scheme), Array(request.authority), Array(request.path))
        request.setScheme(target.isHTTPS ? "https" : "http")
        target.authority.withUnsafeBytes { request.setAuthority($0) }
        target.path.withUnsafeBytes { request.setPath($0) }
        findRoute()
        let origin = oldRoute?.name ?? ""
        if let found = route,
            !policy.forbids(
                found, previous: routing.redirectTargets[origin] ?? [], isFromTLS: isFromTLS, isToTLS: target.isHTTPS)
        {
            routing.redirects &+= 1
            routing.redirectTargets[origin, default: []].insert(found.name)
            rewriteForRedirect(policy, old: (isFromTLS ? "https://" : "http://") + old.1.text + old.2.text)
            return true
        }
        if route == nil {
            stats.pointee.redirectsWithoutRoute &+= 1
        } else {
            stats.pointee.redirectsForbidden &+= 1
        }
        old.0.withUnsafeBytes { request.setScheme($0) }
        old.1.withUnsafeBytes { request.setAuthority($0) }
        old.2.withUnsafeBytes { request.setPath($0) }
        (route, routing.weighted) = (oldRoute, oldWeighted)
        return false
    }

    private func rewriteForRedirect(_ policy: InternalRedirectPolicy, old: String) {
        // RFC 9110 §15.4.4
        if response.status == 303, request.method != .get, request.method != .head {
            request.setMethod(.get, StaticString("GET").bytes)
            request.remove(.contentLength)
            requestBody.deallocate()
        }
        var old = old
        old.withUTF8 { request.set(Self.originalURL, UnsafeRawBufferPointer($0)) }
        for key in policy.copiedHeaders {
            request.remove(key)
            for index in 0..<response.count
            where key.matches(response.fields[index].name, response.name(response.fields[index])) {
                request.add(key, response.value(response.fields[index]))
            }
        }
    }

    /// From the filters on; what the connection manager did to the request stays done.
    private func restart() {
        details = "internal_redirect"
        for slot in manager.endFilters where slot < requestSlot { manager.filters[slot].filter.ended(self, slot) }
        worker.logAccess(self)
        dropAttempt()
        releaseRetry()
        response.clear()
        (cluster, attempts, retriesLeft, pick) = (nil, 0, 0, PickRequest())
        (responseFlags, details, detailText, upstream) = ([], "", nil, UpstreamFacts())
        (routeDeadline, durationDeadline) = (LazyTimer.never, LazyTimer.never)
        (requestSlot, responseSlot, responseStep) = (0, .max, 0)
        for slot in filterState.indices { filterState[slot] = nil }
        var fresh = RoutingState()
        fresh.identity = routing.identity
        fresh.weighted = routing.weighted
        fresh.redirects = routing.redirects
        fresh.redirectTargets = routing.redirectTargets
        routing = fresh
        flags.subtract([.isRouted, .requestPaused, .keepsBody])
        findSkippedFilters()
        var body = requestBody
        requestBody = GrowingBytes()
        defer { body.deallocate() }
        if !body.isEmpty { flags.remove(.requestEnded) }
        runRequestFilters()
        guard !body.isEmpty, !flags.contains(.isOver), !flags.contains(.isLocalReply) else { return }
        requestIsWhole()
        passRequest(BodyPiece(body.bytes, end: true), from: 0)
    }

    private static let originalURL = HeaderKey("x-envoy-original-url")
}

extension [UInt8] {
    fileprivate var text: String { String(decoding: self, as: UTF8.self) }
}
