public import Reactor

extension EventLoop {
    /// Suspends the calling task on the loop that runs it.
    ///
    /// - Throws: `CancellationError` as soon as the task is cancelled.
    public static func sleep(for duration: Duration) async throws {
        guard let loop = EventLoop.current else { preconditionFailure("cool code runs on loops") }
        try await loop.sleep(for: duration)
    }
}
