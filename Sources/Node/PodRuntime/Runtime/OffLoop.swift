import Glibc

/// Runs `body` on a thread of its own, so that it may block or change what belongs to a thread (namespaces, root), and so that the
/// thread's changes end with it.
///
/// A thread costs some 50 µs; this is for work of milliseconds: mounts, namespaces, the OCI runtime.
func offLoop<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        let job = Unmanaged.passRetained(ThreadJob { continuation.resume(with: Result(catching: body)) })
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        let status = pthread_create(
            &thread, &attributes,
            { argument in
                if let argument { Unmanaged<ThreadJob>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, job.toOpaque())
        pthread_attr_destroy(&attributes)
        if status != 0 {
            job.release()
            continuation.resume(throwing: OffLoopError(errno: status))
        }
    }
}

/// The machine gives no more threads.
struct OffLoopError: Error, CustomStringConvertible {
    var errno: Int32
    var description: String { "no thread for node work: \(String(cString: strerror(errno)))" }
}

private final class ThreadJob: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
