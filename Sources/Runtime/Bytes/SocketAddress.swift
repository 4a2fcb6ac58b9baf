/// Address, port and scope of an IP socket: a plain value without reference, for per-packet use.
public struct IPEndpoint: Hashable, Sendable {
    public var address: IPAddress
    public var port: Port
    /// The interface index that a link-local IPv6 address belongs to; 0 otherwise.
    public var scope: UInt32

    @inlinable
    public init(_ address: IPAddress, _ port: Port, scope: UInt32 = 0) {
        self.address = address
        self.port = port
        self.scope = scope
    }
}

extension IPEndpoint: LosslessStringConvertible {
    /// `10.0.0.1:80` or `[::1]:80`.
    public init?(_ text: String) {
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")),
            let port = Port(text[text.utf8.index(after: colon)...])
        else { return nil }
        var host = text[..<colon]
        if host.utf8.first == UInt8(ascii: "["), host.utf8.last == UInt8(ascii: "]") {
            host = host.dropFirst().dropLast()
            guard let address = IPAddress(host), address.family == .v6 else { return nil }
            self.init(address, port)
        } else {
            guard let address = IPAddress(host), address.family == .v4 else { return nil }
            self.init(address, port)
        }
    }

    public var description: String { address.family == .v4 ? "\(address):\(port)" : "[\(address)]:\(port)" }
}

/// Where a socket is bound or whom it speaks to.
public enum SocketAddress: Hashable, Sendable {
    case ip(IPAddress, Port, scope: UInt32 = 0)
    /// A path in the file system, at most 107 bytes (`sockaddr_un`); empty for an unnamed peer.
    case unix(path: String)
    /// A name in Linux' abstract namespace, without the leading zero byte.
    case abstract(name: String)
    /// A netlink port (0 is the kernel) and multicast group mask.
    case netlink(port: UInt32, groups: UInt32 = 0)

    @inlinable
    public init(_ endpoint: IPEndpoint) { self = .ip(endpoint.address, endpoint.port, scope: endpoint.scope) }

    @inlinable
    public var endpoint: IPEndpoint? {
        if case .ip(let address, let port, let scope) = self { IPEndpoint(address, port, scope: scope) } else { nil }
    }

    @inlinable public var address: IPAddress? { endpoint?.address }
    @inlinable public var port: Port? { endpoint?.port }
}

extension SocketAddress: LosslessStringConvertible {
    /// `10.0.0.1:80`, `[::1]:80`, `unix:/run/a.sock`, `unix:@name` (abstract), or a bare absolute path.
    public init?(_ text: String) {
        if let endpoint = IPEndpoint(text) {
            self.init(endpoint)
        } else if text.hasPrefix("unix:@") {
            self = .abstract(name: String(text.dropFirst(6)))
        } else if text.hasPrefix("unix://") {
            self = .unix(path: String(text.dropFirst(7)))
        } else if text.hasPrefix("unix:") {
            self = .unix(path: String(text.dropFirst(5)))
        } else if text.hasPrefix("/") {
            self = .unix(path: text)
        } else {
            return nil
        }
    }

    public var description: String {
        switch self {
        case .ip(let address, let port, let scope): IPEndpoint(address, port, scope: scope).description
        case .unix(let path): "unix:\(path)"
        case .abstract(let name): "unix:@\(name)"
        case .netlink(let port, let groups): "netlink:\(port)/\(groups)"
        }
    }
}
