/// One suspended call of async code into a loop: resumed once, by its result or by cancellation. Touched on its loop only
/// (`@unchecked Sendable` for that reason).
final class LoopWaiter<Value: Sendable>: @unchecked Sendable {
    private var continuation: UnsafeContinuation<Value, any Error>?
    private var isCancelled = false
    /// Called when the task is cancelled while it waits; then the wait ends with `CancellationError`.
    var onCancel: (() -> Void)?

    var isWaiting: Bool { continuation != nil }

    func succeed(_ value: Value) { take()?.resume(returning: value) }

    func fail(_ error: any Error) { take()?.resume(throwing: error) }

    private func take() -> UnsafeContinuation<Value, any Error>? {
        defer {
            continuation = nil
            onCancel = nil
        }
        return continuation
    }

    fileprivate func begin(
        _ continuation: UnsafeContinuation<Value, any Error>, _ body: (LoopWaiter<Value>) -> Void
    ) {
        guard !isCancelled else { return continuation.resume(throwing: CancellationError()) }
        self.continuation = continuation
        body(self)
    }

    fileprivate func cancel() {
        isCancelled = true
        guard isWaiting else { return }
        let cleanUp = onCancel
        // First the answer: what the clean-up closes must not give another.
        fail(CancellationError())
        cleanUp?()
    }
}

extension EventLoop {
    /// Runs `begin` on the loop and suspends until the waiter that it was given is resumed. From any executor.
    func wait<Value: Sendable>(_ begin: @escaping @Sendable (LoopWaiter<Value>) -> Void) async throws -> Value {
        let waiter = LoopWaiter<Value>()
        return try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Value, any Error>) in
                execute { waiter.begin(continuation, begin) }
            }
        } onCancel: {
            execute { waiter.cancel() }
        }
    }
}
