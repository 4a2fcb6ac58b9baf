import HTTP
import TLS

/// From the client to the router.
extension HTTPStream {
    /// `request` holds the head.
    func requestHead(end: Bool, isUpgrade: Bool = false) {
        if isUpgrade { flags.insert(.isUpgrade) }
        if end { requestIsWhole() }
        if worker.happens(worker.overload.refusedRequests) {
            worker.stats(manager).pointee.overloadRefusals &+= 1
            requestIsWhole()
            return reply(503, "envoy overloaded", details: "overload")
        }
        guard RequestHygiene.apply(to: self) else { return }
        findRoute()
        manager.tracing?.begin(self)
        // Where there is no route, that is what the client hears.
        if isUpgrade, route != nil, !isUpgradeAllowed {
            requestIsWhole()
            worker.stats(manager).pointee.upgradesRefused &+= 1
            return reply(403, details: "upgrade_failed")
        }
        findSkippedFilters()
        runRequestFilters()
    }

    /// Looks the route up, again when a filter has changed what it depends on.
    package func findRoute() {
        route = worker.routes(manager.routes)?.find(self)
        routing.weighted = nil
        if case .forward(let action)? = route?.action, case .weighted(let clusters) = action.choice {
            routing.weighted = clusters.choose(self, action.options.hashPolicies)
        }
    }

    /// What the route says of the kind of upgrade stands above what the connection manager says.
    private var isUpgradeAllowed: Bool {
        guard let kind = request.value(.upgrade) ?? (isConnect ? request.methodText : nil) else { return false }
        let own = forwardAction.flatMap { ConnectionManager.Upgrade.find(kind, in: $0.options.upgrades) }
        return (own ?? ConnectionManager.Upgrade.find(kind, in: manager.options.upgrades))?.isEnabled ?? false
    }

    func requestIsWhole() {
        flags.insert(.requestEnded)
        requestEndedAt = worker.now
        // What bounded the request so far; its route bounds the rest.
        routeDeadline = LazyTimer.never
    }

    /// Shows the head to the filters that have not seen it yet, then to the router.
    func runRequestFilters() {
        guard let owner, !flags.contains(.runsRequest) else { return }
        flags.insert(.runsRequest)
        defer { flags.remove(.runsRequest) }
        while requestSlot < owner.filters.count {
            let slot = requestSlot
            requestSlot &+= 1
            let installed = owner.filters[slot]
            guard installed.phases.contains(.requestHead), !skips(slot) else { continue }
            switch installed.filter.requestHead(self, slot, end: flags.contains(.requestEnded)) {
            case .proceed: continue
            case .pause:
                flags.insert(.requestPaused)
                return
            case .replied: return
            }
        }
        flags.insert(.isRouted)
        startRouting()
    }

    /// A filter that paused the request lets it go on; on the loop.
    package func resumeRequest() {
        guard flags.contains(.requestPaused), !flags.contains(.isOver) else { return }
        flags.remove(.requestPaused)
        let first = requestSlot
        runRequestFilters()
        if !flags.contains(.isOver), !flags.contains(.isLocalReply) { releaseRequest(from: first) }
        worker.flush()
    }

    /// As `resumeRequest`, for a filter that is shown data or trailers: these follow the head by themselves.
    func resumeAfterData() {
        guard flags.contains(.requestPaused), !flags.contains(.isOver) else { return }
        flags.insert(.resumesAfterData)
    }

    /// Body that waited for a filter passes those that have seen the head meanwhile, and goes on if it may.
    private func releaseRequest(from slot: Int) {
        guard !requestBody.isEmpty else { return upstreamDrained() }
        var waiting = requestBody
        requestBody = GrowingBytes()
        defer { waiting.deallocate() }
        passRequest(BodyPiece(waiting.bytes, end: flags.contains(.requestEnded)), from: slot)
        upstreamDrained()
    }

    /// A piece of the body, valid within the call. `end`: the last, perhaps empty.
    func requestData(_ bytes: UnsafeRawBufferPointer, end: Bool) {
        guard !flags.contains(.isOver), !flags.contains(.requestEnded) else { return }
        requestBytes &+= UInt64(bytes.count)
        if end { requestIsWhole() }
        touch()
        if flags.contains(.responseEnded) || flags.contains(.isLocalReply) {
            // The answer is complete: what still comes of the request is of no use.
            if end { finish() }
            return
        }
        passRequest(BodyPiece(bytes, end: end), from: 0)
    }

    /// For filters: sends a piece on, past the filter in `slot` and those before it.
    package func sendRequest(_ piece: BodyPiece, after slot: Int) { passRequest(piece, from: slot + 1) }

    func passRequest(_ piece: BodyPiece, from first: Int) {
        var piece = piece
        if let owner, !owner.requestDataFilters.isEmpty, !flags.contains(.isTunnel) {
            for slot in owner.requestDataFilters where slot >= first && slot < requestSlot && !skips(slot) {
                guard owner.filters[slot].filter.requestData(self, slot, &piece) else { return }
            }
        }
        if flags.contains(.resumesAfterData) {
            flags.remove(.resumesAfterData)
            if !piece.bytes.isEmpty { holdRequest(piece.bytes) }
            return resumeRequest()
        }
        // A filter may have resumed the stream in between, or ended it.
        guard !flags.contains(.isOver), !flags.contains(.isLocalReply) else { return }
        guard flags.contains(.isRouted), !flags.contains(.requestPaused) else { return holdRequest(piece.bytes) }
        sendUpstream(piece.bytes, end: piece.end)
    }

    /// Keeps body until the filters let the request go on.
    private func holdRequest(_ data: UnsafeRawBufferPointer) {
        let limit = gatherLimit > 0 ? gatherLimit : manager.options.bufferLimit
        guard requestBody.count + data.count <= limit else {
            worker.stats(manager).pointee.requestsTooLarge &+= 1
            return reply(413, "Payload Too Large", details: "request_payload_too_large")
        }
        requestBody.append(data)
        if gatherLimit == 0, requestBody.count > limit / 2, !flags.contains(.requestEnded) { pauseDownstream() }
    }

    func pauseDownstream() {
        guard !flags.contains(.downstreamPaused) else { return }
        flags.insert(.downstreamPaused)
        worker.stats(manager).pointee.readingPaused &+= 1
        codec?.pauseRequest(self)
    }

    /// Nothing of the request belongs to HTTP but its head.
    var isTunnelRequest: Bool { flags.contains(.isUpgrade) || isConnect }

    /// Trailers as HTTP/1 parses them.
    func requestTrailers(_ head: MessageHead, length: Int) {
        let block = trailerBlock()
        block.load(head, length: length)
        requestTrailers(block)
    }

    func requestTrailers(_ block: HeaderBlock) {
        guard !flags.contains(.isOver), !flags.contains(.requestEnded) else { return }
        requestIsWhole()
        if let owner {
            for slot in owner.requestTrailerFilters where slot < requestSlot && !skips(slot) {
                owner.filters[slot].filter.requestTrailers(self, slot, block)
            }
        }
        guard let attempt, let codec = attempt.codec, flags.contains(.isRouted), attempt.hasSentBody else {
            return passRequest(.end, from: 0)
        }
        codec.sendTrailers(attempt, block)
    }

    func trailerBlock() -> HeaderBlock {
        if let trailers { return trailers }
        let block = HeaderBlock()
        trailers = block
        return block
    }
}
