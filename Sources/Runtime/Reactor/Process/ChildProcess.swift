import CLinux
import Glibc

/// A child that is started without a copy of our memory and watched by its pidfd, so that its end is an event on a loop
/// and a late signal never meets another process. It is reaped also when nobody waits for it.
public final class ChildProcess: PollHandler, @unchecked Sendable {
    /// How it ended.
    public enum Status: Hashable, Sendable, CustomStringConvertible {
        case exited(Int32)
        case signaled(Int32)

        public var isSuccess: Bool { self == .exited(0) }

        /// As a shell gives it: 128 + signal for a process that was killed.
        public var code: Int32 {
            switch self {
            case .exited(let code): code
            case .signaled(let signal): 128 &+ signal
            }
        }

        public var description: String {
            switch self {
            case .exited(let code): "exit status \(code)"
            case .signaled(let signal): "killed by signal \(signal)"
            }
        }
    }

    /// What to start, and how.
    public struct Configuration: Sendable {
        /// The program, found on our PATH unless it has a slash, and its arguments.
        public var arguments: [String]
        /// `NAME=value`; nil inherits ours.
        public var environment: [String]?
        /// nil inherits ours. Looked up inside the mount namespace.
        public var workingDirectory: String?
        /// The child's descriptor → ours. 0, 1 and 2 are /dev/null when absent; all others are closed.
        public var descriptors: [CInt: CInt] = [:]
        /// setsid: out of reach of the terminal's signals.
        public var newSession = false
        /// A process group of its own, for `killGroup`.
        public var newProcessGroup = false
        /// Namespaces to enter before exec: descriptors of namespace files.
        public var networkNamespace: CInt?
        public var mountNamespace: CInt?
        /// CLONE_NEW… flags to unshare after entering.
        public var unshare: CInt = 0
        /// The signal that the kernel sends the child when the thread that started it ends (start it on a loop that lives
        /// as long as the program); 0 is none.
        public var deathSignal: CInt = 0

        public init(_ arguments: [String]) { self.arguments = arguments }
    }

    /// What `run` gives.
    public struct Output: Sendable {
        public var status: Status
        public var stdout: [UInt8]
        public var stderr: [UInt8]

        /// Standard output as text, without the last line break.
        public var text: String { Self.text(stdout) }
        public var errorText: String { Self.text(stderr) }

        private static func text(_ bytes: [UInt8]) -> String {
            String(decoding: bytes.last == 10 ? bytes.dropLast() : bytes[...], as: UTF8.self)
        }
    }

    /// Descriptors of the child have numbers below this.
    public static let maximumDescriptor: CInt = 255
    /// How long after a child's end its output is awaited from whoever else holds the pipes.
    public static let outputGrace = Duration.seconds(1)

    public let processID: Int32
    private let pidfd: CInt
    private let loop: EventLoop
    private var registration = Registration.none
    private let end = Promise<Status>()

    /// Starts it; blocks the loop until the child has called exec. Must be called on `loop`'s thread.
    /// Throws the call that failed: `execve /bin/nothing: No such file or directory`.
    public init(_ configuration: Configuration, on loop: EventLoop) throws(SystemError) {
        precondition(loop.isCurrent, "children are started on the loop that watches them")
        (processID, pidfd) = try Self.spawn(configuration)
        self.loop = loop
        super.init()
        do throws(SystemError) {
            registration = try loop.register(fd: pidfd, handler: self, interest: .readable)
        } catch {
            weft_pidfd_send_signal(pidfd, SIGKILL)
            throw error
        }
    }

    deinit { Glibc.close(pidfd) }

    /// Starts it from any executor.
    public static func start(_ configuration: Configuration, on loop: EventLoop) async throws -> ChildProcess {
        try await loop.perform { try ChildProcess(configuration, on: loop) }
    }

    public override func ready(_ events: PollEvents) {
        var code: CInt = 0
        var status: CInt = 0
        guard weft_pidfd_reap(pidfd, &code, &status) != 0 else { return }
        loop.deregister(registration)
        end.succeed(code == CLD_EXITED_ ? .exited(status) : .signaled(status))
    }

    public override func loopDidStop() {
        end.fail(SystemError(errno: ECANCELED, call: "waitid", subject: "\(processID)"))
    }

    /// Waits for its end. From any executor, any number of times.
    public var exitStatus: Status {
        get async throws { try await end.value() }
    }

    /// How it ended, if it has.
    public var finishedStatus: Status? {
        if case .success(let status)? = end.result { status } else { nil }
    }

    /// False when it has ended already. Any thread.
    @discardableResult
    public func kill(_ signal: CInt) -> Bool { weft_pidfd_send_signal(pidfd, signal) == 0 }

    /// Signals its process group, which `newProcessGroup` or `newSession` gave it.
    @discardableResult
    public func killGroup(_ signal: CInt) -> Bool { Glibc.kill(-processID, signal) == 0 }

