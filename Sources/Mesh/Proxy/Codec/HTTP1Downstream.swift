import HTTP
import TLS

/// HTTP/1 of a client: one stream at a time, requests sent ahead wait.
final class HTTP1Downstream: DownstreamCodec {
    private enum Phase {
        case head, body, trailers
        /// The request is complete; the answer is not.
        case answer
        /// Raw bytes both ways after an upgrade.
        case tunnel
        /// The last word was said; what still comes is dropped so that the kernel does not reset what we said.
        case lingering
    }

    /// What is dropped after our last word, at most, and for how long at most.
    static let lingerBytes = 4 << 20

    private var phase = Phase.head
    private var parser: HTTP1Parser
    private var decoder = BodyDecoder(.none)
    private var writer = HTTP1Writer()
    private var stream: HTTPStream?
    /// Bytes received and not used yet: a head in pieces, or requests sent ahead.
    private var pending = GrowingBytes()
    private var isHTTP10 = false
    private var keepsAlive = true
    /// The client has said that this request is its last.
    private var isLastRequest = false
    private var answersHead = false
    private var isProcessing = false
    private var isPaused = false
    private var isDraining = false
    private var peerEnded = false
    private var headHasBegun = false
    private var lingered = 0
    private var requests: UInt32 = 0

    override init(_ connection: ProxyConnection, _ manager: ConnectionManager) {
        parser = HTTP1Parser(.request, limits: manager.http1Limits)
        parser.leniency = manager.http1Leniency
        writer.isProperCase = manager.options.http1.headerForm == .properCase
        super.init(connection, manager)
        connection.countOpened(.http11)
        connection.setTimer(manager.idleTimeout)
    }

    deinit {
        pending.deallocate()
        writer.deallocate()
    }

    override var version: HTTPVersion { isHTTP10 ? .http10 : .http11 }

    // MARK: Input

    override func received(_ bytes: UnsafeRawBufferPointer) {
        if pending.isEmpty {
            let used = process(bytes)
            if used < bytes.count { pending.append(UnsafeRawBufferPointer(rebasing: bytes[used...])) }
        } else {
            pending.append(bytes)
            processPending()
        }
        limitPending()
    }

    private func processPending() {
        guard !pending.isEmpty, !connection.isClosed else { return }
        let used = process(pending.bytes)
        if used > 0, !pending.isEmpty { pending.removeFirst(min(used, pending.count)) }
    }

    /// A client that sends ahead is read no further once a head's worth waits.
    private func limitPending() {
        if pending.count > manager.http1Limits.headerBytes || isPaused {
            connection.pauseReading()
        } else {
            connection.resumeReading()
        }
    }

