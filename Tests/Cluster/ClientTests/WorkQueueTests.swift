import ClusterClient
import Reactor
import Synchronization
import Testing

@Suite struct WorkQueueTests {
    func onLoop(_ body: @escaping @Sendable (EventLoop) async throws -> Void) async throws {
        let group = try EventLoopGroup(count: 1)
        let loop = group.next
        try await withTimeout(.seconds(60), on: loop) { try await body(loop) }
        await group.shutdown()
    }

    @Test("a key that is added many times is handed out once")
    func once() async throws {
        try await onLoop { loop in
            let queue = WorkQueue<String>(loop: loop)
            for _ in 0..<5 { queue.add("a") }
            queue.add("b")
            #expect(await queue.next() == "a")
            #expect(await queue.next() == "b")
            #expect(queue.count == 2)
            queue.done("a")
            queue.done("b")
            #expect(queue.count == 0)
        }
    }

    @Test("a key added while it is worked on comes back when that is done, and not before")
    func again() async throws {
        try await onLoop { loop in
            let queue = WorkQueue<String>(loop: loop)
            queue.add("a")
            #expect(await queue.next() == "a")
            queue.add("a")
            queue.add("b")
            #expect(await queue.next() == "b")
            queue.done("a")
            #expect(await queue.next() == "a")
        }
    }

    @Test("waiting ends with a key, with the end of the queue, or with the task")
    func waiting() async throws {
        try await onLoop { loop in
            let queue = WorkQueue<Int>(loop: loop)
            async let first = queue.next()
            try await loop.sleep(for: .milliseconds(1))
            queue.add(1)
            #expect(await first == 1)
            let cancelled = Task(executorPreference: loop) { await queue.next() }
            try await loop.sleep(for: .milliseconds(1))
            cancelled.cancel()
            #expect(await cancelled.value == nil)
            async let last = queue.next()
            try await loop.sleep(for: .milliseconds(1))
            queue.close()
            #expect(await last == nil)
            #expect(await queue.next() == nil)
        }
    }

    @Test("a delayed key comes once, at the earliest of its times")
    func delayed() async throws {
        try await onLoop { loop in
            let queue = WorkQueue<Int>(loop: loop)
            queue.add(1, after: .seconds(3600))
            queue.add(1, after: .milliseconds(5))
            queue.add(1, after: .seconds(60))
            #expect(await queue.next() == 1)
            queue.done(1)
            #expect(queue.count == 0)
        }
    }

    @Test("failures double the delay up to its limit")
    func backoff() {
        let delays = (0..<8).map { Backoff.delay(initial: .milliseconds(5), limit: .milliseconds(100), failures: $0) }
        #expect(delays == [5, 10, 20, 40, 80, 100, 100, 100].map { .milliseconds($0) })
        #expect(Backoff.delay(initial: .seconds(1), limit: .seconds(60), failures: .max) == .seconds(60))
    }

    @Test("a failed reconcile is tried again, and two workers never have the same key")
    func reconciling() async throws {
        try await onLoop { loop in
            let queue = WorkQueue<Int>(loop: loop, initialDelay: .milliseconds(1))
            let seen = Seen()
            let work = Task(executorPreference: loop) {
                await reconcile("test", queue, workers: 4) { key in
                    let tries = seen.begin(key)
                    defer { seen.end(key) }
                    try await loop.sleep(for: .milliseconds(1))
                    if tries < 3 { throw Failure() }
                    return .done
                }
            }
            for key in 0..<10 { queue.add(key) }
            while seen.keys(tried: 3) < 10 {
                for key in 0..<10 { queue.add(key) }
                try await loop.sleep(for: .milliseconds(1))
                if seen.mostTries > 3 { break }
            }
            work.cancel()
            await work.value
            let clashes = seen.clashes
            #expect(clashes.isEmpty, "keys that two workers had at once")
        }
    }

    /// What the workers of a test did.
    final class Seen: Sendable {
        private struct State {
            var active: Set<Int> = []
            var tries: [Int: Int] = [:]
            var clashes: [Int] = []
        }
        private let state = Mutex(State())

        /// Answers which try of `key` this is.
        func begin(_ key: Int) -> Int {
            state.withLock { state in
                if !state.active.insert(key).inserted { state.clashes.append(key) }
                state.tries[key, default: 0] += 1
                return state.tries[key, default: 0]
            }
        }

        func end(_ key: Int) { state.withLock { _ = $0.active.remove(key) } }

        func keys(tried count: Int) -> Int { state.withLock { $0.tries.values.count { $0 == count } } }

        var mostTries: Int { state.withLock { $0.tries.values.max() ?? 0 } }

        /// Keys that were begun again before their end.
        var clashes: [Int] { state.withLock { $0.clashes } }
    }

    struct Failure: Error {}
}
