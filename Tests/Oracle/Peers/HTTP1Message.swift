import Bytes

/// One HTTP/1.1 message as it stood on the wire, read leniently: this side judges, and must be able to show what is wrong.
struct HTTP1Message {
    var startLine = ""
    var headers: [(name: String, value: String)] = []
    var body: [UInt8] = []
    var trailers: [(name: String, value: String)] = []
    /// The body ended before its framing said so.
    var isCut = false

    subscript(name: String) -> String? { headers.first { $0.name.lowercased() == name }?.value }

    var status: Int { Int(startLine.split(separator: " ").dropFirst().first ?? "") ?? 0 }

    /// The message as lines: headers by name, those of one name in their order.
    var lines: [String] {
        var lines = [startLine]
        lines += Self.sorted(headers).map { "  \($0.name): \($0.value)" }
        if !body.isEmpty { lines.append("  body \(printable(body))") }
        lines += Self.sorted(trailers).map { "  trailer \($0.name): \($0.value)" }
        if isCut { lines.append("  (cut short)") }
        return lines
    }

    static func sorted(_ headers: [(name: String, value: String)]) -> [(name: String, value: String)] {
        headers.enumerated().sorted { ($0.element.name, $0.offset) < ($1.element.name, $1.offset) }.map(\.element)
    }
}

/// What a message's start line says about the body behind it.
enum HTTP1Kind {
    case request
    /// The answer to a request of this method.
    case response(method: String)
}

/// Reads messages off the front of a growing buffer.
struct HTTP1Reader {
    private(set) var offset = 0

    /// The next whole message; nil while more bytes must come. With `hasEnded`, what is there must do.
    mutating func next(_ kind: HTTP1Kind, in bytes: [UInt8], hasEnded: Bool) -> HTTP1Message? {
        guard let headEnd = Self.endOfHead(bytes, from: offset) else { return nil }
        var message = HTTP1Message()
        let lines = Self.lines(bytes[offset..<headEnd])
        message.startLine = lines.first ?? ""
        message.headers = lines.dropFirst().map(Self.field)
        var at = headEnd
        switch Self.framing(of: message, kind) {
        case .none: break
        case .length(let length):
            guard bytes.count - at >= length || hasEnded else { return nil }
            message.isCut = bytes.count - at < length
            message.body = Array(bytes[at...].prefix(length))
            at += message.body.count
        case .untilEnd:
            guard hasEnded else { return nil }
            message.body = Array(bytes[at...])
            at = bytes.count
        case .chunked:
            guard Self.readChunks(bytes, &at, &message, hasEnded) else { return nil }
        }
        offset = at
        return message
    }

    /// Where the head that begins at the offset ends; nil when it is not complete.
    func headEnd(in bytes: [UInt8]) -> Int? { Self.endOfHead(bytes, from: offset) }

    /// The head alone, for whoever answers before the body came.
    func head(in bytes: [UInt8]) -> HTTP1Message? {
        guard let end = headEnd(in: bytes) else { return nil }
        let lines = Self.lines(bytes[offset..<end])
        var message = HTTP1Message()
        message.startLine = lines.first ?? ""
        message.headers = lines.dropFirst().map(Self.field)
        return message
    }

    mutating func skip(to offset: Int) { self.offset = offset }

    private enum Framing { case none, length(Int), chunked, untilEnd }

    private static func framing(of message: HTTP1Message, _ kind: HTTP1Kind) -> Framing {
        if case .response(let method) = kind {
            let status = message.status
            if status < 200 || status == 204 || status == 304 || method == "HEAD" { return .none }
            if method == "CONNECT", status < 300 { return .none }
        }
        if message["transfer-encoding"]?.lowercased().hasSuffix("chunked") == true { return .chunked }
        if let length = message["content-length"].flatMap({ Int($0) }) { return .length(length) }
        if case .response = kind { return .untilEnd }
        return .none
    }

    private static func readChunks(
        _ bytes: [UInt8], _ at: inout Int, _ message: inout HTTP1Message, _ hasEnded: Bool
    ) -> Bool {
        func cut() -> Bool {
            message.isCut = true
            at = bytes.count
            return hasEnded
        }
        while true {
            guard let lineEnd = crlf(bytes, from: at) else { return cut() }
            let size = String(decoding: bytes[at..<lineEnd], as: UTF8.self).split(separator: ";").first ?? ""
            guard let length = Int(size, radix: 16), length >= 0 else { return cut() }
            at = lineEnd + 2
            if length == 0 { break }
            guard bytes.count - at >= length + 2 else {
                if hasEnded { message.body += bytes[at...].prefix(length) }
                return cut()
            }
            message.body += bytes[at..<at + length]
            at += length + 2
        }
        while true {
            guard let lineEnd = crlf(bytes, from: at) else { return cut() }
            defer { at = lineEnd + 2 }
            if lineEnd == at { return true }
            message.trailers.append(field(String(decoding: bytes[at..<lineEnd], as: UTF8.self)))
        }
    }

    private static func endOfHead(_ bytes: [UInt8], from start: Int) -> Int? {
        var at = start
        while let line = crlf(bytes, from: at) {
            if line == at, at > start { return line + 2 }
            at = line + 2
        }
        return nil
    }

    private static func crlf(_ bytes: [UInt8], from start: Int) -> Int? {
        var at = start
        while at + 1 < bytes.count {
            if bytes[at] == 13, bytes[at + 1] == 10 { return at }
            at += 1
        }
        return nil
    }

    private static func lines(_ head: ArraySlice<UInt8>) -> [String] {
        var lines: [String] = []
        var line: [UInt8] = []
        for byte in head {
            if byte == 10 {
                if line.last == 13 { line.removeLast() }
                if !line.isEmpty { lines.append(String(decoding: line, as: UTF8.self)) }
                line = []
            } else {
                line.append(byte)
            }
        }
        return lines
    }

    private static func field(_ line: String) -> (name: String, value: String) {
        guard let colon = line.firstIndex(of: ":") else { return (line, "") }
        let value = line[line.index(after: colon)...].drop { $0 == " " }
        return (String(line[..<colon]), String(value))
    }
}

/// Bytes as a failing row shows them: text as it is, the rest escaped, what is long by its length and a sum.
func printable(_ bytes: some Collection<UInt8>) -> String {
    guard bytes.count <= 2048 else {
        var sum: UInt32 = 1
        for byte in bytes { sum = sum &* 31 &+ UInt32(byte) }
        return "(\(bytes.count) bytes, sum \(sum))"
    }
    let text = String(decoding: bytes, as: UTF8.self)
    var out = "\""
    for character in text.unicodeScalars {
        switch character.value {
        case 13: out += "\\r"
        case 10: out += "\\n"
        case 0..<32, 127, 0xFFFD: out += "\\{\(character.value)}"
        default: out.unicodeScalars.append(character)
        }
    }
    return out + "\""
}
