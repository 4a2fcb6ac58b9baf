import Bytes
import JSON

/// One case: what a client does, how the upstreams answer, and what besides the bytes is compared.
struct Row: Sendable {
    var name = ""
    /// The listener that the client connects to; the scene's first when empty.
    var listener = ""
    var client = Client.script([])
    /// Replies of each upstream, in the order in which requests reach it.
    var replies: [String: [UpstreamReply]] = [:]
    /// Access log lines that this row writes; nil: one where the scene keeps a log.
    var logLines: Int?
    /// Counters whose change is compared.
    var stats: [String] = []
    /// Beginnings of lines that are not compared, each a deliberate difference that the row's comment explains.
    var ignored: [String] = []
    /// Why weft-proxy must refuse what Envoy lets pass.
    var stricter: String?
    /// Why weft-proxy is known not to agree yet; the row fails when it begins to.
    var pending: String?

    enum Client: Sendable {
        /// Bytes over TCP, answers read as HTTP/1.1.
        case script([ClientStep])
        /// The same, answers shown as they came.
        case raw([ClientStep])
        case http2([HTTP2Step])
        /// A shell command; its status and output are compared.
        case command(String)
        /// An admin page, and what of it is compared.
        case admin(String, method: String, AdminView)
    }

    var isHTTP2: Bool { if case .http2 = client { true } else { false } }

    init(_ value: JSONValue) throws {
        guard let members = value.object else { throw RowError("a row is a map") }
        name = members["name"]?.string ?? ""
        guard !name.isEmpty else { throw RowError("a row has no name") }
        do { for (key, value) in members { try take(key, value, members) } } catch let error as RowError {
            throw RowError("row \"\(name)\": \(error.description)")
        }
    }

    private mutating func take(_ key: String, _ value: JSONValue, _ members: JSONObject) throws {
        switch key {
        case "name", "body", "bodySize", "view", "method": return
        case "to": listener = value.string ?? ""
        case "request":
            var body = Array((members["body"]?.string ?? "").utf8)
            if let size = members["bodySize"]?.int { body = [UInt8](repeating: UInt8(ascii: "x"), count: Int(size)) }
            client = .script([.head(value.string ?? ""), .bytes(body), .response(method: nil)])
        case "requests":
            client = .script((value.array ?? []).flatMap { [.head($0.string ?? ""), .response(method: nil)] })
        case "script": client = .script(try (value.array ?? []).map(ClientStep.init))
        case "tcp": client = .raw(try (value.array ?? []).map(ClientStep.init))
        case "h2": client = .http2(try (value.array ?? []).map(HTTP2Step.init))
        case "command": client = .command(value.string ?? "")
        case "admin":
            guard let view = AdminView(rawValue: members["view"]?.string ?? "text") else {
                throw RowError("there is no view \(members["view"] ?? .null)")
            }
            client = .admin(value.string ?? "", method: members["method"]?.string ?? "GET", view)
        case "upstream": replies["main"] = try (value.array ?? []).map(UpstreamReply.init)
        case "upstreams":
            for (name, list) in value.object ?? [:] {
                replies[name] = try (list.array ?? []).map(UpstreamReply.init)
            }
        case "log": logLines = value.int.map(Int.init)
        case "stats": stats = (value.array ?? []).compactMap(\.string)
        case "ignore": ignored = (value.array ?? []).compactMap(\.string)
        case "stricter": stricter = value.string
        case "pending": pending = value.string
        default: throw RowError("there is no \"\(key)\"")
        }
    }
}

/// What of an admin page is compared.
enum AdminView: String, Sendable {
    /// Status, content type and text.
    case text
    /// Of a JSON page: the paths of all members, not their values.
    case shape
    /// Of a Prometheus page: names, types and label names.
    case metrics
    /// Status and content type only.
    case head
}

