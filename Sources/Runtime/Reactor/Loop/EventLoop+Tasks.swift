extension EventLoop {
    /// Suspends for `duration`; throws `CancellationError` at once when the task is cancelled. From any executor.
    public func sleep(for duration: Duration) async throws {
        try await wait { (waiter: LoopWaiter<Void>) in
            let timer = self.schedule(after: duration) { waiter.succeed(()) }
            waiter.onCancel = { self.cancel(timer) }
        }
    }

    /// Starts a task whose code, and whose child tasks' code, runs on this loop. Any thread.
    @discardableResult
    public func task(
        name: String? = nil, _ body: @escaping @Sendable () async -> Void
    ) -> Task<Void, Never> {
        Task(name: name, executorPreference: self) { await body() }
    }

    /// Runs `body` on this loop and answers its result; cancelling the caller cancels it.
    public func perform<R: Sendable>(_ body: @escaping @Sendable () async throws -> R) async throws -> R {
        try await withTaskExecutorPreference(self) { try await body() }
    }
}

/// Answers the body's result, or cancels it and throws `TimeoutError` when it takes longer than `limit`.
/// The body must heed cancellation: its end is awaited.
public func withTimeout<R: Sendable>(
    _ limit: Duration, _ operation: String = "", on loop: EventLoop,
    _ body: @escaping @Sendable () async throws -> R
) async throws -> R {
    try await withThrowingTaskGroup(of: R.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await loop.sleep(for: limit)
            throw TimeoutError(operation, limit: limit)
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { throw CancellationError() }
        return first
    }
}
