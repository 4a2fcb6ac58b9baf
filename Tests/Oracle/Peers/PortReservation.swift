import Bytes
import Glibc
import Reactor

/// A loopback port that is ours until the reservation ends: bound, so that nobody is given it, and shared by
/// SO_REUSEPORT with the proxy that will listen on it. Nothing listens here: a connection is refused until the proxy does.
final class PortReservation: Sendable {
    let port: UInt16
    private let fd: CInt

    /// `listens`: takes connections and never accepts any beyond the first two; more are not even refused.
    init(listens: Bool = false) throws {
        fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var one: CInt = 1
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<CInt>.size))
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, socklen_t(MemoryLayout<CInt>.size))
        let address = SocketAddress.ip(.loopbackV4, 0)
        let fd = fd
        guard try address.withKernelAddress({ bind(fd, $0, $1) }) == 0 else { throw SystemError.last("bind") }
        if listens, listen(fd, 0) != 0 { throw SystemError.last("listen") }
        var bound = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let named = withUnsafeMutablePointer(to: &bound) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(fd, $0, &length) }
        }
        guard named == 0 else { throw SystemError.last("getsockname") }
        port = UInt16(bigEndian: bound.sin_port)
    }

    deinit { close(fd) }
}
