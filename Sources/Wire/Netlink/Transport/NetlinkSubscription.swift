import Glibc

/// What a subscription has to tell.
public enum NetlinkNotification {
    /// Valid within the visit.
    case message(NetlinkMessage)
    /// The kernel dropped some (ENOBUFS): whoever follows the state must read all of it again.
    case lost
}

/// A socket that listens to multicast groups of a netlink family.
///
/// Not blocking: `descriptor` goes to an event loop (readable: call `drain`), or `wait` serves a plain thread.
/// Belongs to one thread, or loop, at a time.
public final class NetlinkSubscription {
    /// A burst is handed over in shares of so many datagrams, so that a loop's other work gets its turn.
    public static let datagramsPerTurn = 64

    private let socket: NetlinkDescriptor
    private let buffer: UnsafeMutableRawBufferPointer

    /// Opens in the calling thread's namespace, or in the one behind `namespace` (an open descriptor, borrowed).
    public init(_ family: NetlinkProtocol, groups: [UInt32], namespace: CInt? = nil) throws(NetlinkError) {
        socket = try openNetlink(family, namespace: namespace, groups: groups, nonblocking: true)
        buffer = .allocate(byteCount: NetlinkDescriptor.datagramLimit, alignment: 16)
    }

    deinit { buffer.deallocate() }

    /// Readable when notifications wait. Stays this object's.
    public var descriptor: CInt { socket.rawValue }

    /// Hands over what waits; false when more may wait. Throws when the socket is broken.
    @discardableResult
    public func drain(_ visit: (NetlinkNotification) -> Void) throws(NetlinkError) -> Bool {
        for _ in 0..<Self.datagramsPerTurn {
            let bytes: UnsafeRawBufferPointer?
            do throws(NetlinkError) {
                bytes = try socket.receive(into: buffer, subject: "receive netlink notifications")
            } catch  where error.errno == ENOBUFS {
                visit(.lost)
                continue
            }
            guard let bytes else { return true }
            for message in NetlinkMessages(bytes)
            where message.type >= NetlinkMessage.Control.firstOfFamilies { visit(.message(message)) }
        }
        return false
    }

    /// Waits until something is there to drain; false when `milliseconds` passed (negative: without end).
    public func wait(milliseconds: CInt) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }
}
