import CLinux
import Glibc

/// Signals as events on a loop, by signalfd. A signal reaches it only while blocked in every thread, which `runOnLoops`
/// sees to for the usual ones.
public enum Signals {
    /// What `runOnLoops` blocks.
    public static let usual: [CInt] = [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2]

    /// Blocks signals in the calling thread and in threads that it starts from now on.
    public static func block(_ signals: [CInt]) { mask(SIG_BLOCK, signals) }

    /// Lets the calling thread take signals as it is the kernel's way: of a program that has nothing to put away they are the end.
    public static func unblock(_ signals: [CInt]) { mask(SIG_UNBLOCK, signals) }

    private static func mask(_ how: CInt, _ signals: [CInt]) {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        pthread_sigmask(how, &set, nil)
    }

    /// Yields each arrival (equal ones that are pending together come once); ends when its task is cancelled.
    /// Keeps at most 64 that nobody has taken.
    public static func stream(_ signals: [CInt], on loop: EventLoop) throws(SystemError) -> AsyncStream<CInt> {
        let (stream, continuation) = AsyncStream.makeStream(of: CInt.self, bufferingPolicy: .bufferingNewest(64))
        let source = try SignalSource(signals) { continuation.yield($0) }
        continuation.onTermination = { _ in loop.execute { source.close(on: loop) } }
        loop.execute { source.open(on: loop) }
        return stream
    }
}

/// A signalfd on a loop.
private final class SignalSource: PollHandler, @unchecked Sendable {
    private let fd: CInt
    private let onSignal: @Sendable (CInt) -> Void
    private var registration = Registration.none
    private var isClosed = false

    init(_ signals: [CInt], onSignal: @escaping @Sendable (CInt) -> Void) throws(SystemError) {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        fd = try checked("signalfd") { signalfd(-1, &set, CInt(SFD_CLOEXEC | SFD_NONBLOCK)) }
        self.onSignal = onSignal
    }

    deinit { Glibc.close(fd) }

    func open(on loop: EventLoop) {
        guard !isClosed else { return }
        registration = (try? loop.register(fd: fd, handler: self, interest: .readable)) ?? .none
    }

    func close(on loop: EventLoop) {
        isClosed = true
        loop.deregister(registration)
    }

    override func ready(_ events: PollEvents) {
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        while Glibc.read(fd, &info, size) == size { onSignal(CInt(bitPattern: info.ssi_signo)) }
    }
}
