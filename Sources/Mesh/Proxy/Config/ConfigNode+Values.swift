import Bytes
import Reactor
import XDS

extension ConfigNode {
    /// A duration in nanoseconds, 0 for a negative one; nil when absent.
    func nanoseconds(_ name: String) -> UInt64? { duration(name).map { UInt64(max($0.saturatedNanoseconds, 0)) } }

    func nanoseconds(_ name: String, default absent: UInt64) -> UInt64 { nanoseconds(name) ?? absent }

    /// A `core.v3.Address` that a socket can be bound to or connected with.
    func socketAddress(_ name: String) throws(ConfigError) -> SocketAddress? {
        guard let node = message(name) else { return nil }
        return try SocketAddress(node)
    }
}

extension SocketAddress {
    /// An `envoy.config.core.v3.Address`.
    init(_ node: ConfigNode) throws(ConfigError) {
        switch node.choice("address") {
        case "socket_address":
            guard let socket = node.message("socket_address") else { throw node.error("socket_address is missing") }
            try self.init(socketAddress: socket)
        case "pipe":
            guard let pipe = node.message("pipe") else { throw node.error("pipe is missing") }
            let path = pipe.string("path")
            self = path.hasPrefix("@") ? .abstract(name: String(path.dropFirst())) : .unix(path: path)
            _ = pipe.uint32("mode")
        case let other: throw node.error("address \(other ?? "") is not supported")
        }
    }
}

extension SocketAddress {
    /// A `core.v3.SocketAddress` of an IP address.
    init(socketAddress socket: ConfigNode) throws(ConfigError) {
        if try socket.enumeration("protocol", as: SocketProtocol.self) == .udp {
            throw socket.error("protocol", "UDP is not supported here")
        }
        let text = socket.string("address")
        guard let address = IPAddress(text) else {
            throw socket.error("address", "\"\(text)\" is no IP address")
        }
        guard let port = UInt16(exactly: socket.uint32("port_value")) else {
            throw socket.error("port_value", "must be at most 65535")
        }
        _ = socket.bool("ipv4_compat")
        self = .ip(address, Port(port))
    }
}

enum SocketProtocol: String, ConfigEnum {
    case tcp = "TCP"
    case udp = "UDP"
}
