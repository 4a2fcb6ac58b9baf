import CNetlink
import Glibc
import Reactor

/// A network namespace that is held open: it lives at least as long as this object.
///
/// Namespaces belong to threads. `run` therefore works on a thread of its own, which ends afterwards, so that no
/// thread of the caller is ever left in a foreign namespace. A socket stays where it was opened.
public final class NamespaceHandle: Sendable {
    /// For `setns`, `IFLA_NET_NS_FD` and the like. Stays this object's.
    public let descriptor: CInt

    /// Takes over an open descriptor of a namespace.
    public init(adopting descriptor: CInt) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    // MARK: Finding and making

    /// The one at a path: `/run/netns/NAME`, `/proc/PID/ns/net`, or a CNI runtime's.
    public static func open(_ path: String) throws(NetlinkError) -> NamespaceHandle {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .last("open network namespace \(path)") }
        // Any file opens; only a namespace answers NS_GET_NSTYPE, and ours with CLONE_NEWNET.
        guard ioctl(descriptor, 0xB703) == 0x4000_0000 else {
            close(descriptor)
            throw NetlinkError(errno: EINVAL, subject: "open network namespace \(path)", text: "it is none")
        }
        return NamespaceHandle(adopting: descriptor)
    }

    /// The calling thread's.
    public static func current() throws(NetlinkError) -> NamespaceHandle { try open("/proc/thread-self/ns/net") }

    /// A new one without a name: gone with the last descriptor, process or socket in it.
    public static func create() throws(NetlinkError) -> NamespaceHandle {
        try onOwnThread("make a network namespace") {
            NamespaceHandle(adopting: try NetworkNamespace.make())
        }
    }

    /// A new one that outlives this process under a path, as `ip netns add` makes them: a bind mount on an empty file.
    public static func create(pinnedAt path: String) throws(NetlinkError) -> NamespaceHandle {
        let file = Glibc.open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o444)
        guard file >= 0 else { throw .last("make network namespace \(path)") }
        close(file)
        do throws(NetlinkError) {
            return try onOwnThread("make network namespace \(path)") {
                guard cnetlink_new_network_namespace() == 0 else {
                    throw NetlinkError.last("make network namespace \(path)")
                }
                guard mount("/proc/thread-self/ns/net", path, "none", UInt(MS_BIND), nil) == 0 else {
                    throw NetlinkError.last("pin network namespace \(path)")
                }
                return try current()
            }
        } catch {
            unlink(path)
            throw error
        }
    }

    /// Takes the path away; the namespace itself goes with its last user. Nothing at the path is no error.
    public static func unpin(_ path: String) throws(NetlinkError) {
        // EINVAL: a file on which nothing is mounted, as a crash between the two steps leaves it.
        if umount2(path, CInt(MNT_DETACH)) != 0, errno != EINVAL, errno != ENOENT {
            throw .last("unpin network namespace \(path)")
        }
        if unlink(path) != 0, errno != ENOENT { throw .last("remove \(path)") }
    }

    /// The inode that names the namespace in `/proc` and `lsns`; 0 when it cannot be read.
    public var inode: UInt64 {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? UInt64(status.st_ino) : 0
    }

    // MARK: Acting inside

    /// Runs `body` inside, on a thread of its own, and waits for it.
    public func run<Value: Sendable>(_ body: @Sendable () throws -> Value) throws -> Value {
        try NetworkNamespace.withEntered(descriptor, body)
    }

    private static func onOwnThread<Value: Sendable>(_ subject: String, _ body: @Sendable () throws -> Value)
        throws(NetlinkError) -> Value
    {
        do { return try NetworkNamespace.onOwnThread(body) } catch { throw NetlinkError(subject, causedBy: error) }
    }
}

extension NetlinkError {
    /// One error shape for what a call inside of a namespace can throw.
    init(_ subject: String, causedBy error: any Error) {
        switch error {
        case let error as NetlinkError: self = error
        case let error as SystemError: self.init(errno: error.errno, subject: subject, text: "\(error)")
        default: self.init(errno: EIO, subject: subject, text: "\(error)")
        }
    }
}
