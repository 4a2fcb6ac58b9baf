import Bytes
import Reactor

/// A client that sends bytes as they are and takes answers apart.
final class RawClient: Sendable {
    let connection: StreamConnection

    init(_ connection: StreamConnection) { self.connection = connection }

    func send(_ text: String) async throws { try await connection.write(Array(text.utf8)) }

    /// One answer, headers and whole body. Bytes behind it stay unread with the next call's.
    func response(toHead: Bool = false) async throws -> RawResponse {
        var text = ""
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            if let length = WireMessage.length(text, isResponse: true, toHead: toHead) {
                return RawResponse(String(decoding: text.utf8.prefix(length), as: UTF8.self))
            }
            guard ContinuousClock.now < deadline else { throw Unexpected("no answer after: \(text)") }
            let more = try await connection.read()
            guard !more.isEmpty else {
                guard text.contains("\r\n\r\n") else { throw Unexpected("the connection ended after: \(text)") }
                return RawResponse(text)
            }
            text += String(decoding: more, as: UTF8.self)
        }
    }

    /// So many bytes.
    func read(_ count: Int) async throws -> String {
        String(decoding: try await connection.read(exactly: count), as: UTF8.self)
    }

    /// All that comes until the proxy closes.
    func everything() async throws -> String {
        String(decoding: try await connection.readToEnd(limit: 64 << 20), as: UTF8.self)
    }
}

/// An answer taken apart.
struct RawResponse: CustomStringConvertible {
    let text: String
    let status: Int
    /// In order, names in lower case.
    let headers: [(name: String, value: String)]
    let body: String

    init(_ text: String) {
        self.text = text
        let parts = WireMessage.split(text)
        let lines = parts.head.components("\r\n")
        status = lines.first.flatMap { line in line.split(separator: " ").dropFirst().first.flatMap { Int($0) } } ?? 0
        headers = lines.dropFirst().compactMap { line in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            return (line[..<colon].lowercased(), String(value))
        }
        body = parts.body
    }

    subscript(name: String) -> String? { headers.first { $0.name == name }?.value }

    var description: String { text }
}

/// Where an HTTP/1 message ends: as simple as a test's peer needs it, and independent of the parser under test.
enum WireMessage {
    static func split(_ text: String) -> (head: String, body: String) {
        let parts = text.components("\r\n\r\n", limit: 1)
        return (parts[0], parts.count > 1 ? parts[1] : "")
    }

    /// nil while it is not complete.
    static func length(_ text: String, isResponse: Bool, toHead: Bool = false) -> Int? {
        guard text.contains("\r\n\r\n") else { return nil }
        let (head, body) = split(text)
        let start = head.utf8.count + 4
        let lower = head.lowercased()
        let status = Int(head.split(separator: " ").dropFirst().first ?? "") ?? 0
        if isResponse, toHead || status == 204 || status == 304 || status / 100 == 1 { return start }
        if lower.contains("transfer-encoding: chunked") {
            guard let end = body.components("0\r\n\r\n", limit: 1).first, end.utf8.count < body.utf8.count else {
                return nil
            }
            return start + end.utf8.count + 5
        }
        if isResponse, status == 101 { return start }
        guard let line = lower.components("\r\n").first(where: { $0.hasPrefix("content-length:") }) else {
            return isResponse ? nil : start
        }
        let count = Int(line.dropFirst(15).drop { $0 == " " }) ?? 0
        return body.utf8.count >= count ? start + count : nil
    }
}

extension String {
    /// Pieces between separators, at most `limit` cuts.
    func components(_ separator: String, limit: Int = .max) -> [String] {
        var pieces: [String] = []
        var rest = Array(utf8)[...]
        let mark = Array(separator.utf8)
        while pieces.count < limit {
            guard rest.count >= mark.count,
                let at = (rest.startIndex...(rest.endIndex - mark.count)).first(where: {
                    rest[$0..<($0 + mark.count)].elementsEqual(mark)
                })
            else { break }
            pieces.append(String(decoding: rest[..<at], as: UTF8.self))
            rest = rest[(at + mark.count)...]
        }
        pieces.append(String(decoding: rest, as: UTF8.self))
        return pieces
    }
}
