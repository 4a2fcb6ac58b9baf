import Bytes
import Glibc
import Reactor

/// Addresses and ports of the machine that tests run on.
package enum OwnAddress {
    /// This machine's own, because an EndpointSlice may not name the loopback's; nil where there is no other.
    package static let v4: String? = {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        // TEST-NET-1 (RFC 5737): reached by the default route, and nothing is sent to it.
        let bound = name(of: descriptor, by: connect, 0xC000_0201, port: 9)
        return bound.map { "\(IPAddress(v4: UInt32(bigEndian: $0.sin_addr.s_addr)))" }
    }()

    /// A port that nobody listens on now, and that no connection is given: between this and its use others connect.
    package static func freePort() throws -> UInt16 {
        var tries = 0
        while true {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            defer { close(descriptor) }
            // Below those of connections (`ip_local_port_range`) and of NodePorts.
            let port = UInt16.random(in: 20_000..<30_000)
            if name(of: descriptor, by: bind, 0x7F00_0001, port: port) != nil { return port }
            tries += 1
            guard tries < 100 else { throw SystemError(errno: errno, call: "bind") }
        }
    }

    private static func name(
        of descriptor: CInt, by call: (CInt, UnsafePointer<sockaddr>, socklen_t) -> CInt, _ host: UInt32, port: UInt16
    ) -> sockaddr_in? {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = host.bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isKnown = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                call(descriptor, $0, size) == 0 && getsockname(descriptor, $0, &size) == 0
            }
        }
        return isKnown ? address : nil
    }
}
