public import Reactor
import Synchronization

/// Keys waiting to be reconciled: each at most once, and never by two workers at the same time.
///
/// A key added while a worker has it comes back when that worker is done. Failed keys return after a delay that doubles
/// with each failure. Bounded by the number of distinct keys.
public final class WorkQueue<Key: Hashable & Sendable>: Sendable {
    private struct State {
        var ready: [Key] = []
        var head = 0
        /// Wanted and not yet handed out.
        var dirty: Set<Key> = []
        /// Handed out and not yet done.
        var active: Set<Key> = []
        var failures: [Key: Int] = [:]
        /// When the earliest timer of each delayed key is due.
        var delayed: [Key: MonotonicTime] = [:]
        var waiters: [UInt64: CheckedContinuation<Key?, Never>] = [:]
        var waiterOrder: [UInt64] = []
        var nextWaiter: UInt64 = 0
        var isClosed = false

        /// Hands `key` to the worker that waits longest, or queues it.
        mutating func offer(_ key: Key) -> CheckedContinuation<Key?, Never>? {
            while !waiterOrder.isEmpty {
                guard let waiter = waiters.removeValue(forKey: waiterOrder.removeFirst()) else { continue }
                dirty.remove(key)
                let isFree = active.insert(key).inserted
                assert(isFree, "offer: a key is with one worker at a time")
                return waiter
            }
            ready.append(key)
            return nil
        }

        mutating func take() -> Key? {
            guard head < ready.count else { return nil }
            let key = ready[head]
            head += 1
            if head > 64, head * 2 > ready.count {
                ready.removeFirst(head)
                head = 0
            }
            dirty.remove(key)
            let isFree = active.insert(key).inserted
            assert(isFree, "take: a key is with one worker at a time")
            return key
        }
    }

    private let state = Mutex(State())
    private let loop: EventLoop
    private let initialDelay: Duration
    private let longestDelay: Duration

    /// - Parameters:
    ///   - loop: where the timers of delayed keys run.
    ///   - initialDelay: after a key's first failure; doubled at each further one up to `longestDelay`.
    public init(
        loop: EventLoop, initialDelay: Duration = .milliseconds(5), longestDelay: Duration = .seconds(60)
    ) {
        self.loop = loop
        self.initialDelay = initialDelay
        self.longestDelay = longestDelay
    }

    /// Distinct keys waiting or being worked on.
    public var count: Int { state.withLock { $0.dirty.union($0.active).count } }

    /// Wants `key` reconciled as soon as a worker is free.
    public func add(_ key: Key) {
        let waiter = state.withLock { state -> CheckedContinuation<Key?, Never>? in
            guard !state.isClosed, state.dirty.insert(key).inserted, !state.active.contains(key) else { return nil }
            return state.offer(key)
        }
        waiter?.resume(returning: key)
    }

    /// Wants `key` reconciled once `delay` has passed; an earlier wish for the same key stands.
    public func add(_ key: Key, after delay: Duration) {
        guard delay > .zero else { return add(key) }
        let due = MonotonicTime.now().adding(delay)
        let isEarliest = state.withLock { state in
            if state.isClosed { return false }
            if let earlier = state.delayed[key], earlier <= due { return false }
            state.delayed[key] = due
            return true
        }
        guard isEarliest else { return }
        loop.submit { [self] in
            _ = loop.schedule(after: delay) { [self] in
                let isCurrent = state.withLock { state in
                    guard state.delayed[key] == due else { return false }
                    state.delayed[key] = nil
                    return true
                }
                if isCurrent { add(key) }
            }
        }
    }

    /// Wants `key` back after a failure, later each time.
    public func addAfterFailure(_ key: Key) {
        let failures = state.withLock { state in
            let failures = state.failures[key, default: 0]
            state.failures[key] = failures + 1
            return failures
        }
        add(key, after: Backoff.delay(initial: initialDelay, limit: longestDelay, failures: failures))
    }

    /// Forgets the failures of `key`: it succeeded, or is of no interest any more.
    public func forget(_ key: Key) { state.withLock { $0.failures[key] = nil } }

    public func failures(of key: Key) -> Int { state.withLock { $0.failures[key] ?? 0 } }

    /// Waits for a key; nil when the queue is closed or the task cancelled. Call `done` with it afterwards.
    public func next() async -> Key? {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (key, isAnswered) = state.withLock { state -> (Key?, Bool) in
                    if let key = state.take() { return (key, true) }
                    if state.isClosed || Task.isCancelled { return (nil, true) }
                    state.waiters[id] = continuation
                    state.waiterOrder.append(id)
                    return (nil, false)
                }
                if isAnswered { continuation.resume(returning: key) }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.waiterOrder.removeAll { $0 == id }
                return state.waiters.removeValue(forKey: id)
            }
            waiter?.resume(returning: nil)
        }
    }

    /// Ends the work on a key that `next` gave.
    public func done(_ key: Key) {
        let waiter = state.withLock { state -> CheckedContinuation<Key?, Never>? in
            state.active.remove(key)
            return state.dirty.contains(key) ? state.offer(key) : nil
        }
        waiter?.resume(returning: key)
    }

    /// Ends all waiting; keys are dropped.
    public func close() {
        let waiters = state.withLock { state in
            state.isClosed = true
            let waiters = Array(state.waiters.values)
            state.waiters = [:]
            state.waiterOrder = []
            return waiters
        }
        for waiter in waiters { waiter.resume(returning: nil) }
    }
}
