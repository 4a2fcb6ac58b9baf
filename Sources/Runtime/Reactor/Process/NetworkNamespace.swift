import CLinux
import Glibc
import Synchronization

/// Enters a network namespace on a thread made for it, so that no other thread ever leaves its own.
public enum NetworkNamespace {
    /// Runs `body` inside and answers its result; the caller waits. A socket made inside stays there for its life.
    /// The descriptor is of a namespace file (`/proc/<pid>/ns/net`, `/run/netns/<name>`) and stays the caller's.
    public static func withEntered<R: Sendable>(_ fd: CInt, _ body: @Sendable () throws -> R) throws -> R {
        try onOwnThread {
            _ = try checked("setns", "network namespace") { setns(fd, CLONE_NEWNET) }
            return try body()
        }
    }

    /// As above, by path.
    public static func withEntered<R: Sendable>(path: String, _ body: @Sendable () throws -> R) throws -> R {
        let fd = try open(path)
        defer { Glibc.close(fd) }
        return try withEntered(fd, body)
    }

    /// A descriptor for a namespace file; the caller closes it.
    public static func open(_ path: String) throws(SystemError) -> CInt {
        try checked("open", path) { Glibc.open(path, O_RDONLY | O_CLOEXEC) }
    }

    /// Makes a new, empty network namespace (loopback is down) that lives as long as the descriptor, or a socket or
    /// process in it.
    public static func make() throws -> CInt {
        try onOwnThread {
            _ = try checked("unshare", "network namespace") { unshare(CLONE_NEWNET) }
            return try open("/proc/thread-self/ns/net")
        }
    }

    /// Runs `body` on a fresh thread and waits: for what changes a thread for good (namespaces).
    public static func onOwnThread<R: Sendable>(_ body: @Sendable () throws -> R) throws -> R {
        let outcome = Mutex<Result<R, any Error>?>(nil)
        // The thread ends before this function returns, so the borrowed closure and mutex outlive it.
        return try withoutActuallyEscaping(body) { body in
            try withUnsafePointer(to: outcome) { outcome in
                nonisolated(unsafe) let outcome = outcome
                try joined {
                    let result = Result { try body() }
                    outcome.pointee.withLock { $0 = result }
                }
                guard let result = outcome.pointee.withLock({ $0 }) else {
                    throw SystemError(errno: EAGAIN, call: "pthread_create")
                }
                return try result.get()
            }
        }
    }

    /// Starts a thread, and waits for its end.
    private static func joined(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        final class Start: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        let start = Unmanaged.passRetained(Start(body))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { context in
                if let context { Unmanaged<Start>.fromOpaque(context).takeRetainedValue().body() }
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            start.release()
            throw SystemError(errno: result, call: "pthread_create")
        }
        pthread_join(thread, nil)
    }
}
