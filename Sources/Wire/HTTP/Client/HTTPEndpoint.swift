import Bytes

/// Where a server is: `https://10.0.0.1:6443`, `http://localhost`, `unix:/run/x.sock`. And how it is spoken to.
public struct HTTPEndpoint: Hashable, Sendable, CustomStringConvertible {
    public enum Place: Hashable, Sendable {
        /// A name or an address in text form, without brackets.
        case host(String, port: UInt16)
        case unix(path: String)
    }

    /// Which HTTP is spoken.
    public enum Dialect: Hashable, Sendable {
        /// HTTP/2 where TLS came to it, else HTTP/1.
        case negotiated
        /// Whatever TLS came to; HTTP/2 with prior knowledge (RFC 9113 §3.3).
        case http1, http2
    }

    public var place: Place
    public var isSecure: Bool
    /// What TLS asks for, and checks where its context does so: the host, unless it is said otherwise. nil for nothing.
    public var serverName: String?
    public var dialect = Dialect.negotiated
    /// What TLS offers by ALPN instead of its context's own protocols; empty for those.
    public var protocols: [String] = []
    /// A path in front of every request's, without a slash at its end; usually empty.
    public var basePath: String
    /// The file of the network namespace that connections are in; nil: this process's own.
    public var networkNamespace: String?
    /// The address that connections leave from; nil: the one that the route to the server has.
    public var source: IPAddress?

    public init(host: String, port: UInt16, isSecure: Bool = false, basePath: String = "") {
        place = .host(host, port: port)
        self.isSecure = isSecure
        self.basePath = basePath
        serverName = host
    }

    public init(unixPath: String) {
        place = .unix(path: unixPath)
        isSecure = false
        basePath = ""
    }

    /// An address that is bound or known.
    public init?(_ address: SocketAddress, isSecure: Bool = false) {
        switch address {
        case .ip(let ip, let port, _): self.init(host: ip.description, port: port.rawValue, isSecure: isSecure)
        case .unix(let path):
            self.init(unixPath: path)
            self.isSecure = isSecure
        default: return nil
        }
    }

    /// Reads a URL; nil if it is not http, https or unix, or has no host, or user information, query or fragment.
    public init?(_ url: String) {
        if url.hasPrefix("unix:") {
            self.init(unixPath: String(url.dropFirst(url.hasPrefix("unix://") ? 7 : 5)))
            return
        }
        let secure: Bool
        var rest: Substring
        if url.lowercased().hasPrefix("https://") {
            (secure, rest) = (true, url.dropFirst(8))
        } else if url.lowercased().hasPrefix("http://") {
            (secure, rest) = (false, url.dropFirst(7))
        } else {
            return nil
        }
        guard !rest.contains(where: { $0 == "?" || $0 == "#" || $0 == "@" || $0.isWhitespace }) else { return nil }
        var path = ""
        if let slash = rest.firstIndex(of: "/") {
            path = String(rest[slash...])
            rest = rest[..<slash]
            while path.hasSuffix("/") { path.removeLast() }
        }
        var host = rest
        var port: UInt16 = secure ? 443 : 80
        if rest.hasPrefix("[") {
            guard let end = rest.firstIndex(of: "]") else { return nil }
            host = rest[rest.index(after: rest.startIndex)..<end]
            let tail = rest[rest.index(after: end)...]
            if !tail.isEmpty {
                guard tail.hasPrefix(":"), let number = UInt16(tail.dropFirst()) else { return nil }
                port = number
            }
        } else if let colon = rest.lastIndex(of: ":") {
            guard let number = UInt16(rest[rest.index(after: colon)...]) else { return nil }
            port = number
            host = rest[..<colon]
        }
        guard !host.isEmpty else { return nil }
        self.init(host: String(host), port: port, isSecure: secure, basePath: path)
    }

    /// What goes into `Host`: the port only where it is not the scheme's own.
    public var authority: String {
        switch place {
        case .unix: return "localhost"
        case .host(let host, let port):
            let name = host.contains(":") ? "[\(host)]" : host
            return port == (isSecure ? 443 : 80) ? name : "\(name):\(port)"
        }
    }

    public var description: String {
        switch place {
        case .unix(let path): "unix:\(path)"
        case .host: "\(isSecure ? "https" : "http")://\(authority)\(basePath)"
        }
    }
}