    /// Runs to the end, with `input` on standard input. After `timeout`, or when the calling task is cancelled, its process
    /// group is killed and the error thrown. Output beyond `outputLimit` (of each stream) is read and dropped.
    public static func run(
        _ configuration: Configuration, on loop: EventLoop, input: [UInt8] = [], timeout: Duration = .seconds(30),
        outputLimit: Int = 1 << 20
    ) async throws -> Output {
        try await loop.perform {
            var configuration = configuration
            if !configuration.newSession { configuration.newProcessGroup = true }
            var theirs: [CInt] = []
            defer { for fd in theirs { Glibc.close(fd) } }
            func pipe(_ number: CInt) throws -> CInt {
                let (reading, writing) = try makePipe()
                configuration.descriptors[number] = number == 0 ? reading : writing
                theirs.append(number == 0 ? reading : writing)
                return number == 0 ? writing : reading
            }
            let stdin = input.isEmpty ? nil : try await StreamConnection.adopt(pipe(0), on: loop)
            let stdout = try await StreamConnection.adopt(pipe(1), on: loop)
            let stderr = try await StreamConnection.adopt(pipe(2), on: loop)
            let child = try ChildProcess(configuration, on: loop)
            for fd in theirs { Glibc.close(fd) }
            theirs = []
            // A child that does not read its input is no error: what it says and its status tell.
            let feeding = loop.task {
                guard let stdin else { return }
                try? await stdin.write(input)
                await stdin.shutdownWrite()
            }
            let collected = (collect(stdout, outputLimit, on: loop), collect(stderr, outputLimit, on: loop))
            defer { feeding.cancel() }
            do {
                let status = try await withTimeout(timeout, configuration.arguments.joined(separator: " "), on: loop) {
                    try await child.exitStatus
                }
                let hurry = loop.task {
                    guard (try? await loop.sleep(for: outputGrace)) != nil else { return }
                    stdout.close()
                    stderr.close()
                }
                let output = Output(status: status, stdout: await collected.0.value, stderr: await collected.1.value)
                hurry.cancel()
                return output
            } catch {
                child.killGroup(SIGKILL)
                child.kill(SIGKILL)
                stdout.close()
                stderr.close()
                throw error
            }
        }
    }

    private static func collect(_ pipe: StreamConnection, _ limit: Int, on loop: EventLoop) -> Task<[UInt8], Never> {
        Task(executorPreference: loop) {
            var bytes: [UInt8] = []
            while let more = try? await pipe.read(), !more.isEmpty {
                bytes.append(contentsOf: more.prefix(limit - bytes.count))
            }
            return bytes
        }
    }

    /// Two ends that no child inherits by accident.
    public static func makePipe() throws(SystemError) -> (reading: CInt, writing: CInt) {
        var ends: (CInt, CInt) = (-1, -1)
        let result = withUnsafeMutableBytes(of: &ends) { weft_pipe($0.assumingMemoryBound(to: CInt.self).baseAddress) }
        guard result == 0 else { throw .last("pipe2") }
        return ends
    }

    private static func spawn(_ configuration: Configuration) throws(SystemError) -> (Int32, CInt) {
        guard let program = configuration.arguments.first, !program.isEmpty else {
            throw SystemError(errno: EINVAL, call: "execve", subject: "an empty command")
        }
        let path = try found(program)
        let highest = max(2, configuration.descriptors.keys.max() ?? 2)
        guard highest <= maximumDescriptor, configuration.descriptors.keys.allSatisfy({ $0 >= 0 }) else {
            throw SystemError(errno: EBADF, call: "dup2", subject: program)
        }
        let null = try checked("open", "/dev/null") { Glibc.open("/dev/null", O_RDWR | O_CLOEXEC) }
        defer { Glibc.close(null) }
        let descriptors = (0...highest).map { configuration.descriptors[$0] ?? ($0 <= 2 ? null : -1) }
        let arguments = CStrings(configuration.arguments)
        let environment = configuration.environment.map(CStrings.init)
        let names = CStrings([path, configuration.workingDirectory ?? ""])
        var spawn = weft_spawn()
        spawn.path = UnsafePointer(names.pointers[0])
        spawn.arguments = UnsafePointer(arguments.pointers)
        spawn.environment = environment.map { UnsafePointer($0.pointers) } ?? UnsafePointer(weft_environment())
        spawn.working_directory = configuration.workingDirectory == nil ? nil : UnsafePointer(names.pointers[1])
        spawn.descriptor_count = highest + 1
        spawn.network_namespace = configuration.networkNamespace ?? -1
        spawn.mount_namespace = configuration.mountNamespace ?? -1
        spawn.unshare_flags = configuration.unshare
        spawn.new_session = configuration.newSession ? 1 : 0
        spawn.new_process_group = configuration.newProcessGroup ? 1 : 0
        spawn.death_signal = configuration.deathSignal
        spawn.parent = getpid()
        let pid = descriptors.withUnsafeBufferPointer { descriptors in
            spawn.descriptors = descriptors.baseAddress
            return withExtendedLifetime((arguments, environment, names)) { Self.start(&spawn) }
        }
        guard pid >= 0 else {
            let call = spawn.failed_call.map { String(cString: $0) } ?? "clone"
            let subject = call == "chdir" ? configuration.workingDirectory ?? "" : path
            throw SystemError(errno: spawn.error, call: call, subject: subject)
        }
        return (pid, spawn.pidfd)
    }

    private static func start(_ spawn: inout weft_spawn) -> CInt { weft_spawn(&spawn) }

    /// The path of a program, looked for as execvp does.
    private static func found(_ program: String) throws(SystemError) -> String {
        if program.utf8.contains(UInt8(ascii: "/")) { return program }
        let folders =
            getenv("PATH").map { String(cString: $0) } ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        for folder in folders.split(separator: ":") {
            let path = "\(folder)/\(program)"
            if access(path, X_OK) == 0, !Files.isDirectory(path) { return path }
        }
        throw SystemError(errno: ENOENT, call: "execve", subject: program)
    }
}

/// A NULL-terminated array of C strings, freed with its owner.
private final class CStrings {
    let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        pointers = .allocate(capacity: count + 1)
        for (index, string) in strings.enumerated() { (pointers + index).initialize(to: strdup(string)) }
        (pointers + count).initialize(to: nil)
    }

    deinit {
        for index in 0..<count { free(pointers[index]) }
        pointers.deallocate()
    }
}
