import CNetlink
import Glibc
import Reactor

/// Which part of the kernel a netlink socket speaks to.
public enum NetlinkProtocol: CInt, Sendable {
    case route = 0
    case socketDiagnostics = 4
    case netfilter = 12
}

/// An open netlink socket; closed with the object. It stays in the network namespace in which it was opened.
public final class NetlinkDescriptor: Sendable {
    /// Large enough for any datagram that the kernel makes: dumps come in at most 32 KiB, notifications in 64 KiB.
    static let datagramLimit = 1 << 18
    /// Requests of this size go out in one piece; the kernel charges it only while it is sent. 100 000 nftables
    /// elements are about 8 MB.
    static let sendBuffer: CInt = 64 << 20
    /// One answer a request, or notifications of a burst, wait here. Beyond it the kernel drops and says ENOBUFS.
    static let receiveBuffer: CInt = 32 << 20

    public let rawValue: CInt
    private let isNonblocking: Bool

    /// In the calling thread's namespace. `groups` are multicast group numbers to listen to.
    init(opening family: NetlinkProtocol, groups: [UInt32], nonblocking: Bool, timeout seconds: Int)
        throws(NetlinkError)
    {
        isNonblocking = nonblocking
        let type = Int32(SOCK_RAW.rawValue) | O_CLOEXEC | (nonblocking ? O_NONBLOCK : 0)
        rawValue = socket(AF_NETLINK, type, family.rawValue)
        guard rawValue >= 0 else { throw .last("open a netlink socket") }
        set(SOL_SOCKET, SO_SNDBUFFORCE, Self.sendBuffer, orElse: SO_SNDBUF)
        set(SOL_SOCKET, SO_RCVBUFFORCE, Self.receiveBuffer, orElse: SO_RCVBUF)
        let netlink: CInt = 270  // SOL_NETLINK
        set(netlink, 10, 1)  // NETLINK_CAP_ACK: answers do not repeat the request
        set(netlink, 11, 1)  // NETLINK_EXT_ACK: answers say why
        if family == .route { set(netlink, 12, 1) }  // NETLINK_GET_STRICT_CHK: dumps can be filtered
        if seconds > 0 {
            var limit = timeval(tv_sec: seconds, tv_usec: 0)
            setsockopt(rawValue, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        var address = sockaddr_nl()
        address.nl_family = sa_family_t(AF_NETLINK)
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(rawValue, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
            }
        }
        guard bound == 0 else {
            let error = NetlinkError.last("bind a netlink socket")
            close(rawValue)
            throw error
        }
        for group in groups {
            var group = group
            guard setsockopt(rawValue, netlink, 1, &group, 4) == 0 else {  // NETLINK_ADD_MEMBERSHIP
                let error = NetlinkError.last("listen to netlink group \(group)")
                close(rawValue)
                throw error
            }
        }
    }

    deinit { close(rawValue) }

    /// The port that the kernel chose for us; 0 when it cannot be read.
    var portID: UInt32 {
        var address = sockaddr_nl()
        var size = socklen_t(MemoryLayout<sockaddr_nl>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(rawValue, $0, &size) }
        }
        return status == 0 ? address.nl_pid : 0
    }

    private func set(_ level: CInt, _ name: CInt, _ value: CInt, orElse fallback: CInt? = nil) {
        var value = value
        if setsockopt(rawValue, level, name, &value, socklen_t(MemoryLayout<CInt>.size)) != 0, let fallback {
            setsockopt(rawValue, level, fallback, &value, socklen_t(MemoryLayout<CInt>.size))
        }
    }

    /// One datagram to the kernel, which acts on it before this returns.
    func send(_ bytes: UnsafeRawBufferPointer, subject: @autoclosure () -> String) throws(NetlinkError) {
        while true {
            let sent = Glibc.send(rawValue, bytes.baseAddress, bytes.count, 0)
            if sent == bytes.count { return }
            if sent >= 0 { throw NetlinkError(errno: EMSGSIZE, subject: subject()) }
            guard errno == EINTR else { throw .last(subject()) }
        }
    }

    /// One datagram from the kernel into `buffer`; nil when none is there and the socket, or the caller, does not wait.
    func receive(
        into buffer: UnsafeMutableRawBufferPointer, waiting: Bool = true, subject: @autoclosure () -> String
    ) throws(NetlinkError) -> UnsafeRawBufferPointer? {
        let flags = CInt(MSG_TRUNC) | (waiting ? 0 : CInt(MSG_DONTWAIT))
        while true {
            var peer = sockaddr_nl()
            var size = socklen_t(MemoryLayout<sockaddr_nl>.size)
            let count = withUnsafeMutablePointer(to: &peer) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(rawValue, buffer.baseAddress, buffer.count, flags, $0, &size)
                }
            }
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN, !waiting || isNonblocking { return nil }
                throw .last(subject())
            }
            // Any process may send to our port; only the kernel has port 0.
            guard peer.nl_pid == 0 else { continue }
            guard count <= buffer.count else { throw NetlinkError(errno: ENOBUFS, subject: subject()) }
            return UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count])
        }
    }
}

/// Opens in the namespace behind `namespace` (borrowed), else in the calling thread's.
func openNetlink(
    _ family: NetlinkProtocol, namespace: CInt?, groups: [UInt32] = [], nonblocking: Bool = false, timeout: Int = 0
) throws(NetlinkError) -> NetlinkDescriptor {
    guard let namespace else {
        return try NetlinkDescriptor(opening: family, groups: groups, nonblocking: nonblocking, timeout: timeout)
    }
    do {
        return try NetworkNamespace.withEntered(namespace) {
            try NetlinkDescriptor(opening: family, groups: groups, nonblocking: nonblocking, timeout: timeout)
        }
    } catch {
        throw NetlinkError("open a netlink socket in a network namespace", causedBy: error)
    }
}
