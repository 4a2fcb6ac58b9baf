import Bytes
import XDS

/// How a host is probed where that differs from how it serves (`endpoint.health_check_config`).
struct HealthTarget: Sendable, Equatable {
    /// 0 for the host's own.
    var port: UInt16
    var address: SocketAddress?
    /// The authority of probes; empty for what the health check says.
    var hostname: String
    /// It is well without any probe.
    var isDisabled: Bool

    init(_ node: ConfigNode) throws(ConfigError) {
        port = UInt16(clamping: node.uint32("port_value"))
        address = try node.socketAddress("address")
        hostname = node.string("hostname")
        isDisabled = node.bool("disable_active_health_check")
        guard address == nil || port == 0 else {
            throw node.error("port_value", "and an address of its own exclude each other")
        }
    }

    /// - Parameter port: the health check's own (`alt_port`), which stands back behind the host's.
    func address(of host: SocketAddress, port: UInt16?) -> SocketAddress {
        if let address { return address }
        let port = self.port > 0 ? self.port : port
        guard let port, let endpoint = host.endpoint else { return host }
        return .ip(endpoint.address, Port(port))
    }
}
