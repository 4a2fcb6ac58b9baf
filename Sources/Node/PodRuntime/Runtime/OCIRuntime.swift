import Bytes
import Glibc
import JSON
import Reactor

/// Runs containers by crun, each under a conmon of its own, which keeps its log and its exit code whether or not an agent lives.
///
/// Containers are known by 64 hexadecimal digits.
struct OCIRuntime: Sendable {
    var paths: NodePaths
    var cgroups: CgroupHost
    var loop: EventLoop

    static let crun = "/usr/bin/crun"
    static let conmon = "/usr/bin/conmon"

    /// How long creating or starting a container may take before it is given up.
    static let startTimeout: Duration = .seconds(60)
    /// What is kept of an exec probe's output.
    static let execOutputLimit = 10 << 10
    /// What the supervisor says about a container's start; it is one line.
    private static let reportLimit = 64 << 10

    /// crun refused: its own words.
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    /// Makes the folders that runtime and supervisor write to.
    func prepare() throws {
        for program in [Self.crun, Self.conmon] where access(program, X_OK) != 0 {
            throw Failure(
                description: "\(program) is missing: install the package \(program.split(separator: "/").last ?? "")")
        }
        for folder in [paths.runtimeRoot, paths.exits, paths.run + "/containers", paths.run + "/sandboxes"] {
            try Directory.make(folder, mode: 0o700)
        }
    }

    /// Creates a container from the bundle's config.json: all is there, and its first process waits for `start`.
    ///
    /// - Returns: the process id of the container's first process.
    func create(_ id: String, log: String, terminal: Bool) async throws -> Int32 {
        let bundle = paths.bundle(id)
        let (reading, writing) = try ChildProcess.makePipe()
        let report = try await StreamConnection.adopt(reading, on: loop)
        var supervisor = program(
            [
                Self.conmon, "--cid", id, "--cuuid", id, "--name", id, "--runtime", Self.crun, "--bundle", bundle,
                "--container-pidfile", bundle + "/pid", "--conmon-pidfile", bundle + "/conmon.pid", "--exit-dir",
                paths.exits,
                "--log-path", "k8s-file:" + log, "--log-level", "error", "--no-new-keyring", "--no-sync-log",
                "--full-attach",
                "--runtime-arg", "--root", "--runtime-arg", paths.runtimeRoot,
            ] + (terminal ? ["--terminal"] : []))
        supervisor.environment?.append("_OCI_SYNCPIPE=3")
        supervisor.descriptors = [3: writing]
        supervisor.newSession = true
        // Where conmon leaves its note that memory ran out.
        supervisor.workingDirectory = bundle
        do {
            // conmon leaves a child behind that does the work, and ends at once.
            defer { close(writing) }
            _ = try await ChildProcess.start(supervisor, on: loop)
        }
        let line = try await withTimeout(Self.startTimeout, "the start of a container", on: loop) {
            try await Self.line(from: report)
        }
        let json = try? JSONValue.parse(line)
        guard let pid = json?["pid"]?.int.flatMap({ Int32(exactly: $0) }), pid > 0 else {
            throw Failure(
                description: Self.cleaned(json?["message"]?.string ?? "container supervisor gave no process id"))
        }
        return pid
    }

    /// Lets the first process of a container that was created go on to its command.
    func start(_ id: String) async throws {
        let start = try await crun(["start", id])
        guard start.status.isSuccess else {
            // The supervisor ends with the container it created.
            _ = try? await crun(["delete", "--force", id])
            throw Failure(description: Self.cleaned(start.errorText))
        }
    }

    struct ExecResult: Sendable {
        var code: Int32
        /// Standard output, then standard error.
        var text: String
        var timedOut = false
    }

    /// A command inside the container. On time-out what was started is killed, and the result says so.
    func exec(_ id: String, _ command: [String], timeout: Duration) async throws -> ExecResult {
        let pidFile = "\(paths.bundle(id))/exec-\(ContainerID.fresh().prefix(16)).pid"
        defer { unlink(pidFile) }
        do {
            let output = try await ChildProcess.run(
                program([Self.crun, "--root", paths.runtimeRoot, "exec", "--pid-file", pidFile, id] + command),
                on: loop,
                timeout: timeout, outputLimit: Self.execOutputLimit)
            let text = [output.text, output.errorText].filter { !$0.isEmpty }.joined(separator: "\n")
            return ExecResult(code: output.status.code, text: text)
        } catch is TimeoutError {
            // crun is killed, but what it started in the container is not its child.
            if let pid = Self.number(in: pidFile), pid > 1 { kill(pid, SIGKILL) }
            return ExecResult(code: 128 + SIGKILL, text: "", timedOut: true)
        }
    }

    /// Takes away what crun, the supervisor and the image left of a container, killing what still runs.
    func delete(_ id: String) async throws {
        if Directory.exists("\(paths.runtimeRoot)/\(id)") { _ = try await crun(["delete", "--force", id]) }
        let (bundle, record) = (paths.bundle(id), paths.exitFile(id))
        try await offLoop {
            HostImage.unmountRoot(bundle: bundle)
            try Files.removeTree(bundle)
            unlink(record)
        }
    }

    private func crun(_ arguments: [String]) async throws -> ChildProcess.Output {
        try await ChildProcess.run(
            program([Self.crun, "--root", paths.runtimeRoot] + arguments), on: loop, timeout: Self.startTimeout)
    }

    /// A program in the mount namespace where crun finds its cgroups.
    private func program(_ arguments: [String]) -> ChildProcess.Configuration {
        var configuration = ChildProcess.Configuration(arguments)
        configuration.environment = ["PATH=\(HostImage.path)"]
        configuration.mountNamespace = cgroups.mountNamespace
        return configuration
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
        guard stat(file, &info) == 0, let code = Self.number(in: file) else { return nil }
        let at = Timestamp(seconds: Int64(info.st_mtim.tv_sec), nanoseconds: Int32(info.st_mtim.tv_nsec))
        return (code, at, Directory.exists(paths.bundle(id) + "/oom"))
    }

    /// The first process of a container that is running; nil when it is not.
    func process(of id: String) -> Int32? {
        guard let pid = Self.number(in: paths.bundle(id) + "/pid"), pid > 1 else { return nil }
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

    /// crun puts its time stamps and program name before what it says.
    private static func cleaned(_ text: String) -> String {
        var lines = text.split(separator: "\n").map(String.init)
        lines = lines.map { line in
            guard let range = line.firstRange(of: "Z: ") else { return line }
            return String(line[range.upperBound...])
        }
        return lines.joined(separator: "; ").trimmed
    }

    private static func line(from stream: StreamConnection) async throws -> [UInt8] {
        var line: [UInt8] = []
        while line.count < reportLimit, line.last != UInt8(ascii: "\n") {
            let more = try await stream.read()
            if more.isEmpty { break }
            line += more
        }
        return line
    }

    private static func number(in file: String) -> Int32? {
        (try? Files.readText(file, limit: 32)).flatMap { Int32($0.trimmed) }
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
