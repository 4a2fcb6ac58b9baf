import Compression
import HTTP
import TLS

/// `envoy.filters.http.compressor` with gzip: bodies are compressed for those who take them so.
package final class CompressorFilter: Sendable {
    /// What holds for one direction.
    struct Direction: Sendable {
        var isEnabled: Bool
        var minimumLength: Int
        /// In lower case, without parameters.
        var contentTypes: [[UInt8]]
        var counters: Counters
    }

    struct Counters: Sendable {
        var compressed: CounterID
        var notCompressed: CounterID
        var uncompressedBytes: CounterID
        var compressedBytes: CounterID
        var tooSmall: CounterID
    }

    /// Why responses were or were not compressed.
    struct ResponseCounters: Sendable {
        var noAcceptHeader: CounterID
        var identity: CounterID
        var used: CounterID
        var wildcard: CounterID
        var notValid: CounterID
        var etag: CounterID
    }

    struct Options: Sendable {
        var gzip = GzipCompressor.Options()
        var sparesETags = false
        var weakensETags = false
        var removesAcceptEncoding = false
        var incompressibleStatuses: Set<Int> = []
    }

    /// What a route says (`CompressorPerRoute`).
    package struct Override: Sendable {
        var isDisabled = false
        var removesAcceptEncoding: Bool?
    }

    let request: Direction
    let response: Direction
    let responseCounters: ResponseCounters
    let options: Options

    init(_ request: Direction, _ response: Direction, _ responseCounters: ResponseCounters, _ options: Options) {
        self.request = request
        self.response = response
        self.responseCounters = responseCounters
        self.options = options
    }

    static let standardTypes = [
        "application/javascript", "application/json", "application/xhtml+xml", "image/svg+xml", "text/css",
        "text/html", "text/plain", "text/xml",
    ]

    /// What is remembered of one request.
    final class State {
        /// nil for no field.
        var choice: AcceptEncoding.Choice?
        var request: GzipCompressor?
        var response: GzipCompressor?
        var output = GrowingBytes()
        deinit { output.deallocate() }
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int, end: Bool) -> FilterStep {
        let override = self.override(stream, slot)
        let state = State()
        stream.filterState[slot] = state
        let head = stream.request
        if response.isEnabled, override?.isDisabled != true {
            state.choice = head.value(.acceptEncoding).map { AcceptEncoding.choice(of: "gzip", in: $0) }
            if override?.removesAcceptEncoding ?? options.removesAcceptEncoding { head.remove(.acceptEncoding) }
        }
        guard request.isEnabled else { return .proceed }
        if !end, isLongEnough(head, request, stream), allows(head, request.contentTypes), !head.has(.contentEncoding),
            let compressor = GzipCompressor(options.gzip)
        {
            state.request = compressor
            head.remove(.contentLength)
            head.set(.contentEncoding, "gzip")
            stream.worker.count(request.counters.compressed)
        } else {
            stream.worker.count(request.counters.notCompressed)
        }
        return .proceed
    }

    func requestData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        guard let state = state(stream, slot), let compressor = state.request else { return true }
        compress(&piece, compressor, state, request.counters, stream)
        return true
    }

    func requestTrailers(_ stream: HTTPStream, _ slot: Int) {
        guard let state = state(stream, slot), let compressor = state.request else { return }
        state.request = nil
        var piece = BodyPiece.end
        compress(&piece, compressor, state, request.counters, stream)
        piece.end = false
        stream.sendRequest(piece, after: slot)
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int, end: Bool) -> FilterStep {
        guard response.isEnabled, let state = state(stream, slot), override(stream, slot)?.isDisabled != true else {
            return .proceed
        }
        let head = stream.response
        let isLong = isLongEnough(head, response, stream)
        let isCompressible =
            isLong && head.status != 101 && allows(head, response.contentTypes)
            && !head.lists("no-transform", in: .cacheControl) && allowsETag(head, stream)
            && !head.has(.contentEncoding) && !options.incompressibleStatuses.contains(head.status)
        if !end, isLong, isAsked(state, stream), isCompressible, let compressor = GzipCompressor(options.gzip) {
            sanitizeETag(head)
            head.remove(.contentLength)
            head.set(.contentEncoding, "gzip")
            state.response = compressor
            stream.worker.count(response.counters.compressed)
        } else {
            stream.worker.count(response.counters.notCompressed)
        }
        // Also where it was not compressed: a cache must know that it can be.
        if isCompressible, !head.lists("accept-encoding", in: .vary), !head.lists("*", in: .vary) {
            head.appendToList(.vary, "Accept-Encoding")
        }
        return .proceed
    }

    func responseData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        guard let state = state(stream, slot), let compressor = state.response else { return true }
        compress(&piece, compressor, state, response.counters, stream)
        return true
    }

    func responseTrailers(_ stream: HTTPStream, _ slot: Int) {
        guard let state = state(stream, slot), let compressor = state.response else { return }
        state.response = nil
        var piece = BodyPiece.end
        compress(&piece, compressor, state, response.counters, stream)
        piece.end = false
        stream.sendResponse(piece, after: slot)
    }

    // MARK: Parts

    private func state(_ stream: HTTPStream, _ slot: Int) -> State? { stream.filterState[slot] as? State }

    private func override(_ stream: HTTPStream, _ slot: Int) -> Override? {
        guard case .compressor(let override)? = stream.settings(slot) else { return nil }
        return override
    }

    /// The bytes stay with the state until its next piece.
    private func compress(
        _ piece: inout BodyPiece, _ compressor: GzipCompressor, _ state: State, _ counters: Counters,
        _ stream: HTTPStream
    ) {
        guard piece.end || !piece.bytes.isEmpty else { return }
        state.output.clear()
        compressor.write(piece.bytes, end: piece.end) { state.output.append($0) }
        stream.worker.count(counters.uncompressedBytes, UInt64(piece.bytes.count))
        stream.worker.count(counters.compressedBytes, UInt64(state.output.count))
        piece.bytes = state.output.bytes
    }

    /// A body of unknown length counts as long.
    private func isLongEnough(_ head: HeaderBlock, _ direction: Direction, _ stream: HTTPStream) -> Bool {
        guard let length = head.value(.contentLength) else { return true }
        if let length = length.decimal, length >= Int64(direction.minimumLength) { return true }
        stream.worker.count(direction.counters.tooSmall)
        return false
    }

    private func allows(_ head: HeaderBlock, _ types: [[UInt8]]) -> Bool {
        guard !types.isEmpty, let value = head.value(.contentType) else { return true }
        var text = value.prefix { $0 != UInt8(ascii: ";") }
        while text.last == UInt8(ascii: " ") { text = text.dropLast() }
        return types.contains { type in text.count == type.count && zip(text, type).allSatisfy { lowercase($0) == $1 } }
    }

    private func allowsETag(_ head: HeaderBlock, _ stream: HTTPStream) -> Bool {
        guard options.sparesETags, head.has(.etag) else { return true }
        stream.worker.count(responseCounters.etag)
        return false
    }

    /// A strong tag names bytes that the client will not see.
    private func sanitizeETag(_ head: HeaderBlock) {
        guard let tag = head.value(.etag) else { return }
        if tag.count > 2, tag[0] | 0x20 == UInt8(ascii: "w"), tag[1] == UInt8(ascii: "/") { return }
        guard options.weakensETags else {
            head.remove(.etag)
            return
        }
        (Array("W/".utf8) + tag).withUnsafeBytes { head.set(.etag, $0) }
    }

    private func isAsked(_ state: State, _ stream: HTTPStream) -> Bool {
        switch state.choice {
        case nil: stream.worker.count(responseCounters.noAcceptHeader)
        case .identity?: stream.worker.count(responseCounters.identity)
        case .none?: stream.worker.count(responseCounters.notValid)
        case .wildcard?: stream.worker.count(responseCounters.wildcard)
        case .encoding?: stream.worker.count(responseCounters.used)
        }
        return state.choice == .encoding || state.choice == .wildcard
    }
}
