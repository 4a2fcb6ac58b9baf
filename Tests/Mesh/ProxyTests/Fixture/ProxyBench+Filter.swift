/// A request and what is seen of its way through a chain: one row of a filter's table.
struct FilterRow: Sendable, CustomStringConvertible {
    /// Method and target.
    var line: String
    /// Lines of the head, each ended by CRLF.
    var headers = ""
    var body = ""
    var status: Int
    /// Of the answer, or nil for the upstream's.
    var answer: String?

    init(_ line: String, _ headers: String, _ status: Int, _ answer: String? = nil) {
        (self.line, self.headers, self.status, self.answer) = (line, headers, status, answer)
    }

    init(_ line: String, body: String = "", _ status: Int, _ answer: String? = nil) {
        (self.line, self.body, self.status, self.answer) = (line, body, status, answer)
    }

    var text: String {
        let length = body.isEmpty ? "" : "content-length: \(body.utf8.count)\r\n"
        return "\(line) HTTP/1.1\r\nhost: a\r\n\(headers)\(length)\r\n\(body)"
    }

    var description: String { "\(line) \(headers.split(separator: "\r\n").joined(separator: ", ")) → \(status)" }
}

extension ProxyBench {
    /// YAML of one `http_filters` entry; `fields` stand behind its type, in flow style.
    static func filter(_ name: String, _ type: String, _ fields: String = "", disabled: Bool = false) -> String {
        """
        - name: envoy.filters.http.\(name)
          disabled: \(disabled)
          typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.\(type)\(fields.isEmpty ? "" : ", \(fields)") }
        """
    }

    /// YAML of a route to `c0` that says something to a filter.
    static func route(_ match: String, _ name: String, _ type: String, _ fields: String = "") -> String {
        """
        - match: { \(match) }
          route: { cluster: c0 }
          typed_per_filter_config: { envoy.filters.http.\(name): { "@type": type.googleapis.com/\(type)\(fields.isEmpty ? "" : ", \(fields)") } }
        """
    }

    static let plainRoute = "- match: { prefix: / }\n  route: { cluster: c0 }"
}
