import Reactor
import TLS

/// Lets a response's body go on at a rate, in twenty pieces a second. What is above the rate waits here; the upstream is read
/// no further meanwhile.
final class ResponsePacer {
    private static let interval = Duration.milliseconds(50)
    private static let intervalsPerSecond = 20

    private unowned let stream: HTTPStream
    private let slot: Int
    /// Bytes of one interval.
    private let share: Int
    /// When the next share may go, nanoseconds of the monotonic clock.
    private var next: UInt64 = 0
    private var waiting = GrowingBytes()
    private var isEnded = false
    private var hasTrailers = false
    private var timer: TimerHandle?

    init(_ stream: HTTPStream, _ slot: Int, kibibytesPerSecond rate: UInt64) {
        self.stream = stream
        self.slot = slot
        share = max(1, Int(clamping: rate.multipliedReportingOverflow(by: 1024).partialValue) / Self.intervalsPerSecond)
    }

    deinit { waiting.deallocate() }

    /// Takes the piece; it goes on from the timer.
    func pass(_ piece: inout BodyPiece) {
        waiting.append(piece.bytes)
        isEnded = piece.end
        piece = BodyPiece(UnsafeRawBufferPointer(start: nil, count: 0), end: false)
        if waiting.count > share { stream.pauseUpstream() }
        schedule()
    }

    /// False when they wait for the body.
    func passTrailers() -> Bool {
        guard !waiting.isEmpty else { return true }
        hasTrailers = true
        return false
    }

    func stop() {
        if let timer { stream.worker.loop.cancel(timer) }
        timer = nil
    }

    private func schedule() {
        guard timer == nil else { return }
        let now = stream.worker.now
        let delay = Duration.nanoseconds(Int64(next > now ? next - now : 0))
        timer = stream.worker.loop.schedule(after: delay) { [weak self] in self?.due() }
    }

    private func due() {
        timer = nil
        let (stream, worker) = (stream, stream.worker)
        guard !stream.isOver else { return }
        next = worker.now &+ UInt64(Self.interval.components.attoseconds / 1_000_000_000)
        let count = min(share, waiting.count)
        let isLast = count == waiting.count
        let bytes = UnsafeRawBufferPointer(rebasing: waiting.bytes[..<count])
        stream.sendResponse(BodyPiece(bytes, end: isLast && isEnded && !hasTrailers), after: slot)
        if !stream.isOver {
            waiting.removeFirst(count)
            if isLast, hasTrailers, let trailers = stream.trailers {
                stream.sendResponseTrailers(trailers, after: slot)
            } else {
                if waiting.count <= share { stream.downstreamDrained() }
                if !waiting.isEmpty { schedule() }
            }
        }
        worker.flush()
    }
}
