// A build without tests compiles this room too, and has no such module.
#if canImport(Testing)
    import Foundation
    package import Testing

    /// Tests that wait for the kernel and for other programs, without awaiting: they run on threads of their own, few at a
    /// time. On the pool they would keep its few threads from every test that awaits something, until that gives up.
    package struct OwnThreads: SuiteTrait, TestTrait, TestScoping {
        package var isRecursive: Bool { true }

        package func provideScope(
            for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
        ) async throws {
            try await withTaskExecutorPreference(BlockingThreads.shared) { try await function() }
        }
    }

    extension Trait where Self == OwnThreads {
        package static var ownThreads: Self { OwnThreads() }
    }

    /// Runs jobs in their order on a fixed number of threads.
    private final class BlockingThreads: TaskExecutor, @unchecked Sendable {
        // `@unchecked`: `jobs` is touched with `condition` held only.
        static let shared = BlockingThreads(count: 2)

        private let condition = NSCondition()
        private var jobs: [UnownedJob] = []

        private init(count: Int) {
            for _ in 0..<count { Thread.detachNewThread { self.work() } }
        }

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            condition.withLock { jobs.append(job) }
            condition.signal()
        }

        private func work() {
            while true {
                condition.lock()
                while jobs.isEmpty { condition.wait() }
                let job = jobs.removeFirst()
                condition.unlock()
                job.runSynchronously(on: asUnownedTaskExecutor())
            }
        }
    }
#endif
