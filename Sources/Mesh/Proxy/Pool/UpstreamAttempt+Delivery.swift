import HTTP

/// What a codec hears for an attempt, passed on to its stream.
extension UpstreamAttempt {
    var isConnect: Bool { stream.isConnect }
    var isUpgrade: Bool { stream.flags.contains(.isUpgrade) }

    func inform(_ head: MessageHead, _ length: Int, _ spelling: HeaderSpelling? = nil) {
        stream.response.load(head, length: length)
        if let spelling { stream.response.spelling = spelling }
        stream.attemptInformed(self)
    }

    func deliverHead(_ head: MessageHead, _ length: Int, end: Bool, _ spelling: HeaderSpelling? = nil) {
        stream.response.load(head, length: length)
        if let spelling { stream.response.spelling = spelling }
        if head.version == .http2, head.status == 200, isUpgrade, !isConnect, let kind = stream.request.value(.upgrade)
        {
            stream.response.becomeSwitchingProtocols(kind)
        }
        stream.attemptHead(self, end: end)
    }

    /// An answer of the proxy's own making: the tunnel stands.
    func deliverConsent() {
        stream.response.clear()
        stream.response.status = 200
        stream.attemptHead(self, end: false)
    }

    func deliver(_ bytes: UnsafeRawBufferPointer, end: Bool) { stream.attemptData(self, bytes, end: end) }

    func deliverTrailers(_ head: MessageHead, _ length: Int) {
        guard head.fieldCount > 0 else { return deliver(UnsafeRawBufferPointer(start: nil, count: 0), end: true) }
        let block = stream.trailerBlock()
        block.load(head, length: length)
        stream.attemptTrailers(self, block)
    }

    func deliverTrailers(_ headers: HTTPHeaders) {
        let block = stream.trailerBlock()
        block.load(headers)
        stream.attemptTrailers(self, block)
    }

    func drained() { stream.upstreamDrained() }
}
