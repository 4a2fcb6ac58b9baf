import CLinux
import Glibc
import Synchronization

/// One thread's loop over epoll: descriptors, timers, a queue from other threads, and Swift tasks.
///
/// Everything that lives on a loop (sockets, timers, handlers) is made, called and dropped on it. `submit` and `enqueue`
/// are the doors for other threads. As a `TaskExecutor` it runs the tasks that were started with it as preference, and
/// their child tasks, on its thread: their code between two `await`s may touch what lives on the loop.
/// (An unstructured `Task {}` does not inherit the preference: use `EventLoop.task`.)
///
/// `@unchecked Sendable`: what other threads reach is `inbox` (a mutex), `isStopping` (an atomic) and constants; all the
/// rest is touched on the loop's thread only.
public final class EventLoop: TaskExecutor, LoopClock, @unchecked Sendable {
    /// Descriptors that one `epoll_wait` reports at most; the rest come with the next.
    static let maximumEvents = 512
    /// Timers are rounded up to this.
    static let tick: UInt64 = 1_000_000
    /// Jobs (closures and task steps) in one turn, so that tasks which feed each other cannot starve the sockets.
    static let maximumJobsInTurn = 4096

    /// Bytes that one read takes at most. Bodies pass in pieces of this size: what is written at once leaves in full segments but for
    /// the last, and a quarter of a core's second cache holds it from the read to the write. Untouched while messages are smaller.
    static let readSize = 256 << 10

    public let name: String
    private let epoll: CInt
    private let wakeup: CInt
    private let inbox = Mutex(Inbox())
    private let isStopping = Atomic(false)

    private let slots = Slab()
    private var timers: TimerWheel
    @usableFromInline private(set) var clock: MonotonicTime
    /// Jobs from this thread, in order; `next` is the first that has not run.
    private var jobs: [Job] = []
    private var next = 0
    /// Handlers that were not done when their share of a turn was over.
    private var unfinished: [PollHandler] = []
    /// What was dropped in this turn and may still be on the stack: freed when the turn ends.
    private var departed: [AnyObject] = []
    /// One read's worth of bytes, lent to whichever stream is reading.
    let scratch: UnsafeMutableRawBufferPointer
    /// Buffers for bytes that must wait.
    let pool = BufferPool()
    /// Async calls that are suspended on this loop.
    let waiters = WaiterList()
    /// Output that one stream's handler is writing.
    let cork = Cork()

    enum Job {
        case task(UnownedJob)
        case closure(@Sendable () -> Void)
    }

    private struct Inbox {
        var jobs: [Job] = []
        /// The loop sleeps or is about to: whoever adds a job rings the eventfd.
        var isAsleep = false
        /// The loop has run its last job: what comes now is refused.
        var hasEnded = false
    }

