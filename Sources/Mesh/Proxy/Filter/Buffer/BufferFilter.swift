import HTTP
import XDS

/// Lets a request go on once all of it is there, with its length in the head (`envoy.filters.http.buffer`).
package final class BufferFilter: Sendable {
    package enum Override: Sendable {
        case off
        case limit(Int)
    }

    private let limit: Int
    private let tooLarge: CounterID

    init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        limit = try Self.limit(node)
        tooLarge = context.counter("downstream_rq_too_large")
    }

    private static func limit(_ node: ConfigNode) throws(ConfigError) -> Int {
        guard let limit = node.uint32IfSet("max_request_bytes"), limit > 0 else {
            throw node.error("max_request_bytes", "must be greater than 0")
        }
        return Int(limit)
    }

    /// What is remembered of a stream whose body is gathered.
    private final class Gathering {
        let limit: Int
        init(_ limit: Int) { self.limit = limit }
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int, end: Bool) -> FilterStep {
        guard !end, !stream.isTunnelRequest else { return .proceed }
        var limit = limit
        if case .buffer(let override)? = stream.settings(slot) {
            switch override {
            case .off: return .proceed
            case .limit(let other): limit = other
            }
        }
        stream.filterState[slot] = Gathering(limit)
        stream.gatherLimit = limit
        return .pause
    }

    func requestData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        guard let gathering = stream.filterState[slot] as? Gathering else { return true }
        guard stream.requestBytes <= UInt64(gathering.limit) else {
            stream.filterState[slot] = nil
            stream.worker.count(tooLarge)
            stream.reply(413, "Payload Too Large", details: "request_payload_too_large")
            return false
        }
        if piece.end { release(stream, slot) }
        return true
    }

    func requestTrailers(_ stream: HTTPStream, _ slot: Int) {
        if stream.filterState[slot] is Gathering { release(stream, slot) }
    }

    private func release(_ stream: HTTPStream, _ slot: Int) {
        stream.filterState[slot] = nil
        if !stream.request.has(.contentLength) {
            stream.request.set(.contentLength, decimal: Int(clamping: stream.requestBytes))
        }
        stream.resumeAfterData()
    }
}

extension BufferFilter.Override {
    /// An `envoy.extensions.filters.http.buffer.v3.BufferPerRoute`.
    init(_ node: ConfigNode) throws(ConfigError) {
        switch node.choice("override") {
        case "disabled":
            _ = node.bool("disabled")
            self = .off
        default:
            let limit = node.message("buffer")?.uint32IfSet("max_request_bytes")
            guard let limit, limit > 0 else { throw node.error("buffer", "max_request_bytes must be greater than 0") }
            self = .limit(Int(limit))
        }
    }
}
