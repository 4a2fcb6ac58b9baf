import Glibc
import Synchronization
import Testing

@testable import Reactor

/// Two loops for a test, stopped at its end.
func withLoops<R: Sendable>(_ count: Int = 2, _ body: @Sendable (EventLoopGroup) async throws -> R) async throws -> R {
    let group = try EventLoopGroup(count: count, name: "test")
    do {
        let result = try await withTaskExecutorPreference(group.all[0]) { try await body(group) }
        await group.shutdown()
        return result
    } catch {
        await group.shutdown()
        throw error
    }
}

/// A number that many threads add to.
final class Counter: Sendable {
    private let sum = Atomic(0)
    func add(_ count: Int) { sum.add(count, ordering: .relaxed) }
    var value: Int { sum.load(ordering: .relaxed) }
}

@Suite struct EventLoopTests {
    @Test("jobs from one thread run in the order of their submission, on the loop")
    func order() async throws {
        try await withLoops { group in
            let loop = group.all[1]
            let seen = Mutex<[Int]>([])
            let done = Promise<Void>()
            for number in 0..<10_000 {
                loop.submit {
                    #expect(loop.isCurrent)
                    seen.withLock { $0.append(number) }
                    if number == 9999 { done.succeed(()) }
                }
            }
            try await done.value()
            #expect(seen.withLock { $0 } == Array(0..<10_000))
        }
    }

    @Test("wake-ups from many threads at once are not lost while the loop falls asleep")
    func wakeups() async throws {
        try await withLoops(4) { group in
            let count = Counter()
            await withTaskGroup(of: Void.self) { tasks in
                for source in group.all {
                    tasks.addTask {
                        try? await source.perform {
                            for _ in 0..<2000 {
                                // One at a time, so that the target sleeps in between.
                                let answered = Promise<Void>()
                                group.all[0].submit {
                                    count.add(1)
                                    answered.succeed(())
                                }
                                try await answered.value()
                            }
                        }
                    }
                }
            }
            #expect(count.value == 8000)
        }
    }

    @Test("a task on a loop stays on its thread across suspensions, and so do its child tasks")
    func executor() async throws {
        try await withLoops { group in
            let loop = group.all[1]
            try await loop.perform {
                #expect(loop.isCurrent)
                try await loop.sleep(for: .milliseconds(1))
                #expect(loop.isCurrent)
                await Task.yield()
                #expect(loop.isCurrent)
                await withTaskGroup(of: Bool.self) { tasks in
                    for _ in 0..<10 {
                        tasks.addTask {
                            await Task.yield()
                            return loop.isCurrent
                        }
                    }
                    for await onLoop in tasks { #expect(onLoop) }
                }
            }
            #expect(group.all[0].isCurrent)
        }
    }

    @Test("timers fire in order and not early, and a cancelled one does not fire")
    func timers() async throws {
        try await withLoops { group in
            let loop = group.all[0]
            let done = Promise<[Int]>()
            let started = MonotonicTime.now()
            loop.execute {
                var fired: [Int] = []
                var cancelled = TimerHandle.none
                for delay in [30, 10, 20, 0] {
                    loop.schedule(after: .milliseconds(delay)) {
                        #expect(MonotonicTime.now().duration(since: started) >= .milliseconds(delay))
                        fired.append(delay)
                        if delay == 10 { loop.cancel(cancelled) }
                        if delay == 30 { done.succeed(fired) }
                    }
                }
                cancelled = loop.schedule(after: .milliseconds(15)) { fired.append(-1) }
            }
            let order = try await done.value()
            #expect(order == [0, 10, 20, 30])
        }
    }

    @Test("cancelling a task ends its sleep at once")
    func cancelledSleep() async throws {
        try await withLoops { group in
            let started = MonotonicTime.now()
            let task = Task { try await group.all[1].sleep(for: .seconds(60)) }
            try await group.all[1].sleep(for: .milliseconds(5))
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(MonotonicTime.now().duration(since: started) < .seconds(30))
            let born = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                try await group.all[1].sleep(for: .seconds(60))
            }
            await #expect(throws: CancellationError.self) { try await born.value }
        }
    }

