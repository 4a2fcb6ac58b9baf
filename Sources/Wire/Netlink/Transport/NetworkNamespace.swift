import CNetlink
import Glibc

/// A network namespace that is held open: it lives at least as long as this object.
///
/// Namespaces belong to threads. `run` therefore works on a thread of its own, which ends afterwards, so that no
/// thread of the caller is ever left in a foreign namespace. A socket stays where it was opened.
public final class NetworkNamespace: Sendable {
    /// For `setns`, `IFLA_NET_NS_FD` and the like. Stays this object's.
    public let descriptor: CInt

    /// Takes over an open descriptor of a namespace.
    public init(adopting descriptor: CInt) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    // MARK: Finding and making

    /// The one at a path: `/run/netns/NAME`, `/proc/PID/ns/net`, or a CNI runtime's.
    public static func open(_ path: String) throws(NetlinkError) -> NetworkNamespace {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .last("open network namespace \(path)") }
        // Any file opens; only a namespace answers NS_GET_NSTYPE with CLONE_NEWNET.
        guard ioctl(descriptor, 0xB703) == 0x4000_0000 else {
            close(descriptor)
            throw NetlinkError(errno: EINVAL, subject: "open network namespace \(path)", text: "it is none")
        }
        return NetworkNamespace(adopting: descriptor)
    }

    /// The calling thread's.
    public static func current() throws(NetlinkError) -> NetworkNamespace { try open("/proc/thread-self/ns/net") }

    /// A new one without a name: gone with the last descriptor, process or socket in it.
    public static func create() throws(NetlinkError) -> NetworkNamespace {
        try onThread { () throws(NetlinkError) in
            guard cnetlink_new_network_namespace() == 0 else { throw .last("make a network namespace") }
            return try current()
        }
    }

    /// A new one that outlives this process under a path, as `ip netns add` makes them: a bind mount on an empty file.
    public static func create(pinnedAt path: String) throws(NetlinkError) -> NetworkNamespace {
        let file = Glibc.open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o444)
        guard file >= 0 else { throw .last("make network namespace \(path)") }
        close(file)
        do throws(NetlinkError) {
            return try onThread { () throws(NetlinkError) in
                guard cnetlink_new_network_namespace() == 0 else { throw .last("make network namespace \(path)") }
                guard mount("/proc/thread-self/ns/net", path, "none", UInt(MS_BIND), nil) == 0 else {
                    throw .last("pin network namespace \(path)")
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

    /// The inode that names the namespace in `/proc` and `lsns`.
    public var inode: UInt64 {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? UInt64(status.st_ino) : 0
    }

    // MARK: Acting inside

    /// Runs `body` inside, on a thread of its own, and waits for it.
    public func run<Value>(_ body: () throws -> Value) throws -> Value {
        let result: Result<Value, any Error> = try Self.onThread(in: descriptor) { () throws(NetlinkError) in
            Result { try body() }
        }
        return try result.get()
    }

    /// Runs `body` on a fresh thread, after entering `namespace` if one is given, and waits for it.
    static func onThread<Value>(in namespace: CInt? = nil, _ body: () throws(NetlinkError) -> Value)
        throws(NetlinkError) -> Value
    {
        try withoutActuallyEscaping(body) { (body) throws(NetlinkError) in
            let errand = Errand<Value>(namespace: namespace, body: body)
            let argument = Unmanaged.passRetained(errand as AnyErrand)
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { argument in
                    guard let argument else { return nil }
                    Unmanaged<AnyErrand>.fromOpaque(argument).takeRetainedValue().run()
                    return nil
                }, argument.toOpaque())
            guard status == 0 else {
                argument.release()
                throw NetlinkError(errno: status, subject: "start a thread for a network namespace")
            }
            pthread_join(thread, nil)
            guard let result = errand.result else {
                throw NetlinkError(errno: ESRCH, subject: "run in a network namespace")
            }
            return try result.get()
        }
    }
}

/// What crosses to the thread. Only the thread touches it until it was joined.
private class AnyErrand {
    func run() {}
}

private final class Errand<Value>: AnyErrand {
    let namespace: CInt?
    let body: () throws(NetlinkError) -> Value
    var result: Result<Value, NetlinkError>?

    init(namespace: CInt?, body: @escaping () throws(NetlinkError) -> Value) {
        self.namespace = namespace
        self.body = body
    }

    override func run() {
        result = Result { () throws(NetlinkError) in
            if let namespace, cnetlink_enter_network_namespace(namespace) != 0 {
                throw .last("enter a network namespace")
            }
            return try body()
        }
    }
}