    /// Makes the loop; a thread runs it by `run()`.
    /// Throws when the process has no descriptors left.
    public init(name: String) throws(SystemError) {
        self.name = name
        // A pipe or socket whose reader is gone is an error of that write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        epoll = try checked("epoll_create1") { epoll_create1(CInt(EPOLL_CLOEXEC)) }
        do throws(SystemError) {
            wakeup = try checked("eventfd") { eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK)) }
        } catch {
            Glibc.close(epoll)
            throw error
        }
        clock = .now()
        timers = TimerWheel(now: clock.nanoseconds / Self.tick)
        scratch = .allocate(byteCount: Self.readSize, alignment: 64)
        _ = weft_epoll_ctl(epoll, EPOLL_CTL_ADD, wakeup, PollEvents.readable.rawValue | EPOLLET_, Slab.wakeup)
    }

    deinit {
        Glibc.close(wakeup)
        Glibc.close(epoll)
        scratch.deallocate()
    }

    /// The loop that the calling thread runs.
    public static var current: EventLoop? {
        guard let pointer = weft_current_loop() else { return nil }
        return Unmanaged<EventLoop>.fromOpaque(pointer).takeUnretainedValue()
    }

    /// Whether the calling thread runs this loop.
    public var isCurrent: Bool { weft_current_loop() == Unmanaged.passUnretained(self).toOpaque() }

    /// The time when this turn of the loop began; asked from other threads it may be a turn old.
    public var now: MonotonicTime { isCurrent ? clock : .now() }

    /// As `now`, for what lives on the loop: nobody asks which thread it is. On the loop only.
    @inlinable public var turnTime: MonotonicTime { clock }

    // MARK: Running

    /// Runs until `stop()`; the calling thread is the loop's from now on. What is queued when it stops is run first.
    public func run() {
        precondition(weft_current_loop() == nil, "this thread runs a loop already")
        weft_set_current_loop(Unmanaged.passUnretained(self).toOpaque())
        defer { weft_set_current_loop(nil) }
        withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: Self.maximumEvents) { events in
            while turn(events) {}
        }
        drain()
    }

    /// Ends `run()` after the current turn. Any thread.
    public func stop() {
        isStopping.store(true, ordering: .releasing)
        ring()
    }

    /// One turn: wait, handle what is ready, fire timers, run jobs. False when the loop was told to stop.
    private func turn(_ events: UnsafeMutableBufferPointer<epoll_event>) -> Bool {
        let count = epoll_wait(epoll, events.baseAddress, CInt(events.count), timeout())
        clock = .now()
        var index = 0
        while index < Int(count) {
            let data = weft_epoll_data(events.baseAddress! + index)
            let what = events[index].events
            index &+= 1
            if data == Slab.wakeup {
                weft_eventfd_clear(wakeup)
                continue
            }
            guard let handler = slots.handler(data) else { continue }
            // The slab holds the reference, and `departed` keeps it until the turn ends.
            handler._withUnsafeGuaranteedRef { $0.ready(PollEvents(rawValue: what)) }
        }
        fireTimers()
        runJobs()
        runUnfinished()
        finishTurn()
        return !isStopping.load(ordering: .acquiring)
    }

    /// How long `epoll_wait` may sleep: not at all with work at hand; otherwise until the next timer.
    private func timeout() -> CInt {
        let isIdle = next == jobs.count && unfinished.isEmpty
        let mustLook = inbox.withLock { inbox in
            inbox.isAsleep = isIdle && inbox.jobs.isEmpty
            return !inbox.isAsleep
        }
        if mustLook || isStopping.load(ordering: .acquiring) { return 0 }
        guard let expiry = timers.nextExpiry else { return -1 }
        let at = MonotonicTime.now().nanoseconds
        let due = expiry.multipliedReportingOverflow(by: Self.tick)
        guard !due.overflow, due.partialValue > at else { return due.overflow ? -1 : 0 }
        return CInt(clamping: (due.partialValue - at + Self.tick - 1) / Self.tick)
    }

    private func fireTimers() {
        timers.advance(to: clock.nanoseconds / Self.tick)
        while let body = timers.nextDue() { body() }
    }

    private func runJobs() {
        let arrived = inbox.withLock { inbox -> [Job] in
            inbox.isAsleep = false
            guard !inbox.jobs.isEmpty else { return [] }
            defer { inbox.jobs = [] }
            return inbox.jobs
        }
        if !arrived.isEmpty { jobs.append(contentsOf: arrived) }
        var budget = Self.maximumJobsInTurn
        while next < jobs.count, budget > 0 {
            let job = jobs[next]
            next += 1
            budget -= 1
            switch job {
            case .task(let task): task.runSynchronously(on: asUnownedTaskExecutor())
            case .closure(let body): body()
            }
        }
        guard next > 0 else { return }
        if next == jobs.count {
            jobs.removeAll(keepingCapacity: jobs.capacity <= Self.maximumJobsInTurn)
            next = 0
        } else if next >= Self.maximumJobsInTurn {
            jobs.removeFirst(next)
            next = 0
        }
    }

    private func runUnfinished() {
        guard !unfinished.isEmpty else { return }
        let handlers = unfinished
        unfinished = []
        for handler in handlers {
            handler.isQueuedAgain = false
            handler.ready([])
        }
    }

    private func finishTurn() {
        // What is freed may drop more.
        while !departed.isEmpty { departed = [] }
    }

    /// After the last turn: what was queued still runs, then everything is closed and every waiting task is told, and what
    /// they do about it runs too. Nobody waits for a loop that has ended.
    private func drain() {
        finishJobs()
        slots.removeAll { $0.takeRetainedValue().loopDidStop() }
        unfinished = []
        waiters.failAll(SystemError(errno: ECANCELED, call: "loop", subject: name))
        finishJobs()
        timers.removeAll()
        inbox.withLock { $0.hasEnded = true }
        finishJobs()
        waiters.failAll(SystemError(errno: ECANCELED, call: "loop", subject: name))
        finishJobs()
    }

    /// Runs jobs and those that they add; a task that adds without end is left behind.
    private func finishJobs() {
        for _ in 0..<64 {
            runJobs()
            finishTurn()
            if next == jobs.count, inbox.withLock({ $0.jobs.isEmpty }) { return }
        }
    }

    private func ring() {
        _ = weft_eventfd_signal(wakeup)
    }

    // MARK: Doors for other threads

    /// Runs `body` on the loop, in the order of submission. Any thread; never runs it within the call.
    /// False when the loop has ended: `body` is dropped then.
    @discardableResult
    public func submit(_ body: @escaping @Sendable () -> Void) -> Bool { add(.closure(body)) }

    /// Runs `body` now when on the loop, else submits it.
    @discardableResult
    public func execute(_ body: @escaping @Sendable () -> Void) -> Bool {
        guard isCurrent else { return submit(body) }
        body()
        return true
    }

    public func enqueue(_ job: consuming ExecutorJob) { add(.task(UnownedJob(job))) }

    @discardableResult
    private func add(_ job: Job) -> Bool {
        if isCurrent {
            jobs.append(job)
            return true
        }
        let (isTaken, mustRing) = inbox.withLock { inbox -> (Bool, Bool) in
            guard !inbox.hasEnded else { return (false, false) }
            inbox.jobs.append(job)
            defer { inbox.isAsleep = false }
            return (true, inbox.isAsleep)
        }
        if mustRing { ring() }
        return isTaken
    }

    // MARK: Timers

    /// Calls `body` on the loop after `delay`, rounded up to a millisecond. On the loop only.
    @discardableResult
    public func schedule(after delay: Duration, _ body: @escaping () -> Void) -> TimerHandle {
        assert(isCurrent, "timers are set on their loop")
        // Asked anew: counted from the beginning of a long turn, a timer would be early.
        let at = MonotonicTime.now().adding(delay).nanoseconds
        return timers.insert(expiry: at / Self.tick + (at % Self.tick == 0 ? 0 : 1), body)
    }

    /// Forgets the timer; nothing when it has fired. On the loop only.
    public func cancel(_ timer: TimerHandle) {
        assert(isCurrent, "timers are cancelled on their loop")
        timers.cancel(timer)
    }

    // MARK: Descriptors

    /// Polls `fd`, edge-triggered, and keeps `handler` until `deregister`. On the loop only; the descriptor stays the
    /// caller's. Throws when the kernel's or the process's limit of watches is reached, or for a plain file.
    public func register(
        fd: CInt, handler: PollHandler, interest: PollEvents
    ) throws(SystemError) -> Registration {
        assert(isCurrent, "descriptors are registered on their loop")
        let (registration, data) = slots.insert(fd, Unmanaged.passRetained(handler))
        guard weft_epoll_ctl(epoll, EPOLL_CTL_ADD, fd, interest.rawValue | EPOLLET_, data) == 0 else {
            let error = SystemError.last("epoll_ctl", "descriptor \(fd)")
            slots.remove(registration)?.handler.release()
            throw error
        }
        return registration
    }

    /// Changes what is asked for; also re-arms, so that a state which holds is reported again.
    public func modify(_ registration: Registration, interest: PollEvents) {
        guard let slot = slots.find(registration) else { return }
        _ = weft_epoll_ctl(epoll, EPOLL_CTL_MOD, slot.fd, interest.rawValue | EPOLLET_, slot.data)
    }

    /// Stops to poll. Call before the descriptor is closed. No event reaches the handler afterwards.
    public func deregister(_ registration: Registration) {
        guard let slot = slots.remove(registration) else { return }
        _ = weft_epoll_ctl(epoll, EPOLL_CTL_DEL, slot.fd, 0, 0)
        departed.append(slot.handler.takeRetainedValue())
    }

    /// As above, for a descriptor that is closed next and that nobody shares: the kernel takes it out of epoll by itself.
    /// Where a child between fork and exec holds a copy, what it reports until then finds the slot's generation changed.
    func deregisterClosing(_ registration: Registration) {
        guard let slot = slots.remove(registration) else { return }
        departed.append(slot.handler.takeRetainedValue())
    }

    /// Keeps an object until the turn ends, because a call of its own may be on the stack. On the loop only.
    func releaseLater(_ object: AnyObject) { departed.append(object) }

    /// Calls `handler.ready([])` once more in this turn or the next: for work that was cut short for fairness.
    public func again(_ handler: PollHandler) {
        guard !handler.isQueuedAgain else { return }
        handler.isQueuedAgain = true
        unfinished.append(handler)
    }
}
