import Glibc
import Netlink
import Reactor

/// Keeps a cluster's programs running. It is the parent of all of them, and the one process that `weft up` leaves behind.
struct Supervisor: Sendable {
    private let record: ClusterRecord
    private let loop: EventLoop

    /// A program that ends is started again after this; twice as long each time that it ran for less than `settled`.
    private static let firstPause: Duration = .milliseconds(200)
    private static let lastPause: Duration = .seconds(5)
    private static let settled: Duration = .seconds(10)
    /// How often a file that is waited for is looked for.
    private static let glance: Duration = .milliseconds(10)

    init(_ record: ClusterRecord, on loop: EventLoop) {
        self.record = record
        self.loop = loop
    }

    static let name = "supervisor"

    private static func processFile(_ record: ClusterRecord, _ name: String) -> String {
        "\(record.runDirectory)/\(name)"
    }

    static func identity(_ record: ClusterRecord) -> ProcessIdentity? { identity(record, name) }

    /// The process of a program of the cluster, as last written down.
    static func identity(_ record: ClusterRecord, _ name: String) -> ProcessIdentity? {
        ProcessIdentity(file: processFile(record, name))
    }

    /// Writes down which process a program is.
    static func note(_ identity: ProcessIdentity?, _ name: String, _ record: ClusterRecord) throws {
        try identity?.save(processFile(record, name))
    }

    /// Runs until SIGTERM or SIGINT; the programs end with it.
    func run() async throws {
        // From here on `weft down` finds this process; before, it may have been at work already.
        try ControlGroup(record.controlGroup).join()
        guard record.isWanted else { return ControlGroup(record.controlGroup).leave() }
        try Self.note(ProcessIdentity(running: getpid()), Self.name, record)
        let ends = try Signals.stream([SIGTERM, SIGINT], on: loop)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for program in Programs.all(record) { group.addTask { try await keep(program) } }
            group.addTask {
                for await _ in ends { break }
                throw CancellationError()
            }
            do { try await group.next() } catch is CancellationError {}
            group.cancelAll()
        }
    }

    private func keep(_ program: Program) async throws {
        if let file = program.needs {
            while !Files.exists(file) { try await loop.sleep(for: Self.glance) }
        }
        var pause = Self.firstPause
        while !Task.isCancelled {
            let began = MonotonicTime.now()
            let log = try LogFile("\(record.logDirectory)/\(program.name).log")
            do {
                let child = try await start(program, log: log.descriptor)
                try Self.note(ProcessIdentity(running: child.processID), program.name, record)
                let status = try await withTaskCancellationHandler {
                    try await child.exitStatus
                } onCancel: {
                    child.kill(SIGTERM)
                }
                log.write("weft: \(program.name) ended: \(status)\n")
            } catch let error as SystemError { log.write("weft: \(program.name) cannot be started: \(error)\n") }
            if MonotonicTime.now().duration(since: began) > Self.settled { pause = Self.firstPause }
            try await loop.sleep(for: pause)
            pause = min(pause * 2, Self.lastPause)
        }
    }

    private func start(_ program: Program, log: CInt) async throws -> ChildProcess {
        var configuration = ChildProcess.Configuration(program.arguments)
        configuration.descriptors = [1: log, 2: log]
        configuration.newSession = true
        let namespace = try program.namespace.map { try NamespaceHandle.open($0) }
        configuration.networkNamespace = namespace?.descriptor
        defer { withExtendedLifetime(namespace) {} }
        return try await ChildProcess.start(configuration, on: loop)
    }
}

/// A program's log, appended to.
private final class LogFile: Sendable {
    let descriptor: CInt

    init(_ path: String) throws {
        descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw SystemError.last("open", path) }
    }

    deinit { close(descriptor) }

    func write(_ text: String) {
        _ = text.withCString { Glibc.write(descriptor, $0, strlen($0)) }
    }
}
