import Compression
import HTTP
import TLS
import XDS

/// `envoy.filters.http.decompressor` with gzip: compressed bodies go on as what they are made of.
package final class DecompressorFilter: Sendable {
    struct Direction: Sendable {
        var isEnabled: Bool
        /// Also where `no-transform` forbids it.
        var ignoresNoTransform: Bool
        var counters: Counters
    }

    struct Counters: Sendable {
        var decompressed: CounterID
        var notDecompressed: CounterID
        var uncompressedBytes: CounterID
        var compressedBytes: CounterID
    }

    let request: Direction
    let response: Direction
    /// The upstream is told that gzip is welcome.
    let advertises: Bool
    let windowBits: Int32
    let largestRatio: Int

    init(_ request: Direction, _ response: Direction, advertises: Bool, windowBits: Int32, largestRatio: Int) {
        self.advertises = advertises
        self.request = request
        self.response = response
        self.windowBits = windowBits
        self.largestRatio = largestRatio
    }

    final class State {
        var request: GzipDecompressor?
        var response: GzipDecompressor?
        var output = GrowingBytes()
        deinit { output.deallocate() }
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int, end: Bool) -> FilterStep {
        let state = State()
        stream.filterState[slot] = state
        let head = stream.request
        if advertises, response.isEnabled { Self.advertise(to: head) }
        if !end { state.request = decompressor(head, request, stream) }
        return .proceed
    }

    func requestData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        guard let state = state(stream, slot), let decompressor = state.request else { return true }
        guard write(&piece, decompressor, state, request, stream) else {
            stream.reply(400, "", details: "decompressor_failed")
            return false
        }
        return true
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int, end: Bool) -> FilterStep {
        guard let state = state(stream, slot) else { return .proceed }
        if !end { state.response = decompressor(stream.response, response, stream) }
        return .proceed
    }

    func responseData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        guard let state = state(stream, slot), let decompressor = state.response else { return true }
        guard write(&piece, decompressor, state, response, stream) else {
            stream.cut(.localReset)
            return false
        }
        return true
    }

    private func state(_ stream: HTTPStream, _ slot: Int) -> State? { stream.filterState[slot] as? State }

    /// Prepares the head where its body is to be decompressed. gzip must be the last encoding that was applied, which stands last.
    private func decompressor(
        _ head: HeaderBlock, _ direction: Direction, _ stream: HTTPStream
    ) -> GzipDecompressor? {
        let forbids = !direction.ignoresNoTransform && head.lists("no-transform", in: .cacheControl)
        guard direction.isEnabled, !forbids, let value = head.value(.contentEncoding),
            let left = Self.encodings(below: value), let made = GzipDecompressor(windowBits: windowBits)
        else {
            stream.worker.count(direction.counters.notDecompressed)
            return nil
        }
        stream.worker.count(direction.counters.decompressed)
        if left.isEmpty {
            head.remove(.contentEncoding)
        } else {
            left.withUnsafeBytes { head.set(.contentEncoding, $0) }
        }
        head.remove(.contentLength)
        return made
    }

    /// The encodings that stay when gzip is undone; nil where gzip is not the one that was applied last (RFC 9110 §8.4).
    private static func encodings(below value: UnsafeRawBufferPointer) -> [UInt8]? {
        let comma = value.lastIndex(of: UInt8(ascii: ","))
        guard equalsIgnoringCase(value[(comma.map { $0 + 1 } ?? 0)...].trimmed, "gzip") else { return nil }
        return Array(value[..<(comma ?? 0)].trimmed)
    }

    /// Puts gzip in place of what the client says of gzip, behind what it says of others.
    private static func advertise(to head: HeaderBlock) {
        guard let index = head.find(.acceptEncoding) else { return head.add(.acceptEncoding, "gzip") }
        var list: [UInt8] = []
        for piece in head.value(head.fields[index]).split(separator: UInt8(ascii: ",")) {
            let name = piece.prefix { $0 != UInt8(ascii: ";") }.trimmed
            if name.isEmpty || equalsIgnoringCase(name, "gzip") { continue }
            list += piece.trimmed
            list.append(UInt8(ascii: ","))
        }
        list += "gzip".utf8
        list.withUnsafeBytes { head.replace(index, $0) }
    }

    private func write(
        _ piece: inout BodyPiece, _ decompressor: GzipDecompressor, _ state: State, _ direction: Direction,
        _ stream: HTTPStream
    ) -> Bool {
        state.output.clear()
        let isSound = decompressor.write(piece.bytes, maximumRatio: largestRatio) { state.output.append($0) }
        stream.worker.count(direction.counters.compressedBytes, UInt64(piece.bytes.count))
        stream.worker.count(direction.counters.uncompressedBytes, UInt64(state.output.count))
        piece.bytes = state.output.bytes
        return isSound
    }
}

extension DecompressorFilter {
    /// An `envoy.extensions.filters.http.decompressor.v3.Decompressor`. Of the libraries only gzip is there.
    convenience init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        guard let library = node.message("decompressor_library") else {
            throw node.error("decompressor_library", "is missing")
        }
        let name = library.string("name")
        guard let gzip = try library.typed("typed_config") else { throw library.error("typed_config", "is missing") }
        guard gzip.typeName == "envoy.extensions.compression.gzip.decompressor.v3.Gzip" else {
            throw library.error("typed_config", "decompression by \(gzip.typeName) is not supported")
        }
        gzip.ignore("chunk_size")
        let scope = "decompressor.\(name).gzip."
        let request = node.message("request_direction_config")
        self.init(
            Direction(request?.message("common_config"), scope + "request.", context),
            Direction(
                node.message("response_direction_config")?.message("common_config"), scope + "response.", context),
            advertises: request?.bool("advertise_accept_encoding", default: true) ?? true,
            windowBits: Int32(gzip.uint32("window_bits", default: 15)),
            largestRatio: Int(
                gzip.uint32("max_inflate_ratio", default: UInt32(GzipDecompressor.largestRatio))))
    }
}

extension DecompressorFilter.Direction {
    /// A `CommonDirectionConfig`; on where nothing is said.
    fileprivate init(_ node: ConfigNode?, _ scope: String, _ context: FilterContext) {
        isEnabled = node?.message("enabled")?.isOn ?? true
        ignoresNoTransform = node?.bool("ignore_no_transform_header") ?? false
        counters = DecompressorFilter.Counters(
            decompressed: context.counter(scope + "decompressed"),
            notDecompressed: context.counter(scope + "not_decompressed"),
            uncompressedBytes: context.counter(scope + "total_uncompressed_bytes"),
            compressedBytes: context.counter(scope + "total_compressed_bytes"))
    }
}
