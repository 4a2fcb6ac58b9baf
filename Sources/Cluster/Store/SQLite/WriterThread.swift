import Glibc

/// A thread of its own for what blocks on the disk.
///
/// @unchecked: `handle` is constant; `join` is called once, by whoever took the thread out of its owner.
final class WriterThread: @unchecked Sendable {
    private let handle: pthread_t

    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Starts; `body` is released when it returns.
    init(_ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Body(body)).toOpaque()
        let status = pthread_create(
            &thread, nil,
            { context in
                if let context { Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run() }
                return nil
            }, context)
        precondition(status == 0, "the writer's thread cannot be started: \(String(cString: strerror(status)))")
        handle = thread
    }

    /// Waits for the body to return. Once.
    func join() { pthread_join(handle, nil) }
}
