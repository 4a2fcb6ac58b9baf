import Glibc
import Reactor

/// A program that is run to its end by a thread that may block, inside whatever namespaces that thread is in.
///
/// `Reactor.ChildProcess` serves loops; this one exists because the OCI runtime must start in another mount namespace, which a
/// thread can enter and pass on without a fork of the daemon.
struct HostCommand {
    var path: String
    var arguments: [String]
    var environment: [String] = ["PATH=\(HostImage.path)"]
    /// Becomes descriptor 3 of the program.
    var passedDescriptor: CInt?
    /// Whether the program leads a session of its own, out of reach of the terminal's signals.
    var ownSession = false

    struct Result: Sendable {
        /// As a shell gives it: 128 + signal for a program that was killed.
        var status: Int32
        var output: [UInt8]
        var timedOut: Bool

        var text: String {
            let text = String(decoding: output, as: UTF8.self)
            return text.hasSuffix("\n") ? String(text.dropLast()) : text
        }
    }

    /// Runs the program; standard output and error come back together.
    ///
    /// - Parameters:
    ///   - outputLimit: bytes; what exceeds it is read and dropped.
    ///   - collectsOutput: false gives the program /dev/null, for programs that leave children behind.
    ///   - onTimeout: called before the program is killed, to end what it started.
    func run(
        timeout: Duration, outputLimit: Int = 64 << 10, collectsOutput: Bool = true, onTimeout: () -> Void = {}
    ) throws -> Result {
        var ends: [CInt] = [-1, -1]
        if collectsOutput {
            let (reading, writing) = try Linux.pipe()
            ends = [reading, writing]
        }
        defer { for end in ends where end >= 0 { close(end) } }
        let pid = try spawn(output: ends[1])
        if ends[1] >= 0 {
            close(ends[1])
            ends[1] = -1
        }
        var output: [UInt8] = []
        let deadline = ContinuousClock.now + timeout
        var timedOut = false
        if collectsOutput {
            var buffer = [UInt8](repeating: 0, count: 16 << 10)
            reading: while true {
                var waiting = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
                let left = ContinuousClock.now.duration(to: deadline).milliseconds
                let ready = left <= 0 ? 0 : poll(&waiting, 1, Int32(min(left, 60_000)))
                if ready == 0 {
                    if left > 60_000 { continue }
                    timedOut = true
                    break reading
                }
                let count = read(ends[0], &buffer, buffer.count)
                if count < 0, errno == EINTR { continue }
                if count <= 0 { break reading }
                output += buffer.prefix(min(count, max(0, outputLimit - output.count)))
            }
        }
        if timedOut {
            onTimeout()
            kill(pid, SIGKILL)
        }
        return Result(status: Self.wait(pid), output: output, timedOut: timedOut)
    }

    private func spawn(output: CInt) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        if output >= 0 {
            posix_spawn_file_actions_adddup2(&actions, output, 1)
            posix_spawn_file_actions_adddup2(&actions, output, 2)
        } else {
            posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
            posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        }
        if let passedDescriptor { posix_spawn_file_actions_adddup2(&actions, passedDescriptor, 3) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Loops block signals for their signalfd; programs start with none blocked and none ignored.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigdefault(&attributes, &all)
        var flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        if ownSession { flags |= 0x80 }  // POSIX_SPAWN_SETSID
        posix_spawnattr_setflags(&attributes, Int16(flags))

        var argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) }
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) }
        argv.append(nil)
        envp.append(nil)
        defer { for pointer in argv + envp { free(pointer) } }
        var pid = pid_t()
        let status = posix_spawn(&pid, path, &actions, &attributes, argv, envp)
        guard status == 0 else { throw SystemError(errno: status, call: "exec", subject: path) }
        return pid
    }

    private static func wait(_ pid: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 { if errno != EINTR { return 255 } }
        return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
    }
}

extension Duration {
    /// Whole milliseconds, cut to what fits.
    var milliseconds: Int64 {
        let (product, overflow) = components.seconds.multipliedReportingOverflow(by: 1000)
        return overflow ? .max : product &+ components.attoseconds / 1_000_000_000_000_000
    }
}
