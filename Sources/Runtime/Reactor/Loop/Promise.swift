import Synchronization

/// One value or error, set once from any thread, awaited by any number of tasks: the bridge from callbacks to `async`.
///
/// Setting it a second time does nothing. A promise that is never set keeps its waiters until they are cancelled.
public final class Promise<Value: Sendable>: Sendable {
    private struct State {
        var result: Result<Value, any Error>?
        var waiters: [UInt64: UnsafeContinuation<Value, any Error>] = [:]
        var cancelled: Set<UInt64> = []
        var nextWaiter: UInt64 = 0
    }

    private let state = Mutex(State())

    public init() {}

    public func succeed(_ value: Value) { complete(.success(value)) }

    public func fail(_ error: any Error) { complete(.failure(error)) }

    public func complete(_ result: Result<Value, any Error>) {
        let waiters = state.withLock { state -> [UnsafeContinuation<Value, any Error>] in
            guard state.result == nil else { return [] }
            state.result = result
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume(with: result) }
    }

    /// What it was set to, if it was.
    public var result: Result<Value, any Error>? { state.withLock(\.result) }

    /// Waits for the value. Cancelling the waiting task throws `CancellationError` there and leaves the promise as it is.
    public func value() async throws -> Value {
        if let result { return try result.get() }
        let waiter = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                let ready = state.withLock { state -> Result<Value, any Error>? in
                    if let result = state.result { return result }
                    if state.cancelled.remove(waiter) != nil { return .failure(CancellationError()) }
                    state.waiters[waiter] = continuation
                    return nil
                }
                if let ready { continuation.resume(with: ready) }
            }
        } onCancel: {
            let continuation = state.withLock { state -> UnsafeContinuation<Value, any Error>? in
                guard state.result == nil else { return nil }
                guard let continuation = state.waiters.removeValue(forKey: waiter) else {
                    state.cancelled.insert(waiter)
                    return nil
                }
                return continuation
            }
            continuation?.resume(throwing: CancellationError())
        }
    }
}
