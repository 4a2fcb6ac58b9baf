// Admin: the pages of the admin port, as people and programs know them from Envoy. Reads the proxy and tells; what changes
// it is asked of `ProxyServer`.

/// What was asked of the admin port.
struct AdminRequest: Sendable {
    let method: String
    let path: String
    /// In the order of the query, decoded.
    let parameters: [(name: String, value: String)]

    init(method: String, target: String) {
        self.method = method
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = String(parts[0])
        let query = parts.count > 1 ? parts[1] : ""
        parameters = query.split(separator: "&").map { pair in
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (Self.decoded(halves[0]), halves.count > 1 ? Self.decoded(halves[1]) : "")
        }
    }

    /// The value of a parameter; "" for one that stands by itself, nil for one that is absent.
    subscript(name: String) -> String? { parameters.first { $0.name == name }?.value }

    func hasParameter(_ name: String) -> Bool { self[name] != nil }

    private static func decoded(_ text: Substring) -> String {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// What is answered.
struct AdminAnswer: Sendable {
    var status = 200
    var contentType = "text/plain; charset=UTF-8"
    var body: String

    init(_ body: String, status: Int = 200) {
        self.body = body
        self.status = status
    }

    static let ok = AdminAnswer("OK\n")

    static func json(_ text: String) -> AdminAnswer {
        var answer = AdminAnswer(text)
        answer.contentType = "application/json"
        return answer
    }
}
