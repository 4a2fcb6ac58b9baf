import Bytes
import Glibc
import JSON
import Reactor

/// Runs containers by crun, each under a conmon of its own, which keeps its log and its exit code whether or not an agent lives.
///
/// All calls block and belong on `offLoop` threads. Containers are known by 64 hexadecimal digits.
struct OCIRuntime: Sendable {
    var paths: NodePaths
    var cgroups: CgroupHost
    var crun = Self.crunPath
    var conmon = "/usr/bin/conmon"

    static let crunPath = "/usr/bin/crun"

    /// How long creating or starting a container may take before it is given up.
    static let startTimeout: Duration = .seconds(60)
    /// What is kept of an exec probe's output.
    static let execOutputLimit = 10 << 10

    /// crun refused: its own words.
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    private var rootArguments: [String] { ["--root", paths.runtimeRoot] }

    /// Makes the folders that runtime and supervisor write to.
    func prepare() throws {
        for program in [crun, conmon] where access(program, X_OK) != 0 {
            throw Failure(
                description: "\(program) is missing: install the package \(program == crun ? "crun" : "conmon")")
        }
        for folder in [paths.runtimeRoot, paths.exits, paths.run + "/containers", paths.run + "/sandboxes"] {
            try Directory.make(folder, mode: 0o700)
        }
    }

    /// Creates and starts a container from the bundle's config.json.
    ///
    /// - Returns: the process id of the container's first process.
    func start(_ id: String, log: String, terminal: Bool) throws -> Int32 {
        try cgroups.enter()
        let bundle = paths.bundle(id)
        var report = try Linux.pipe()
        defer { for end in [report.reading, report.writing] where end >= 0 { close(end) } }
        var supervisor = HostCommand(
            path: conmon,
            arguments: [
                "--cid", id, "--cuuid", id, "--name", id, "--runtime", crun, "--bundle", bundle, "--container-pidfile",
                bundle + "/pid", "--conmon-pidfile", bundle + "/conmon.pid", "--exit-dir", paths.exits, "--log-path",
                "k8s-file:" + log, "--log-level", "error", "--no-new-keyring", "--no-sync-log", "--full-attach",
                "--runtime-arg", "--root", "--runtime-arg", paths.runtimeRoot,
            ] + (terminal ? ["--terminal"] : []))
        supervisor.environment += ["_OCI_SYNCPIPE=3"]
        supervisor.passedDescriptor = report.writing
        supervisor.ownSession = true
        _ = try supervisor.run(timeout: Self.startTimeout, collectsOutput: false)
        close(report.writing)
        report.writing = -1
        let answer = try Self.readLine(report.reading, timeout: Self.startTimeout)
        let json = try? JSONValue.parse(answer)
        guard let pid = json?["pid"]?.int.flatMap({ Int32(exactly: $0) }), pid > 0 else {
            throw Failure(
                description: Self.cleaned(json?["message"]?.string ?? "container supervisor gave no process id"))
        }
        let start = try crun(["start", id])
        guard start.status == 0 else {
            // The supervisor ends with the container it created.
            _ = try? crun(["delete", "--force", id])
            throw Failure(description: Self.cleaned(start.text))
        }
        return pid
    }

    /// A command inside the container. On time-out what was started is killed, and the result says so.
    func exec(_ id: String, _ command: [String], timeout: Duration) throws -> HostCommand.Result {
        try cgroups.enter()
        let pidFile = "\(paths.bundle(id))/exec-\(Linux.threadID).pid"
        defer { unlink(pidFile) }
        let call = HostCommand(path: crun, arguments: rootArguments + ["exec", "--pid-file", pidFile, id] + command)
        return try call.run(timeout: timeout, outputLimit: Self.execOutputLimit) {
            // Killing crun would leave the process in the container.
            if let text = try? Files.read(pidFile, limit: 32),
                let pid = Int32(String(decoding: text, as: UTF8.self).trimmed), pid > 1
            {
                Glibc.kill(pid, SIGKILL)
            }
        }
    }

    /// Takes away what crun, the supervisor and the image left of a container, killing what still runs.
    func delete(_ id: String) throws {
        try cgroups.enter()
        if Directory.exists("\(paths.runtimeRoot)/\(id)") { _ = try crun(["delete", "--force", id]) }
        let bundle = paths.bundle(id)
        HostImage.unmountRoot(bundle: bundle)
        try Directory.remove(bundle)
        unlink(paths.exitFile(id))
    }

