import HTTP
import Reactor
import TLS

/// Lets one body of a stream go on as its filter's tokens allow. What is above waits here; the peer is read no further
/// meanwhile.
final class BandwidthPacer {
    private unowned let stream: HTTPStream
    private let slot: Int
    let filter: BandwidthLimitFilter
    private let isRequest: Bool
    private var waiting = GrowingBytes()
    private var isEnded = false
    private var hasTrailers = false
    private var timer: TimerHandle?
    private var began: UInt64 = 0
    /// Nanoseconds from the body's first byte to its last, once it is through.
    private(set) var delay: UInt64 = 0
    /// Of the stream's request, for the trailers of its response.
    var requestDelay: UInt64 = 0

    init(_ stream: HTTPStream, _ slot: Int, _ filter: BandwidthLimitFilter, isRequest: Bool) {
        self.stream = stream
        self.slot = slot
        self.filter = filter
        self.isRequest = isRequest
    }

    deinit { waiting.deallocate() }

    private var stats: BandwidthLimitFilter.Counters { isRequest ? filter.requestStats : filter.responseStats }
    private var bucket: TokenBucket { isRequest ? filter.requests : filter.responses }

    /// Takes the piece; it goes on from the timer.
    func pass(_ piece: inout BodyPiece) {
        if began == 0 { began = stream.worker.now }
        waiting.append(piece.bytes)
        stream.worker.count(stats.incoming, UInt64(piece.bytes.count))
        isEnded = piece.end
        piece = BodyPiece(UnsafeRawBufferPointer(start: nil, count: 0), end: false)
        if waiting.count > filter.settings.share { pause() }
        schedule(.zero)
    }

    /// False when they wait for the body.
    func passTrailers(_ trailers: HeaderBlock) -> Bool {
        guard timer != nil else {
            addTrailers(trailers)
            return true
        }
        hasTrailers = true
        return false
    }

    /// Lets go of all that waits, within an event of its stream.
    func release() {
        stop()
        guard !waiting.isEmpty else { return }
        var rest = waiting
        waiting = GrowingBytes()
        stream.sendRequest(BodyPiece(rest.bytes, end: false), after: slot)
        rest.deallocate()
    }

    func stop() {
        if let timer { stream.worker.loop.cancel(timer) }
        timer = nil
    }

    private func schedule(_ delay: Duration) {
        guard timer == nil else { return }
        timer = stream.worker.loop.schedule(after: delay) { [weak self] in self?.due() }
    }

    private func due() {
        timer = nil
        let (stream, worker) = (stream, stream.worker)
        guard !stream.isOver else { return }
        let wanted = min(filter.settings.share, waiting.count)
        let count = Int(clamping: min(UInt64(wanted), bucket.tokens(now: worker.now)))
        if count > 0 { _ = bucket.take(UInt64(count), now: worker.now) }
        if count < waiting.count { worker.count(stats.enforced) }
        if count > 0 || waiting.isEmpty { send(count) }
        if !stream.isOver, !waiting.isEmpty {
            schedule(.nanoseconds(Int64(clamping: filter.settings.interval)))
        }
        worker.flush()
    }

    private func send(_ count: Int) {
        stream.worker.count(stats.allowed, UInt64(count))
        let isLast = count == waiting.count
        if isLast { delay = stream.worker.now &- began }
        let tellsDelays = !isRequest && isLast && isEnded && filter.settings.addsTrailers
        let piece = BodyPiece(
            UnsafeRawBufferPointer(rebasing: waiting.bytes[..<count]),
            end: isLast && isEnded && !hasTrailers && !tellsDelays)
        if isRequest { stream.sendRequest(piece, after: slot) } else { stream.sendResponse(piece, after: slot) }
        guard !stream.isOver else { return }
        waiting.removeFirst(count)
        guard isLast, hasTrailers || tellsDelays else {
            if waiting.count <= filter.settings.share { resume() }
            return
        }
        let trailers = stream.trailerBlock()
        if !hasTrailers { trailers.clear() }
        addTrailers(trailers)
        stream.sendResponseTrailers(trailers, after: slot)
    }

    private func addTrailers(_ trailers: HeaderBlock) {
        guard filter.settings.addsTrailers else { return }
        filter.settings.trailers.add(to: trailers, request: requestDelay, response: delay)
    }

    private func pause() { if isRequest { stream.pauseDownstream() } else { stream.pauseUpstream() } }
    private func resume() { if isRequest { stream.upstreamDrained() } else { stream.downstreamDrained() } }
}

/// Trailers that say how long bodies took, in milliseconds, and how much of that was the limit's doing.
struct BandwidthTrailers: Sendable {
    private let request, response, requestFilter, responseFilter: HeaderKey

    init(prefix: String) {
        let prefix = prefix.isEmpty ? "" : prefix + "-"
        request = HeaderKey(prefix + "bandwidth-request-delay-ms")
        response = HeaderKey(prefix + "bandwidth-response-delay-ms")
        requestFilter = HeaderKey(prefix + "bandwidth-request-filter-delay-ms")
        responseFilter = HeaderKey(prefix + "bandwidth-response-filter-delay-ms")
    }

    /// - Parameters: nanoseconds; what did not last is not said.
    func add(to trailers: HeaderBlock, request: UInt64, response: UInt64) {
        for (key, time) in [
            (self.request, request), (requestFilter, request), (self.response, response), (responseFilter, response),
        ] where time >= 1_000_000 {
            trailers.set(key, decimal: Int(clamping: time / 1_000_000))
        }
    }
}