/// One thing that a scripted client does.
enum ClientStep: Sendable {
    /// A request's head: lines without their CRLF and without the empty line.
    case head(String)
    case bytes([UInt8])
    /// Waits for one more whole answer, to a request of this method (nil: of the head that was sent).
    case response(method: String?)
    case until(String)
    /// Waits until an upstream has seen so many requests.
    case upstream(String, Int)
    case finish
    case reset
    /// Waits for the connection's end.
    case end

    init(_ value: JSONValue) throws {
        if value.string == "finish" {
            self = .finish
        } else if value.string == "reset" {
            self = .reset
        } else if value.string == "end" {
            self = .end
        } else if value.string == "response" {
            self = .response(method: nil)
        } else if let text = value["head"]?.string {
            self = .head(text)
        } else if let text = value["send"]?.string {
            self = .bytes(Array(text.utf8))
        } else if let hex = value["hex"]?.string.flatMap(Hex.decode) {
            self = .bytes(hex)
        } else if let count = value["size"]?.int {
            self = .bytes([UInt8](repeating: UInt8(ascii: "y"), count: Int(count)))
        } else if let method = value["response"]?.string {
            self = .response(method: method)
        } else if let text = value["until"]?.string {
            self = .until(text)
        } else if let wait = value["upstream"]?.object?.first, let count = wait.value.int {
            self = .upstream(wait.key, Int(count))
        } else {
            throw RowError("there is no step \(value)")
        }
    }
}

/// One thing that a scripted HTTP/2 client does, after the preface and its settings.
enum HTTP2Step: Sendable {
    case headers([(String, String)], stream: UInt32, end: Bool)
    case data([UInt8], stream: UInt32, end: Bool)
    case bytes([UInt8])
    /// Waits until the stream is over.
    case response(UInt32)
    /// Waits until some of the stream's body came.
    case body(UInt32)
    case ping
    case goAway
    case upstream(String, Int)
    case end

    init(_ value: JSONValue) throws {
        let stream = UInt32(value["stream"]?.int ?? 1)
        let ends = value["end"]?.bool ?? false
        if value.string == "ping" {
            self = .ping
        } else if value.string == "goaway" {
            self = .goAway
        } else if value.string == "end" {
            self = .end
        } else if let list = value["headers"] {
            self = .headers(try fields(list), stream: stream, end: ends)
        } else if let list = value["request"] {
            let given = try fields(list)
            var all = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
            for index in all.indices { if let own = given.first(where: { $0.0 == all[index].0 }) { all[index] = own } }
            self = .headers(
                all + given.filter { field in !all.contains { $0.0 == field.0 } }, stream: stream,
                end: value["end"]?.bool ?? true)
        } else if let text = value["data"]?.string {
            self = .data(Array(text.utf8), stream: stream, end: ends)
        } else if let count = value["size"]?.int {
            self = .data([UInt8](repeating: UInt8(ascii: "y"), count: Int(count)), stream: stream, end: ends)
        } else if let code = value["rst"]?.int {
            self = .bytes(HTTP2Frame.reset(UInt32(code), stream: stream))
        } else if let frame = value["frame"] {
            let payload = Hex.decode(frame["hex"]?.string ?? "") ?? []
            let one = HTTP2Frame.bytes(
                UInt8(frame["type"]?.int ?? 0), flags: UInt8(frame["flags"]?.int ?? 0),
                stream: UInt32(frame["stream"]?.int ?? 0), payload)
            self = .bytes(Array(repeatElement(one, count: Int(frame["times"]?.int ?? 1)).joined()))
        } else if let number = value["response"]?.int {
            self = .response(UInt32(number))
        } else if let number = value["body"]?.int {
            self = .body(UInt32(number))
        } else if let wait = value["upstream"]?.object?.first, let count = wait.value.int {
            self = .upstream(wait.key, Int(count))
        } else {
            throw RowError("there is no HTTP/2 step \(value)")
        }
    }
}

struct RowError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
