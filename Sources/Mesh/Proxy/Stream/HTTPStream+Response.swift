import HTTP
import TLS

/// From the upstream, or the proxy itself, to the client.
extension HTTPStream {
    /// `response` holds the final head.
    func responseHead(end: Bool) {
        responseBeganAt = worker.now
        touch()
        let isUpgraded = response.status == 101 || isConnect && response.status < 300 && !flags.contains(.isLocalReply)
        RequestHygiene.removeHopByHop(response, keepsUpgrade: response.status == 101)
        if isUpgraded {
            flags.insert(.isTunnel)
            worker.stats(manager).pointee.upgrades &+= 1
            worker.stats(manager).pointee.activeUpgrades &+= 1
            routeDeadline = LazyTimer.never
            arm()
        }
        if !flags.contains(.isLocalReply), !manager.options.suppressesEnvoyHeaders, requestEndedAt > 0 {
            let took = Int((worker.now &- requestEndedAt) / 1_000_000)
            response.set(.xEnvoyUpstreamServiceTime, decimal: took)
        }
        if end { flags.insert(.responseEnded) }
        if flags.contains(.isRouted), !flags.contains(.isLocalReply) { mutateResponse() }
        runResponseFilters(end: end)
    }

    /// What the route does to each response that the router hands on, its own among them.
    private func mutateResponse() {
        guard let route else { return }
        if route.host.countsAttemptsInResponse, attempts > 0 {
            response.set(Self.attemptCount, decimal: attempts)
        }
        if let weighted = routing.weighted { weighted.responseHeaders.apply(to: response, self) }
        for mutations in route.responseHeaders { mutations.apply(to: response, self) }
        for cookie in routing.cookies {
            var cookie = cookie
            cookie.withUTF8 { response.add(.setCookie, UnsafeRawBufferPointer($0)) }
        }
    }

    /// What a filter answers in place of a response goes to the client as it is.
    func skipResponseFilters() { responseStep = owner?.responseFilters.count ?? 0 }

    private func runResponseFilters(end: Bool) {
        guard let owner else { return }
        while responseStep < owner.responseFilters.count {
            let slot = owner.responseFilters[responseStep]
            responseStep &+= 1
            // A filter that the request never reached has no say.
            guard slot < requestSlot, !skips(slot) else { continue }
            responseSlot = slot
            switch owner.filters[slot].filter.responseHead(self, slot, end: end) {
            case .proceed: continue
            case .pause:
                flags.insert(.responsePaused)
                return
            case .replied: return
            }
        }
        responseSlot = -1
        sendHead(end: end)
    }

    /// A filter that paused the response lets it go on; on the loop.
    package func resumeResponse() {
        guard flags.contains(.responsePaused), !flags.contains(.isOver) else { return }
        flags.remove(.responsePaused)
        let (last, isWhole) = (responseSlot, flags.contains(.responseEnded))
        runResponseFilters(end: isWhole && responseBody.isEmpty)
        if !responseBody.isEmpty, !flags.contains(.isOver) {
            var waiting = responseBody
            responseBody = GrowingBytes()
            passResponse(BodyPiece(waiting.bytes, end: isWhole), below: last)
            waiting.deallocate()
        }
        if !flags.contains(.responsePaused) { downstreamDrained() }
        worker.flush()
    }

    private func sendHead(end: Bool) {
        ResponseHygiene.apply(to: self)
        trace?.decorate(response)
        flags.insert(.headSent)
        guard let codec = downstream else { return }
        if flags.contains(.isTunnel) { codec.becomeTunnel(self) }
        codec.sendHead(self, response, end: end)
        if end { responseIsWhole() }
    }

    func responseData(_ bytes: UnsafeRawBufferPointer, end: Bool) {
        guard !flags.contains(.isOver) else { return }
        if end { flags.insert(.responseEnded) }
        touch()
        passResponse(BodyPiece(bytes, end: end), below: .max)
    }

    /// For filters: sends a piece on, past the filter in `slot` and those that see responses before it.
    package func sendResponse(_ piece: BodyPiece, after slot: Int) { passResponse(piece, below: slot) }

    private func passResponse(_ piece: BodyPiece, below bound: Int) {
        var piece = piece
        if let owner, !owner.responseDataFilters.isEmpty, !flags.contains(.isTunnel) {
            for slot in owner.responseDataFilters where slot < bound && slot < requestSlot && !skips(slot) {
                // Those that have not seen the head yet see the data when the response is resumed.
                if slot < responseSlot { break }
                guard owner.filters[slot].filter.responseData(self, slot, &piece) else { return }
            }
        }
        guard !flags.contains(.isOver) else { return }
        guard !flags.contains(.responsePaused) else { return holdResponse(piece.bytes) }
        responseBytes &+= UInt64(piece.bytes.count)
        guard let codec = downstream else { return }
        codec.sendData(self, piece.bytes, end: piece.end)
        if piece.end { return responseIsWhole() }
        if !codec.isWritable(self) { pauseUpstream() }
    }

