import CNghttp2

/// HTTP/2 frames as bytes, written by hand so that a peer can also say what is not allowed (RFC 9113).
enum HTTP2Frame {
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    enum Kind: UInt8 {
        case data = 0
        case headers, priority, resetStream, settings, pushPromise, ping, goAway, windowUpdate, continuation
    }

    static func bytes(_ kind: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8]) -> [UInt8] {
        let count = payload.count
        return [
            UInt8(truncatingIfNeeded: count >> 16), UInt8(truncatingIfNeeded: count >> 8),
            UInt8(truncatingIfNeeded: count),
        ]
            + [kind, flags] + big(stream) + payload
    }

    static func settings(_ values: [(UInt16, UInt32)] = [], isAck: Bool = false) -> [UInt8] {
        bytes(
            Kind.settings.rawValue, flags: isAck ? 1 : 0,
            values.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] + big($1) })
    }

    static func headers(_ fields: [(String, String)], stream: UInt32, endStream: Bool) -> [UInt8] {
        bytes(Kind.headers.rawValue, flags: 4 | (endStream ? 1 : 0), stream: stream, block(fields))
    }

    static func data(_ body: [UInt8], stream: UInt32, endStream: Bool) -> [UInt8] {
        var out: [UInt8] = []
        var rest = body[...]
        repeat {
            let part = rest.prefix(16_384)
            rest = rest.dropFirst(part.count)
            out += bytes(
                Kind.data.rawValue, flags: endStream && rest.isEmpty ? 1 : 0, stream: stream, Array(part))
        } while !rest.isEmpty
        return out
    }

    static func reset(_ code: UInt32, stream: UInt32) -> [UInt8] {
        bytes(Kind.resetStream.rawValue, stream: stream, big(code))
    }

    static func goAway(_ code: UInt32, lastStream: UInt32 = 0) -> [UInt8] {
        bytes(Kind.goAway.rawValue, big(lastStream) + big(code))
    }

    static func windowUpdate(_ increment: UInt32, stream: UInt32) -> [UInt8] {
        bytes(Kind.windowUpdate.rawValue, stream: stream, big(increment))
    }

    /// Fields without any compression: literal, never indexed anywhere, no Huffman (RFC 7541 §6.2.2).
    static func block(_ fields: [(String, String)]) -> [UInt8] {
        fields.flatMap { [UInt8(0)] + text($0) + text($1) }
    }

    private static func text(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        if bytes.count < 127 { return [UInt8(bytes.count)] + bytes }
        var out: [UInt8] = [127]
        var rest = bytes.count - 127
        while rest >= 128 {
            out.append(UInt8(rest & 127) | 128)
            rest >>= 7
        }
        return out + [UInt8(rest)] + bytes
    }

    static func big(_ value: UInt32) -> [UInt8] {
        [UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
    }
}

/// One stream as its receiver saw it.
struct HTTP2Stream {
    var heads: [[(name: String, value: String)]] = []
    var body: [UInt8] = []
    var isEnded = false
    var resetCode: UInt32?

    var isOver: Bool { isEnded || resetCode != nil }

    /// Interim heads, the head, the body, the trailers, and the end.
    var lines: [String] {
        var lines: [String] = []
        for (index, head) in heads.enumerated() {
            if index > 0 { lines.append("  --") }
            lines += HTTP1Message.sorted(head).map { "  \($0.name): \($0.value)" }
        }
        if !body.isEmpty { lines.append("  body \(printable(body))") }
        if let resetCode {
            lines.append("  reset with \(resetCode)")
        } else if !isEnded {
            lines.append("  (not ended)")
        }
        return lines
    }
}

/// The receiving half of a scripted HTTP/2 peer. Header blocks are decoded by nghttp2, which is nobody's relative here.
final class HTTP2Receiver {
    private(set) var streams: [UInt32: HTTP2Stream] = [:]
    private(set) var goAwayCodes: [UInt32] = []
    private(set) var pings = 0
    private(set) var hasSettings = false
    /// What must be sent in answer: acknowledgements and credit.
    private var answers: [UInt8] = []
    private var offset = 0
    private var block: (stream: UInt32, bytes: [UInt8], ends: Bool)?
    private var inflater: OpaquePointer?
    private let expectsPreface: Bool

