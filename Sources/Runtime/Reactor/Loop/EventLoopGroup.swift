import CLinux
import Glibc
import Synchronization

/// The loops of a program, each on a thread of its own.
public final class EventLoopGroup: Sendable {
    /// More loops than this help nobody and are refused.
    public static let maximumLoops = 256

    public let all: [EventLoop]
    private let turn = Atomic<UInt>(0)
    private let ended: [Promise<Void>]

    /// Starts `count` loops; 0 is one a core that this process may use. They run until `shutdown`.
    public convenience init(count: Int = 0, name: String = "loop") throws(SystemError) {
        try self.init(count: count, name: name, callerRunsFirst: false)
    }

    /// `callerRunsFirst`: the first loop gets no thread; the caller will run it.
    init(count: Int, name: String, callerRunsFirst: Bool) throws(SystemError) {
        let wanted = min(count > 0 ? count : Self.usableCores, Self.maximumLoops)
        var loops: [EventLoop] = []
        var ended: [Promise<Void>] = []
        for index in 0..<wanted {
            loops.append(try EventLoop(name: "\(name)-\(index)"))
            ended.append(Promise())
        }
        all = loops
        self.ended = ended
        for (index, loop) in loops.enumerated() where index > 0 || !callerRunsFirst {
            let end = ended[index]
            do {
                try startThread(name: loop.name) {
                    loop.run()
                    end.succeed(())
                }
            } catch {
                for loop in loops { loop.stop() }
                throw error
            }
        }
    }

    /// The loops in turn: where to put what has no better place.
    public var next: EventLoop {
        all.count == 1 ? all[0] : all[Int(turn.wrappingAdd(1, ordering: .relaxed).oldValue % UInt(all.count))]
    }

    /// Stops all loops and waits for their threads, except for the loop that the caller runs on.
    public func shutdown() async {
        for loop in all { loop.stop() }
        for (loop, end) in zip(all, ended) where !loop.isCurrent { try? await end.value() }
    }

    /// How many cores the scheduler gives to this process.
    public static var usableCores: Int {
        let online = sysconf(CInt(_SC_NPROCESSORS_ONLN))
        var set = cpu_set_t()
        guard sched_getaffinity(0, MemoryLayout<cpu_set_t>.size, &set) == 0 else { return max(1, online) }
        let allowed = withUnsafeBytes(of: &set) { bytes in bytes.reduce(0) { $0 + $1.nonzeroBitCount } }
        return max(1, allowed)
    }
}

/// Starts a detached thread. Throws when the system has no room for one.
func startThread(name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
    final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(_ name: String, _ body: @escaping @Sendable () -> Void) { (self.name, self.body) = (name, body) }
    }
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, CInt(PTHREAD_CREATE_DETACHED))
    let start = Unmanaged.passRetained(Start(name, body))
    var thread = pthread_t()
    let result = pthread_create(
        &thread, &attributes,
        { context in
            guard let context else { return nil }
            let start = Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
            // The kernel keeps fifteen bytes of a thread's name.
            weft_name_thread(String(start.name.prefix(15)))
            start.body()
            return nil
        }, start.toOpaque())
    guard result == 0 else {
        start.release()
        throw SystemError(errno: result, call: "pthread_create", subject: name)
    }
}
