import Bytes
import HTTP
import TLS

/// `envoy.filters.http.grpc_web`: gRPC for browsers, whose trailers travel at the end of the body
/// (grpc/doc/PROTOCOL-WEB.md).
enum GRPCWebFilter {
    final class State {
        var isTextRequest = false
        var isTextResponse = false
        /// `grpc-web.SERVICE.METHOD.`
        var scope: String?
        /// Base64 that is no whole group yet, or a message that is not whole.
        var waiting: [UInt8] = []
        var output = GrowingBytes()
        deinit { output.deallocate() }
    }

    private static let binaryTypes: [StaticString] = ["application/grpc-web", "application/grpc-web+proto"]
    private static let textTypes: [StaticString] = ["application/grpc-web-text", "application/grpc-web-text+proto"]
    private static let acceptEncoding = HeaderKey("grpc-accept-encoding")

    static func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        let request = stream.request
        guard let type = request.value(.contentType) else { return .proceed }
        let isText = textTypes.contains { type.elementsEqual($0.bytes) }
        guard isText || binaryTypes.contains(where: { type.elementsEqual($0.bytes) }) else { return .proceed }
        let state = State()
        state.isTextRequest = isText
        if let accept = request.value(.accept) {
            state.isTextResponse = textTypes.contains { accept.elementsEqual($0.bytes) }
        }
        state.scope = GRPCMethod(request.path).map { "grpc-web.\($0.service).\($0.name)." }
        stream.filterState[slot] = state
        // It counts the bytes of another form.
        request.remove(.contentLength)
        request.set(.contentType, "application/grpc")
        request.set(.te, "trailers")
        request.set(acceptEncoding, StaticString("identity").bytes)
        return .proceed
    }

    static func requestData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        guard let state = state(stream, slot), state.isTextRequest else { return true }
        state.waiting += piece.bytes
        let whole = state.waiting.count / 4 * 4
        guard !piece.end || whole == state.waiting.count else {
            return refuse(stream, "grpc_base_64_decode_failed_bad_size")
        }
        state.output.clear()
        // Every message may be padded by itself, so groups are decoded one by one where padding stands within.
        var start = 0
        while start < whole {
            let end = state.waiting[start..<whole].firstIndex(of: UInt8(ascii: "=")).map { $0 / 4 * 4 + 4 } ?? whole
            guard let decoded = Base64.decode(String(decoding: state.waiting[start..<end], as: UTF8.self)) else {
                return refuse(stream, "grpc_base_64_decode_failed_bad_data")
            }
            decoded.withUnsafeBytes { state.output.append($0) }
            start = end
        }
        state.waiting.removeFirst(whole)
        return show(state, &piece)
    }

    static func responseHead(_ stream: HTTPStream, _ slot: Int, end: Bool) -> FilterStep {
        guard let state = state(stream, slot) else { return .proceed }
        if end { charge(stream.response, state, stream) }
        let isGRPC = stream.response.value(.contentType)?.starts(with: StaticString("application/grpc").bytes) == true
        guard isGRPC else { return .proceed }
        stream.response.set(
            .contentType, state.isTextResponse ? "application/grpc-web-text+proto" : "application/grpc-web+proto")
        if !end { stream.response.remove(.contentLength) }
        state.waiting = []
        return .proceed
    }

    static func responseData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        guard let state = state(stream, slot), state.isTextResponse else { return true }
        state.waiting += piece.bytes
        state.output.clear()
        var start = 0
        while state.waiting.count - start >= 5 {
            let length = state.waiting[(start + 1)..<(start + 5)].reduce(0) { $0 << 8 | Int($1) }
            guard state.waiting.count - start >= 5 + length else { break }
            state.output.append(utf8: Base64.encode(state.waiting[start..<(start + 5 + length)]))
            start += 5 + length
        }
        state.waiting.removeFirst(start)
        return show(state, &piece)
    }

    /// The trailers become the body's last frame.
    static func responseTrailers(_ stream: HTTPStream, _ slot: Int, _ trailers: HeaderBlock) -> Bool {
        guard let state = state(stream, slot) else { return true }
        charge(trailers, state, stream)
        var text: [UInt8] = []
        for index in 0..<trailers.count {
            text += trailers.name(trailers.fields[index])
            text.append(UInt8(ascii: ":"))
            text += trailers.value(trailers.fields[index])
            text += "\r\n".utf8
        }
        let length = UInt32(text.count)
        var frame: [UInt8] = [0x80]
        for shift: UInt32 in [24, 16, 8, 0] { frame.append(UInt8(truncatingIfNeeded: length >> shift)) }
        frame += text
        if state.isTextResponse { frame = Array(Base64.encode(frame).utf8) }
        frame.withUnsafeBytes { stream.sendResponse(BodyPiece($0, end: true), after: slot) }
        return false
    }

    private static func state(_ stream: HTTPStream, _ slot: Int) -> State? { stream.filterState[slot] as? State }

    private static func charge(_ block: HeaderBlock, _ state: State, _ stream: HTTPStream) {
        guard let scope = state.scope, let status = block.value(.grpcStatus) else { return }
        stream.countGRPC(status, scope)
    }

    private static func refuse(_ stream: HTTPStream, _ details: StaticString) -> Bool {
        stream.reply(400, "Bad gRPC-web request, invalid base64 data.", details: details)
        return false
    }

    /// What came of a piece lives with the state until the next one.
    private static func show(_ state: State, _ piece: inout BodyPiece) -> Bool {
        piece.bytes = state.output.bytes
        return true
    }
}