    init(isServer: Bool) {
        expectsPreface = isServer
        nghttp2_hd_inflate_new(&inflater)
    }

    deinit { nghttp2_hd_inflate_del(inflater) }

    /// Reads the frames that are complete in all the bytes that came so far; answers what to send back.
    func receive(_ bytes: [UInt8]) -> [UInt8] {
        if expectsPreface, offset == 0 {
            guard bytes.count >= HTTP2Frame.preface.count else { return [] }
            offset = HTTP2Frame.preface.count
        }
        while bytes.count - offset >= 9 {
            let length = Int(bytes[offset]) << 16 | Int(bytes[offset + 1]) << 8 | Int(bytes[offset + 2])
            guard bytes.count - offset >= 9 + length else { break }
            let stream = bytes[offset + 5..<offset + 9].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } & 0x7fff_ffff
            frame(bytes[offset + 3], bytes[offset + 4], stream, Array(bytes[offset + 9..<offset + 9 + length]))
            offset += 9 + length
        }
        defer { answers = [] }
        return answers
    }

    private func frame(_ kind: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) {
        func number(_ range: Range<Int>) -> UInt32 {
            payload.count >= range.upperBound ? payload[range].reduce(0) { $0 << 8 | UInt32($1) } : 0
        }
        switch HTTP2Frame.Kind(rawValue: kind) {
        case .data:
            let padding = flags & 8 != 0 ? Int(payload.first ?? 0) : 0
            streams[stream, default: .init()].body += payload.dropFirst(flags & 8 != 0 ? 1 : 0).dropLast(padding)
            if flags & 1 != 0 { streams[stream, default: .init()].isEnded = true }
            guard !payload.isEmpty else { return }
            for number in flags & 1 != 0 ? [0] : [0, stream] {
                answers += HTTP2Frame.windowUpdate(UInt32(payload.count), stream: number)
            }
        case .headers:
            var fields = payload[...]
            if flags & 8 != 0 { fields = fields.dropFirst().dropLast(Int(payload.first ?? 0)) }
            if flags & 32 != 0 { fields = fields.dropFirst(5) }
            block = (stream, Array(fields), flags & 1 != 0)
            if flags & 4 != 0 { endBlock() }
        case .continuation:
            block?.bytes += payload
            if flags & 4 != 0 { endBlock() }
        case .resetStream: streams[stream, default: .init()].resetCode = number(0..<4)
        case .settings:
            hasSettings = true
            if flags & 1 == 0 { answers += HTTP2Frame.settings(isAck: true) }
        case .ping:
            if flags & 1 != 0 { pings += 1 } else { answers += HTTP2Frame.bytes(6, flags: 1, payload) }
        case .goAway: goAwayCodes.append(number(4..<8))
        default: return
        }
    }

    private func endBlock() {
        guard let block else { return }
        self.block = nil
        var fields: [(name: String, value: String)] = []
        var rest = block.bytes[...]
        while true {
            var field = nghttp2_nv()
            var flags: CInt = 0
            let used = Array(rest).withUnsafeBufferPointer {
                nghttp2_hd_inflate_hd2(inflater, &field, &flags, $0.baseAddress, $0.count, 1)
            }
            guard used >= 0 else {
                fields.append(("(header block that cannot be read)", "\(used)"))
                break
            }
            rest = rest.dropFirst(Int(used))
            if flags & CInt(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
                func text(_ start: UnsafeMutablePointer<UInt8>?, _ count: Int) -> String {
                    String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
                }
                fields.append((text(field.name, field.namelen), text(field.value, field.valuelen)))
            }
            if flags & CInt(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 {
                nghttp2_hd_inflate_end_headers(inflater)
                break
            }
        }
        streams[block.stream, default: .init()].heads.append(fields)
        if block.ends { streams[block.stream, default: .init()].isEnded = true }
    }
}
