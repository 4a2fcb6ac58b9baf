import Bytes
import TLS

/// A request with its body complete, as a handler gets it.
public struct HTTPRequest: Sendable {
    public var method: String
    /// What stood in the request line, normally path and query: `/api/v1/pods?limit=5`. Never empty.
    public var target: String
    /// "http" or "https".
    public var scheme: String
    /// The host asked for, from `Host` or `:authority`, port included. Empty only with HTTP/1.0.
    public var authority: String
    public var version: HTTPVersion
    public var headers: HTTPHeaders
    public var body: [UInt8]
    public var trailers: HTTPHeaders
    public var peer: SocketAddress
    /// The client's side of TLS; nil on a plain connection.
    public var tls: TLSSession.Peer?

    public init(
        method: String, target: String, scheme: String = "http", authority: String = "",
        version: HTTPVersion = .http11, headers: HTTPHeaders = HTTPHeaders(), body: [UInt8] = [],
        trailers: HTTPHeaders = HTTPHeaders(), peer: SocketAddress, tls: TLSSession.Peer? = nil
    ) {
        self.method = method
        self.target = target
        self.scheme = scheme
        self.authority = authority
        self.version = version
        self.headers = headers
        self.body = body
        self.trailers = trailers
        self.peer = peer
        self.tls = tls
    }

    /// The path as sent, still percent-encoded, without query.
    public var path: Substring { target[..<queryStart] }

    /// Where the question mark is. By bytes: a request line has no characters of several, and looking for their bounds
    /// took longer than all else.
    private var queryStart: String.Index { target.utf8.firstIndex(of: UInt8(ascii: "?")) ?? target.endIndex }

    /// The query as sent, without its question mark; empty if there is none.
    public var query: Substring {
        let start = queryStart
        return start == target.endIndex ? "" : target[target.utf8.index(after: start)...]
    }

    /// The segments between the slashes of the path, decoded; a trailing slash does not make an empty one. Nil if an
    /// escape is malformed or decodes to text that is not UTF-8.
    public var pathSegments: [String]? {
        var segments: [String] = []
        for part in path.utf8.split(separator: UInt8(ascii: "/")) {
            guard let decoded = PercentEncoding.decode(Substring(part)) else { return nil }
            segments.append(decoded)
        }
        return segments
    }

    /// What follows so many segments of the path, as it was sent: a path with its leading slash, and the query.
    public func remainder(after segments: Int) -> String {
        var rest = path.utf8[...]
        for _ in 0..<segments {
            rest = rest.drop { $0 == UInt8(ascii: "/") }
            rest = rest.drop { $0 != UInt8(ascii: "/") }
        }
        let text = rest.isEmpty ? "/" : String(Substring(rest))
        return query.isEmpty ? text : "\(text)?\(query)"
    }

    /// The query's pairs in order, decoded, `+` as a space. A pair without `=` has an empty value; malformed escapes stay.
    public var queryItems: [(name: String, value: String)] {
        query.utf8.split(separator: UInt8(ascii: "&")).map { pair in
            let equals = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            let name = Substring(pair[..<equals])
            let value = equals == pair.endIndex ? "" : Substring(pair[pair.index(after: equals)...])
            return (
                PercentEncoding.decode(name, plusIsSpace: true) ?? String(name),
                PercentEncoding.decode(value, plusIsSpace: true) ?? String(value)
            )
        }
    }

    /// The first value of a query parameter, decoded.
    public func query(_ name: String) -> String? { queryItems.first { $0.name == name }?.value }
}