    /// Ids that the runtime knows.
    func containers() -> [String] { Directory.names(paths.runtimeRoot) }

    /// Tells the supervisor to open the log file anew, after it was renamed.
    func reopenLog(_ id: String) throws {
        let fifo = "\(paths.bundle(id))/ctl"
        let fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC)
        guard fd >= 0 else { throw SystemError(errno: errno, call: "open", subject: fifo) }
        defer { close(fd) }
        let message = Array("2 0 0\n".utf8)
        guard write(fd, message, message.count) == message.count else {
            throw SystemError(errno: errno, call: "write", subject: fifo)
        }
    }

    /// How a container ended, from the supervisor's records; nil while it has written none.
    func exit(of id: String) -> (code: Int32, finishedAt: Timestamp, outOfMemory: Bool)? {
        let file = paths.exitFile(id)
        var info = stat()
        guard stat(file, &info) == 0, let bytes = try? Files.read(file, limit: 32),
            let code = Int32(String(decoding: bytes, as: UTF8.self).trimmed)
        else { return nil }
        let at = Timestamp(seconds: Int64(info.st_mtim.tv_sec), nanoseconds: Int32(info.st_mtim.tv_nsec))
        return (code, at, Directory.exists(paths.bundle(id) + "/oom"))
    }

    /// The first process of a container that is running; nil when it is not.
    func process(of id: String) -> Int32? {
        guard let text = try? Files.read(paths.bundle(id) + "/pid", limit: 32),
            let pid = Int32(String(decoding: text, as: UTF8.self).trimmed), pid > 1
        else { return nil }
        // The number may be another process's by now: crun's record has the start time that belongs to it.
        guard let record = try? Files.read("\(paths.runtimeRoot)/\(id)/status", limit: 1 << 20),
            let status = try? JSONValue.parse(record), status["pid"]?.int == Int64(pid),
            let started = status["process-start-time"]?.int, Self.startTime(of: pid) == UInt64(exactly: started)
        else { return nil }
        return pid
    }

    /// Clock ticks from boot to a process's start (proc(5), stat field 22).
    private static func startTime(of pid: Int32) -> UInt64? {
        guard let bytes = try? Files.read("/proc/\(pid)/stat", limit: 4096),
            let end = bytes.lastIndex(of: UInt8(ascii: ")"))
        else { return nil }
        let fields = bytes[(end + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 19, fields[0] != [UInt8(ascii: "Z")] else { return nil }
        return UInt64(String(decoding: fields[19], as: UTF8.self))
    }

    private func crun(_ arguments: [String]) throws -> HostCommand.Result {
        try HostCommand(path: crun, arguments: rootArguments + arguments).run(timeout: Self.startTimeout)
    }

    /// crun puts its time stamps and program name before what it says.
    private static func cleaned(_ text: String) -> String {
        var lines = text.split(separator: "\n").map(String.init)
        lines = lines.map { line in
            guard let range = line.firstRange(of: "Z: ") else { return line }
            return String(line[range.upperBound...])
        }
        return lines.joined(separator: "; ").trimmed
    }

    private static func readLine(_ fd: CInt, timeout: Duration) throws -> [UInt8] {
        var line: [UInt8] = []
        let deadline = ContinuousClock.now + timeout
        var buffer = [UInt8](repeating: 0, count: 4096)
        while line.count < 64 << 10 {
            var waiting = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
            let left = ContinuousClock.now.duration(to: deadline).milliseconds
            guard left > 0, poll(&waiting, 1, Int32(min(left, 60_000))) != 0 else { break }
            let count = read(fd, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { break }
            line += buffer.prefix(count)
            if line.last == UInt8(ascii: "\n") { break }
        }
        return line
    }
}

extension String {
    /// Without blanks and line ends around it.
    var trimmed: String {
        var view = self[...]
        while let first = view.first, first.isWhitespace { view.removeFirst() }
        while let last = view.last, last.isWhitespace { view.removeLast() }
        return String(view)
    }
}

/// Names that are never used twice.
enum ContainerID {
    /// 64 hexadecimal digits, as container tools show them.
    static func fresh() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<4).map { _ in
            let text = String(UInt64.random(in: .min ... .max, using: &generator), radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }.joined()
    }
}