    private func process(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard !isProcessing else { return 0 }
        isProcessing = true
        defer { isProcessing = false }
        var at = 0
        while !connection.isClosed {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[at...])
            do throws(HTTP1Violation) {
                switch phase {
                case .head:
                    guard !rest.isEmpty else { return at }
                    let head = worker.head(capacity: manager.maximumHeaders)
                    guard let length = try parser.parse(rest, into: head) else {
                        beginHead()
                        return at
                    }
                    at &+= length
                    beginRequest(head, length)
                case .body:
                    guard !isPaused else { return at }
                    var used = 0
                    let event = try decoder.next(rest, consumed: &used)
                    at &+= used
                    switch event {
                    case .data(let range):
                        let isLast = decoder.isComplete
                        stream?.requestData(UnsafeRawBufferPointer(rebasing: rest[range]), end: isLast)
                        if isLast { requestEnded() }
                    case .end(let trailers):
                        if trailers {
                            phase = .trailers
                        } else {
                            stream?.requestData(UnsafeRawBufferPointer(start: nil, count: 0), end: true)
                            requestEnded()
                        }
                    case .needsMore: return at
                    }
                case .trailers:
                    let head = worker.head(capacity: manager.maximumHeaders)
                    guard let length = try parser.parseTrailers(rest, into: head) else { return at }
                    at &+= length
                    if head.fieldCount > 0, manager.options.http1.enablesTrailers {
                        stream?.requestTrailers(head, length: length)
                    } else {
                        stream?.requestData(UnsafeRawBufferPointer(start: nil, count: 0), end: true)
                    }
                    requestEnded()
                case .answer: return at
                case .tunnel:
                    guard !isPaused else { return at }
                    if !rest.isEmpty { stream?.requestData(rest, end: false) }
                    return bytes.count
                case .lingering:
                    lingered += rest.count
                    if lingered > Self.lingerBytes { connection.abort() }
                    return bytes.count
                }
            } catch {
                refuse(error)
                return bytes.count
            }
        }
        return bytes.count
    }

    /// The first bytes of a head start its clock; later ones do not set it back.
    private func beginHead() {
        guard !headHasBegun else { return }
        headHasBegun = true
        connection.setTimer(manager.requestHeadersTimeout)
    }

    private func beginRequest(_ head: MessageHead, _ length: Int) {
        headHasBegun = false
        requests &+= 1
        let isTooOld = head.version == .http10 && !manager.options.http1.acceptsHTTP10
        isHTTP10 = head.version == .http10 && !isTooOld
        isLastRequest = !head.keepsAlive
        keepsAlive = head.keepsAlive && !isDraining
        answersHead = head.method == .head
        connection.clearTimer()
        let stream = worker.takeStream(self)
        self.stream = stream
        let hasBody = head.framing != .none
        var isUpgrade = head.wantsUpgrade && !offersHTTP2(head) || head.method == .connect
        if head.method == .connect { keepsAlive = false }
        phase = hasBody ? .body : .answer
        decoder = BodyDecoder(head.framing)
        stream.request.load(head, length: length)
        if let options = manager.options.http1.headerForm.spelling {
            stream.request.spelling = HeaderSpelling(head, options)
        }
        if head.expectsContinue, !manager.proxies100Continue {
            stream.request.remove(.expect)
            queue { $0.append("HTTP/1.1 100 Continue\r\n\r\n") }
        }
        if isUpgrade, head.method != .connect, !manager.options.http1.ignoredUpgrades.isEmpty {
            isUpgrade = dropIgnoredUpgrades(stream.request)
        }
        if isTooOld { return refuse(426, "low_version") }
        if head.authoritySlice.count == 0, head.value(.host) == nil { addHost(stream) }
        if head.method == .other, !KnownMethods.contains(head.methodText) { return refuse(400, "http1.codec_error") }
        stream.requestHead(end: !hasBody && !isUpgrade, isUpgrade: isUpgrade)
    }

    private func addHost(_ stream: HTTPStream) {
        guard isHTTP10, !manager.options.http1.defaultHost.isEmpty else {
            stream.flags.insert(.lacksHost)
            return
        }
        var host = manager.options.http1.defaultHost
        host.withUTF8 { stream.request.setAuthority(UnsafeRawBufferPointer($0)) }
    }

    /// Takes protocols out of `Upgrade` that this proxy is to be silent about; false when none is left.
    private func dropIgnoredUpgrades(_ request: HeaderBlock) -> Bool {
        let ignored = manager.options.http1.ignoredUpgrades
        var kept: [UInt8] = []
        for value in (request.value(.upgrade) ?? UnsafeRawBufferPointer(start: nil, count: 0))
            .split(separator: UInt8(ascii: ","))
        {
            let name = value.trimmed
            guard !ignored.contains(where: { $0.matches(name) }) else { continue }
            if !kept.isEmpty { kept += ",".utf8 }
            kept += name
        }
        guard !kept.isEmpty else {
            request.remove(.upgrade)
            return false
        }
        kept.withUnsafeBytes { request.set(.upgrade, $0) }
        return true
    }

    /// An offer to go on in HTTP/2 (RFC 7540 §3.2) is passed over, as RFC 9113 wants it.
    private func offersHTTP2(_ head: MessageHead) -> Bool {
        head.value(.upgrade).map { equalsIgnoringCase($0, "h2c") } ?? false
    }

    private func requestEnded() {
        guard phase == .body || phase == .trailers else { return }
        phase = .answer
        if stream == nil { answerEnded() }
    }

    /// Answers a message that cannot be taken as it is; nothing of it is looked at.
    private func refuse(_ status: Int, _ details: StaticString) {
        keepsAlive = false
        phase = .answer
        stream?.request.clear()
        stream?.refuse(status, details, flag: .downstreamProtocolError)
    }

    /// Answers a broken message and says no more.
    private func refuse(_ violation: HTTP1Violation) {
        keepsAlive = false
        let stream = self.stream ?? worker.takeStream(self)
        self.stream = stream
        var violation = violation
        if phase == .head {
            stream.request.clear()
            // Whoever speaks another protocol is not told of HTTP's versions.
            if violation.kind == .version, !hasKnownMethod { violation.kind = .malformed }
        }
        phase = .answer
        stream.protocolError(violation)
    }

    /// Of the head that was parsed last, as far as it was; while its bytes are there.
    private var hasKnownMethod: Bool {
        let head = worker.head(capacity: manager.maximumHeaders)
        return head.method != .other || KnownMethods.contains(head.methodText)
    }

    override func ended() {
        peerEnded = true
        switch phase {
        case .head, .lingering: connection.closeAfterWrite()
        // A client that closes its side has gone, as Envoy sees it: nobody works for one that waits for nothing.
        case .body, .trailers, .answer: connection.abort()
        // HTTP knows no half of a connection, and neither do those who upgraded one.
        case .tunnel: connection.closeAfterWrite()
        }
    }

    override var hasRequests: Bool { stream != nil }

    override func closed(_ error: (any Error)?) {
        connection.countClosed(.http11)
        guard let stream else { return }
        self.stream = nil
        stream.downstreamGone()
    }

    override func drained() { stream?.downstreamDrained() }

    override func announceDrain() {
        isDraining = true
    }

    override func drain() {
        isDraining = true
        worker.stats(manager).pointee.drainCloses &+= 1
        keepsAlive = false
        // A request that waits to be read is answered yet.
        guard phase == .head, pending.isEmpty, connection.socket?.hasUnreadInput != true else { return }
        connection.closeAfterWrite()
    }

    // MARK: Output

    private func queue(_ body: (inout HTTP1Writer) -> Void) {
        writer.prepare(worker)
        body(&writer)
        worker.flushLater(self)
    }

    private func sendBody(_ bytes: UnsafeRawBufferPointer) {
        guard !writer.body(bytes) else { return }
        connection.send(writer.take(), bytes)
        writer.prepare(worker)
        writer.endPiece()
    }

    override func flush() {
        if !writer.isEmpty { connection.send(writer.take()) }
    }

    override func sendHead(_ stream: HTTPStream, _ head: HeaderBlock, end: Bool) {
        guard stream === self.stream else { return }
        writer.prepare(worker)
        let status = head.status
        writer.append(isHTTP10 ? "HTTP/1.0 " : "HTTP/1.1 ")
        writer.append(decimal: status)
        writer.append(" ")
        if let reason = head.spelling?.reason, !reason.isEmpty {
            reason.withUnsafeBytes { writer.append($0) }
        } else {
            writer.append(Self.reason(status))
        }
        writer.append("\r\n")
        writer.beginHead(head)
        worker.flushLater(self)
        if status < 200, status != 101 {
            writer.fields(head)
            return writer.endHead()
        }
        settlePersistence(head)
        let isTunnel = status == 101 || stream.isConnect && status < 300
        writer.fields(head, keepsConnection: status == 101)
        let isBodiless = status == 204 || status == 304 || answersHead
        if isTunnel {
            writer.framing = .unsaid
        } else if head.has(.contentLength) {
            writer.framing = isBodiless ? .none : .length
        } else if isBodiless {
            // Of how the body of a GET would be framed, HEAD tells what it can.
            if answersHead, status != 204, status != 304, !isHTTP10 { writer.line("transfer-encoding", "chunked") }
            writer.framing = .none
        } else if end {
            writer.line("content-length", "0")
            writer.framing = .none
        } else if isHTTP10 {
            writer.framing = .unsaid
            keepsAlive = false
        } else {
            writer.line("transfer-encoding", "chunked")
            writer.framing = .chunked
        }
        if !isTunnel {
            if !keepsAlive {
                writer.line("connection", "close")
            } else if isHTTP10 {
                writer.line("connection", "keep-alive")
            }
        }
        writer.endHead()
        if end { responseEnded() }
    }

    override func sendData(_ stream: HTTPStream, _ bytes: UnsafeRawBufferPointer, end: Bool) {
        guard stream === self.stream else { return }
        if !bytes.isEmpty, writer.framing != .none {
            writer.prepare(worker)
            sendBody(bytes)
            worker.flushLater(self)
        }
        guard end else { return }
        queue { $0.end(nil) }
        responseEnded()
    }

    override func sendTrailers(_ stream: HTTPStream, _ trailers: HeaderBlock) {
        guard stream === self.stream else { return }
        queue { $0.end(manager.options.http1.enablesTrailers ? trailers : nil) }
        responseEnded()
    }

    override func reset(_ stream: HTTPStream, _ reason: StreamReset) {
        guard stream === self.stream else { return }
        self.stream = nil
        flush()
        // Only a cut connection tells an HTTP/1 client that its answer is not whole.
        if stream.hasSentHead { connection.abort() } else { linger() }
    }

    override func pauseRequest(_ stream: HTTPStream) {
        isPaused = true
        connection.pauseReading()
    }

    override func resumeRequest(_ stream: HTTPStream) {
        guard isPaused else { return }
        isPaused = false
        if !isProcessing { processPending() }
        limitPending()
    }

    override func becomeTunnel(_ stream: HTTPStream) {
        phase = .tunnel
        connection.clearTimer()
    }

    /// Envoy's phrases where they are older than RFC 9110's, and where there is no customary one.
    private static func reason(_ status: Int) -> StaticString {
        switch status {
        case 413: return "Payload Too Large"
        case 422: return "Unprocessable Entity"
        case 599: return "Last Unassigned Server Error Code"
        default:
            let reason = HTTP1Encoder.reason(status)
            return reason.utf8CodeUnitCount > 0 ? reason : "Unknown"
        }
    }

    private func settlePersistence(_ head: HeaderBlock) {
        if isDraining || peerEnded || connection.listener?.isDraining == true { keepsAlive = false }
        if phase == .body || phase == .trailers { keepsAlive = false }
        // Of an upgrade that came to nothing, nobody knows whether the client goes on in HTTP/1.
        if let stream, !stream.flags.isDisjoint(with: [.endsConnection, .isUpgrade]) { keepsAlive = false }
        if manager.maximumRequestsPerConnection > 0, requests >= manager.maximumRequestsPerConnection {
            if keepsAlive { worker.stats(manager).pointee.requestLimitsReached &+= 1 }
            keepsAlive = false
        }
        if keepsAlive, worker.happens(worker.overload.endedConnections) {
            worker.stats(manager).pointee.overloadEnds &+= 1
            keepsAlive = false
        }
        if let connection = head.value(.connection), equalsIgnoringCase(connection, "close") { keepsAlive = false }
    }

    private func responseEnded() {
        guard phase == .tunnel else { return }
        flush()
        connection.shutdownWrite()
    }

    override func finished(_ stream: HTTPStream) {
        guard stream === self.stream else { return }
        self.stream = nil
        answerEnded()
    }

    /// The answer is complete; goes on to the next request if the present one is complete too.
    private func answerEnded() {
        switch phase {
        case .body, .trailers, .tunnel: return linger()
        case .lingering: return
        case .head, .answer: break
        }
        guard keepsAlive else { return isLastRequest && pending.isEmpty && !isProcessing ? endAtOnce() : linger() }
        phase = .head
        connection.setTimer(manager.idleTimeout)
        guard !isProcessing, !pending.isEmpty else { return }
        processPending()
        limitPending()
    }

    /// Of a client that has said all it wants to say nothing is awaited: nginx and Envoy close without delay then, too.
    private func endAtOnce() {
        flush()
        phase = .lingering
        connection.closeAfterWrite()
    }

    /// Says no more and reads on for a while: closing with unread input would reset the connection and could take our last
    /// answer from the client's hands.
    private func linger() {
        flush()
        phase = .lingering
        if peerEnded { return connection.closeAfterWrite() }
        connection.shutdownWrite()
        isPaused = false
        connection.resumeReading()
        connection.setTimer(manager.delayedCloseTimeout)
    }

    // MARK: Time

    override func timerIsDue() {
        switch phase {
        case .head:
            guard headHasBegun else {
                worker.stats(manager).pointee.idleTimeouts &+= 1
                return connection.closeAfterWrite()
            }
            keepsAlive = false
            worker.stats(manager).pointee.headerTimeouts &+= 1
            let stream = worker.takeStream(self)
            self.stream = stream
            phase = .answer
            stream.requestIsWhole()
            stream.reply(408, "request header timeout", details: "request_header_timeout")
            worker.flush()
        case .lingering:
            worker.stats(manager).pointee.lingerTimeouts &+= 1
            connection.abort()
        default: break
        }
    }
}
