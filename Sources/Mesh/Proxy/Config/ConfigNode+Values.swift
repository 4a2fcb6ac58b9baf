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
    /// An `envoy.config.core.v3.Address` to connect to.
    init(_ node: ConfigNode) throws(ConfigError) { self = try ListenAddress(node).address }
}

/// An `envoy.config.core.v3.Address` with what only listeners care for.
struct ListenAddress {
    var address: SocketAddress
    /// An IPv6 socket takes IPv4 connections, too.
    var takesIPv4 = false
    /// Of a Unix socket's file; 0 for the default.
    var mode: UInt32 = 0

    init(_ node: ConfigNode) throws(ConfigError) {
        switch node.choice("address") {
        case "socket_address":
            guard let socket = node.message("socket_address") else { throw node.error("socket_address is missing") }
            address = try SocketAddress(socketAddress: socket)
            takesIPv4 = socket.bool("ipv4_compat")
        case "pipe":
            guard let pipe = node.message("pipe") else { throw node.error("pipe is missing") }
            let path = pipe.string("path")
            address = path.hasPrefix("@") ? .abstract(name: String(path.dropFirst())) : .unix(path: path)
            mode = pipe.uint32("mode")
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