    func pauseUpstream() {
        guard let attempt, !flags.contains(.upstreamPaused) else { return }
        flags.insert(.upstreamPaused)
        cluster?.stats.readingPaused &+= 1
        attempt.codec?.pauseResponse(attempt)
    }

    private func holdResponse(_ data: UnsafeRawBufferPointer) {
        guard responseBody.count + data.count <= manager.options.bufferLimit else {
            dropAttempt()
            worker.stats(manager).pointee.responsesTooLarge &+= 1
            guard !hasSentHead else { return cut(.localReset) }
            flags.remove(.responsePaused)
            flags.remove(.responseEnded)
            response.clear()
            return reply(500, "Internal Server Error", details: "response_payload_too_large")
        }
        responseBody.append(data)
        if responseBody.count > manager.options.bufferLimit / 2 { pauseUpstream() }
    }

    func responseTrailers(_ block: HeaderBlock) {
        guard !flags.contains(.isOver) else { return }
        flags.insert(.responseEnded)
        guard !flags.contains(.responsePaused) else { return }
        passResponseTrailers(block, below: .max)
    }

    /// For filters: sends trailers on that a filter has kept.
    package func sendResponseTrailers(_ block: HeaderBlock, after slot: Int) {
        passResponseTrailers(block, below: slot)
    }

    private func passResponseTrailers(_ block: HeaderBlock, below bound: Int) {
        guard !flags.contains(.isOver) else { return }
        if let owner {
            for slot in owner.responseTrailerFilters where slot < bound && slot < requestSlot && !skips(slot) {
                guard owner.filters[slot].filter.responseTrailers(self, slot, block) else { return }
            }
        }
        guard let codec = downstream else { return }
        codec.sendTrailers(self, block)
        responseIsWhole()
    }

    private func responseIsWhole() {
        flags.insert(.responseEnded)
        responseEndedAt = worker.now
        if !flags.contains(.requestEnded) { worker.stats(manager).pointee.earlyAnswers &+= 1 }
        if !flags.contains(.isLocalReply) { countUpstreamTime() }
        if let attempt, attempt.isDone || attempt.codec == nil { dropAttempt() }
        guard flags.contains(.requestEnded) || !flags.contains(.isTunnel) else { return }
        finish()
    }

    // MARK: The proxy's own answers

    /// Answers the client; what came of the request is dropped. Filters see the answer as they would an upstream's.
    package func reply(
        _ status: Int, _ body: StaticString = "", flag: ResponseFlags = [], details: StaticString
    ) {
        reply(status, body: body.bytes, flag: flag, details: details)
    }

    /// As above; `headers` adds fields to the answer's head.
    ///
    /// - Parameters:
    ///   - grpcStatus: what gRPC clients are told; nil for what fits the status.
    ///   - isOfRoute: the route has its say about the answer's fields, once it is the router's turn.
    package func reply(
        _ status: Int, body: UnsafeRawBufferPointer, flag: ResponseFlags = [], details: StaticString,
        grpcStatus: Int? = nil, isOfRoute: Bool = true, headers: (HeaderBlock) -> Void = { _ in }
    ) {
        guard !flags.contains(.isOver), !hasSentHead else { return }
        dropAttempt()
        responseFlags.formUnion(flag)
        self.details = details
        flags.insert(.isLocalReply)
        flags.remove(.requestPaused)
        response.clear()
        response.status = status
        headers(response)
        if flags.contains(.isRouted), isOfRoute { mutateResponse() }
        guard let rules = manager.localReplies else {
            return sendReply(body, StaticString("text/plain").bytes, grpcStatus)
        }
        rules.rewrite(self, body) { sendReply($0, $1, grpcStatus) }
    }

    /// `response` has the head of the proxy's own answer but for what the body says of itself.
    private func sendReply(
        _ body: UnsafeRawBufferPointer, _ contentType: UnsafeRawBufferPointer, _ grpcStatus: Int?
    ) {
        if isGRPC {
            GRPCStatus.reply(response.status, body, on: response, code: grpcStatus)
            return responseHead(end: true)
        }
        if !body.isEmpty {
            response.set(.contentLength, decimal: body.count)
            if !response.has(.contentType) { response.set(.contentType, contentType) }
        }
        let hasBody = !body.isEmpty && request.method != .head
        responseHead(end: !hasBody)
        // A filter may have answered in its place.
        if hasBody, !flags.contains(.responseEnded) { responseData(body, end: true) }
    }

    /// The message cannot be understood, so that no filter has seen or will see it.
    func refuse(_ status: Int, _ details: StaticString, flag: ResponseFlags = []) {
        requestIsWhole()
        reply(status, HTTP1Encoder.reason(status), flag: flag, details: details)
    }

    /// The client broke HTTP.
    func protocolError(_ violation: HTTP1Violation) {
        worker.stats(manager).pointee.protocolErrors &+= 1
        responseFlags.insert(.downstreamProtocolError)
        guard !hasSentHead else { return cut(.protocolError) }
        let answer = ProtocolErrorAnswer(violation)
        refuse(answer.status, answer.details, flag: .downstreamProtocolError)
    }
}