    @Test("withTimeout answers in time, or cancels and throws")
    func timeout() async throws {
        try await withLoops { group in
            let loop = group.all[0]
            let answer = try await withTimeout(.seconds(30), on: loop) { 7 }
            #expect(answer == 7)
            await #expect(throws: TimeoutError.self) {
                try await withTimeout(.milliseconds(10), "the test", on: loop) {
                    try await loop.sleep(for: .seconds(60))
                }
            }
        }
    }

    @Test("a promise serves waiters from before and after, and a cancelled waiter leaves it whole")
    func promise() async throws {
        try await withLoops { group in
            let promise = Promise<Int>()
            let waiter = Task { try await promise.value() }
            let impatient = Task { try await promise.value() }
            impatient.cancel()
            await #expect(throws: CancellationError.self) { try await impatient.value }
            group.all[1].submit { promise.succeed(3) }
            let first = try await waiter.value
            #expect(first == 3)
            promise.succeed(4)
            let later = try await promise.value()
            #expect(later == 3)
        }
    }

    @Test("a loop that stops runs what was queued, and its thread ends")
    func stop() async throws {
        let group = try EventLoopGroup(count: 1, name: "test")
        let ran = Promise<Void>()
        group.all[0].submit {
            group.all[0].stop()
            group.all[0].submit { ran.succeed(()) }
        }
        try await ran.value()
        await group.shutdown()
    }

    @Test("tasks that wait on a loop that ends are told, and so are those that come later")
    func waitersAtTheEnd() async throws {
        let group = try EventLoopGroup(count: 2, name: "test")
        let (loop, other) = (group.all[0], group.all[1])
        let listener = try await loop.perform { try Listener(anyPort, on: loop) { _ in } }
        let sleeping = Task(executorPreference: other) { try await loop.sleep(for: .seconds(600)) }
        let reading = Task(executorPreference: other) {
            let connection = try await StreamConnection.connect(to: listener.address, on: loop)
            while try await !connection.read().isEmpty {}
        }
        try await other.sleep(for: .milliseconds(20))
        loop.stop()
        await #expect(throws: (any Error).self) { try await sleeping.value }
        _ = await reading.result
        let deadline = MonotonicTime.now().adding(.seconds(60))
        while loop.submit({}), MonotonicTime.now() < deadline { try await other.sleep(for: .milliseconds(1)) }
        let late = Task(executorPreference: other) { try await loop.sleep(for: .seconds(600)) }
        await #expect(throws: SystemError.self) { try await late.value }
        await group.shutdown()
    }

    @Test("an event for a slot's former user reaches nobody, and what cannot be polled is refused by name")
    func slots() async throws {
        try await withLoops { group in
            let loop = group.all[1]
            try await loop.perform {
                let file = open("/etc/passwd", O_RDONLY | O_CLOEXEC)
                defer { close(file) }
                #expect { _ = try loop.register(fd: file, handler: PollHandler(), interest: .readable) } throws: {
                    ($0 as? SystemError)?.errno == EPERM
                }
                let slab = Slab()
                let first = Unmanaged.passRetained(PollHandler())
                let (registration, data) = slab.insert(3, first)
                #expect(slab.handler(data) != nil)
                slab.remove(registration)?.handler.release()
                #expect(slab.handler(data) == nil)
                let second = Unmanaged.passRetained(PollHandler())
                let (again, newData) = slab.insert(4, second)
                #expect(newData != data && slab.handler(data) == nil && slab.handler(newData) != nil)
                #expect(slab.remove(registration) == nil)
                slab.remove(again)?.handler.release()
            }
        }
    }

    @Test("a signal that is blocked arrives through a loop's stream")
    func signals() async throws {
        try await withLoops { group in
            let loop = group.all[1]
            // Only the loop's own thread is asked to take it, so the rest of the process is left alone.
            let stream = try await loop.perform {
                Signals.block([SIGUSR2])
                return try Signals.stream([SIGUSR2], on: loop)
            }
            loop.submit { raise(SIGUSR2) }
            for await signal in stream {
                #expect(signal == SIGUSR2)
                break
            }
        }
    }
}
