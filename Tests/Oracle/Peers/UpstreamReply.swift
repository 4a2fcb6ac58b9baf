import Bytes
import JSON

/// What a scripted upstream does with one request; the words are those of a row's `upstream` list.
struct UpstreamReply {
    enum Fate: String { case keep, close, reset }

    var status = 200
    var headers: [(String, String)] = []
    var body = Array("ok".utf8)
    var trailers: [(String, String)] = []
    /// Exact bytes instead of a composed answer.
    var raw: [UInt8]?
    /// Exact bytes that are sent at the head, before the answer.
    var interim: [UInt8] = []
    /// Raw TCP: answer once this text came; without it, at once.
    var until: String?
    /// What becomes of the connection after the answer.
    var fate = Fate.keep
    /// Sends nothing, and waits for what the proxy does.
    var hangs = false
    /// Answers at the head, before the body came.
    var isEarly = false
    /// Body in chunks.
    var isChunked = false
    /// After an accepted upgrade, sends back what it gets.
    var isEcho = true
    /// HTTP/2: the stream is reset with this code instead of an answer.
    var resetCode: UInt32?

    init() {}

    /// `503`, or a map: `{status: 503, headers: {a: b}, body: text, chunked: true, trailers: {}, raw: bytes, after: close}`,
    /// `{hang: true}`, `{close: true}`, `{reset: true}`, `{until: text, raw: bytes}`, `{rst: 7}`.
    init(_ value: JSONValue) throws {
        if let status = value.int {
            self.status = Int(status)
            return
        }
        guard let members = value.object else { throw RowError("an upstream's reply is a status or a map: \(value)") }
        for (key, value) in members {
            switch key {
            case "status": status = Int(value.int ?? 0)
            case "headers": headers = try fields(value)
            case "body": body = Array((value.string ?? "").utf8)
            // What YAML's text cannot say.
            case "hex": body = Hex.decode(value.string ?? "") ?? []
            case "size": body = [UInt8](repeating: UInt8(ascii: "x"), count: Int(value.int ?? 0))
            case "trailers":
                trailers = try fields(value)
                isChunked = true
            case "raw": raw = Array((value.string ?? "").utf8)
            case "interim": interim = Array((value.string ?? "").utf8)
            case "until": until = value.string
            case "after": fate = value.string.flatMap(Fate.init(rawValue:)) ?? .keep
            case "hang":
                hangs = true
                raw = []
                isEarly = value.string == "early"
            case "close":
                raw = raw ?? []
                fate = .close
            case "reset":
                raw = raw ?? []
                fate = .reset
            case "early": isEarly = true
            case "chunked": isChunked = true
            case "echo": isEcho = value.bool ?? true
            case "rst": resetCode = value.int.map(UInt32.init)
            default: throw RowError("an upstream's reply has no \"\(key)\"")
            }
        }
    }

    func http1(isHead: Bool) -> [UInt8] {
        if let raw { return raw }
        var text = "HTTP/1.1 \(status) \(Self.reasons[status] ?? "Status")\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        let hasBody = status >= 200 && status != 204 && status != 304
        if isChunked {
            text += "transfer-encoding: chunked\r\n"
        } else if hasBody, !headers.contains(where: { $0.0.lowercased() == "content-length" }) {
            text += "content-length: \(body.count)\r\n"
        }
        var bytes = Array((text + "\r\n").utf8)
        guard hasBody, !isHead else { return bytes }
        if isChunked {
            bytes += Array((String(body.count, radix: 16) + "\r\n").utf8) + body + Array("\r\n0\r\n".utf8)
            for (name, value) in trailers { bytes += Array("\(name): \(value)\r\n".utf8) }
            bytes += Array("\r\n".utf8)
        } else {
            bytes += body
        }
        return bytes
    }

    func http2(stream: UInt32) -> [UInt8] {
        if let raw { return raw }
        if let resetCode { return HTTP2Frame.reset(resetCode, stream: stream) }
        let isBare = body.isEmpty && trailers.isEmpty
        var bytes = HTTP2Frame.headers([(":status", "\(status)")] + headers, stream: stream, endStream: isBare)
        if !body.isEmpty { bytes += HTTP2Frame.data(body, stream: stream, endStream: trailers.isEmpty) }
        if !trailers.isEmpty { bytes += HTTP2Frame.headers(trailers, stream: stream, endStream: true) }
        return bytes
    }

    private static let reasons = [
        100: "Continue", 101: "Switching Protocols", 103: "Early Hints", 200: "OK", 204: "No Content",
        301: "Moved Permanently",
        302: "Found", 304: "Not Modified", 404: "Not Found", 409: "Conflict", 429: "Too Many Requests",
        500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
    ]
}

/// Header fields of a row: a map, or a list of single maps where a name comes twice.
func fields(_ value: JSONValue) throws -> [(String, String)] {
    if let list = value.array { return try list.flatMap(fields) }
    guard let map = value.object else { throw RowError("header fields are a map: \(value)") }
    return map.map { ($0.key, $0.value.string ?? $0.value.encodedString()) }
}
