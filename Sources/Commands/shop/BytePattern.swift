import HTTP
import Reactor

/// A body whose every byte can be checked: byte `i` is `i` modulo 251, a prime, so that a lost or doubled buffer shows.
struct BytePattern: Sendable {
    let count: Int
    /// Bytes a second; nil for as fast as they are taken.
    let rate: Int?

    private static let period = 251
    private static let block: [UInt8] = (0..<period * 256).map { UInt8($0 % period) }

    func write(to response: HTTPResponseWriter, on loop: EventLoop) async throws {
        // With a rate, twenty pieces a second: smooth enough to watch, rare enough to cost nothing.
        let piece = rate.map { max(1, $0 / 20) } ?? Self.block.count
        let start = MonotonicTime.now()
        var sent = 0
        while sent < count {
            var step = min(piece, count - sent)
            while step > 0 {
                let from = sent % Self.period
                let part = min(step, Self.block.count - from)
                try await response.write(Array(Self.block[from..<from + part]))
                sent += part
                step -= part
            }
            guard let rate else { continue }
            let due = Duration.nanoseconds(Int64(Double(sent) / Double(rate) * 1e9))
            let elapsed = MonotonicTime.now().duration(since: start)
            if due > elapsed, sent < count { try await loop.sleep(for: due - elapsed) }
        }
    }
}
