import Glibc

/// One suspended call of async code into a loop: resumed once, by its result or by cancellation. Touched on its loop only
/// (`@unchecked Sendable` for that reason).
final class LoopWaiter<Value: Sendable>: WaiterLink, @unchecked Sendable {
    private var continuation: UnsafeContinuation<Value, any Error>?
    private var isCancelled = false
    /// Called when the task is cancelled while it waits; then the wait ends with `CancellationError`.
    var onCancel: (() -> Void)?

    var isWaiting: Bool { continuation != nil }

    func succeed(_ value: Value) { take()?.resume(returning: value) }

    func fail(_ error: any Error) { take()?.resume(throwing: error) }

    override func loopDidStop(_ error: SystemError) { fail(error) }

    private func take() -> UnsafeContinuation<Value, any Error>? {
        defer {
            continuation = nil
            onCancel = nil
            leave()
        }
        return continuation
    }

    fileprivate func begin(
        _ continuation: UnsafeContinuation<Value, any Error>, on loop: EventLoop, _ body: (LoopWaiter<Value>) -> Void
    ) {
        guard !isCancelled else { return continuation.resume(throwing: CancellationError()) }
        self.continuation = continuation
        loop.waiters.add(self)
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

/// A waiter's place in its loop's list.
class WaiterLink {
    fileprivate var next: WaiterLink?
    // Unsafe is safe here: a member leaves before its neighbour in front goes, and the list lives as long as the loop.
    fileprivate unowned(unsafe) var previous: WaiterLink?
    fileprivate unowned(unsafe) var list: WaiterList?

    func loopDidStop(_ error: SystemError) {}

    fileprivate func leave() {
        guard let list else { return }
        if let previous { previous.next = next } else { list.first = next }
        next?.previous = previous
        self.list = nil
        next = nil
        previous = nil
    }
}

/// All suspended calls of a loop, so that its end ends them.
final class WaiterList {
    fileprivate var first: WaiterLink?

    func add(_ waiter: WaiterLink) {
        waiter.list = self
        waiter.next = first
        first?.previous = waiter
        first = waiter
    }

    func failAll(_ error: SystemError) {
        while let waiter = first { waiter.loopDidStop(error) }
    }
}

extension EventLoop {
    /// Runs `begin` on the loop and suspends until the waiter that it was given is resumed. From any executor.
    func wait<Value: Sendable>(_ begin: @escaping @Sendable (LoopWaiter<Value>) -> Void) async throws -> Value {
        let waiter = LoopWaiter<Value>()
        return try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Value, any Error>) in
                let isTaken = execute { waiter.begin(continuation, on: self, begin) }
                if !isTaken {
                    continuation.resume(throwing: SystemError(errno: ECANCELED, call: "loop", subject: name))
                }
            }
        } onCancel: {
            execute { waiter.cancel() }
        }
    }
}
