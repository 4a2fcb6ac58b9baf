import Bytes
import Glibc
import Netlink
import Reactor

/// Brings a cluster up, step by step, and takes it down again when a step fails or a person changes their mind.
struct Launch: Sendable {
    private let wish: ClusterWish
    private let loop: EventLoop
    private let progress = Progress()

    /// How often what is waited for is looked at.
    private static let glance: Duration = .milliseconds(25)

    init(_ wish: ClusterWish, on loop: EventLoop) {
        self.wish = wish
        self.loop = loop
    }

    func run() async throws {
        let record = try prepare()
        let interrupts = try Signals.stream([SIGINT, SIGTERM, SIGHUP], on: loop)
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await raise(record) }
                group.addTask {
                    for await _ in interrupts {
                        throw Refusal("interrupted", hint: "what was made is taken down again")
                    }
                }
                try await group.next()
                group.cancelAll()
            }
        } catch {
            progress.failed("\(error)")
            try Teardown(record, progress).run()
            throw Refusal("the cluster did not come up", hint: "nothing of it is left")
        }
        report(record)
    }

    /// Everything that can be refused is refused here, before anything is made.
    private func prepare() throws -> ClusterRecord {
        try Preflight.mustBeRoot()
        try Preflight.mustHavePrograms()
        try Preflight.mustBeFree(wish.directory)
        try Preflight.mustBeShort(wish.directory)
        let (bridge, subnet) = try Underlay.choose(wish.subnet)
        let port = try Preflight.choosePort(wish.port, at: subnet.address.adding(1))
        let record = ClusterRecord(
            directory: wish.directory, id: Self.freshID(), bridge: bridge, subnet: subnet, port: port,
            nodes: (0..<wish.nodes).map { index in
                ClusterRecord.Node(
                    name: ClusterRecord.nodeName(index), address: ClusterRecord.nodeAddress(index, in: subnet),
                    interface: "\(bridge)-\(index + 1)")
            }, forwardedBefore: Underlay.isForwarding())
        for directory in [record.directory, record.logDirectory, record.runDirectory] {
            try Files.makeDirectories(directory)
        }
        try record.save()
        for node in record.nodes {
            try Files.writeAtomically(record.namespaceFile(node), record.namespaceName(node) + "\n")
        }
        return record
    }

    private static func freshID() -> String {
        let digits = String(UInt32.random(in: 0 ... .max), radix: 16)
        return String(repeating: "0", count: 8 - digits.utf8.count) + digits
    }

    private func raise(_ record: ClusterRecord) async throws {
        try Underlay(record).create()
        progress.done("network \(record.subnet) on bridge \(record.bridge), \(record.nodes.count) nodes")
        try await startSupervisor(record)

        let deadline = MonotonicTime.now().adding(wish.timeout)
        let access: ClusterAccess = try await wait("the control plane", "control", record, until: deadline) {
            guard let access = try ClusterAccess(record, on: loop) else { return .notYet("no kubeconfig yet") }
            _ = try await access.client.discovery("/version")
            return .here(access)
        }
        progress.done("control plane at https://\(record.endpoint)")
        for node in record.nodes { try await issueCredentials(record, node) }

        if wish.withDNS { try await ClusterDNS.apply(access.client, replicas: min(2, record.nodes.count)) }
        try await wait("the nodes", record.nodes[0].name, record, until: deadline) {
            let ready = try await access.nodes().filter(\.isReady).count
            return ready == record.nodes.count ? .here(()) : .notYet("\(ready) of \(record.nodes.count) Ready")
        }
        progress.done("\(record.nodes.count) nodes Ready")
        guard wish.withDNS else { return }
        try await wait("cluster DNS", record.nodes[0].name, record, until: deadline) {
            try await ClusterDNS.trouble(access.client).map { .notYet($0) } ?? .here(())
        }
        progress.done("cluster DNS at \(ClusterRecord.dnsAddress)")
    }

    private func startSupervisor(_ record: ClusterRecord) async throws {
        let log = open(record.logDirectory + "/supervisor.log", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard log >= 0 else { throw SystemError.last("open", record.logDirectory) }
        defer { close(log) }
        var configuration = ChildProcess.Configuration([
            Programs.path("weft"), "supervise", "--dir", record.directory,
        ])
        configuration.descriptors = [1: log, 2: log]
        configuration.newSession = true
        try Task.checkCancellation()
        let child = try await ChildProcess.start(configuration, on: loop)
        try Supervisor.note(ProcessIdentity(running: child.processID), Supervisor.name, record)
    }

    private func issueCredentials(_ record: ClusterRecord, _ node: ClusterRecord.Node) async throws {
        try Files.makeDirectories(record.nodeDirectory(node))
        let output = try await ChildProcess.run(
            ChildProcess.Configuration(Programs.issueCredentials(record, node)), on: loop)
        guard output.status.isSuccess else {
            throw Refusal("\(node.name) got no credentials", hint: output.errorText)
        }
    }

    private enum Glance<Value: Sendable>: Sendable {
        case here(Value)
        case notYet(String)
    }

    /// Looks again and again until it is there. Past the deadline, says what was seen last and what the program wrote.
    private func wait<Value: Sendable>(
        _ what: String, _ program: String, _ record: ClusterRecord, until deadline: MonotonicTime,
        _ look: @Sendable () async throws -> Glance<Value>
    ) async throws -> Value {
        var seen = ""
        while MonotonicTime.now() < deadline {
            do {
                switch try await look() {
                case .here(let value): return value
                case .notYet(let why): seen = why
                }
            } catch is CancellationError { throw CancellationError() } catch { seen = "\(error)" }
            progress.waiting("\(what): \(seen)")
            try await loop.sleep(for: Self.glance)
        }
        let tail = Self.tail("\(record.logDirectory)/\(program).log")
        throw Refusal(
            "\(what) did not come up within \(wish.timeout): \(seen)", hint: "last words of \(program):\n\(tail)")
    }

    private static func tail(_ path: String, lines: Int = 12) -> String {
        guard let bytes = try? Files.read(path) else { return "    (no log)" }
        let text = String(decoding: bytes.suffix(16 << 10), as: UTF8.self)
        return text.split(separator: "\n").suffix(lines).map { "    \($0)" }.joined(separator: "\n")
    }

    private func report(_ record: ClusterRecord) {
        print("up in \(progress.total)\n")
        print("  export KUBECONFIG=\(record.kubeconfig)")
        let folder = record.directory == ClusterFolder.standard ? "" : " --dir \(record.directory)"
        print("  \(Programs.path("weft")) status\(folder)    \(Programs.path("weft")) down\(folder)")
    }
}
